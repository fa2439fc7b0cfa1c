"""Identifiers of this package that stand in texts: what a catalogue says for them. Ids in addresses and commands stay as they are."""

FAMILIES = (
    "classifier", "language-model", "regression", "gan", "reinforcement", "detection", "autoencoder", "contrastive",
    "self-distillation", "diffusion", "preference",
)  # fmt: skip
OUTCOMES = ("finished", "early-stopped", "cancelled", "crashed", "running", "unknown")
STATUSES = ("read", "partial", "skipped", "failed")
ROLES = ("weight", "bias", "norm-gain", "norm-bias", "running-mean", "running-var", "embedding", "adapter", "buffer", "other")
EVENTS = (
    "exception", "out-of-memory", "collective", "device-assert", "signal", "killed", "time-limit", "preempted", "interrupted", "disk-full",
    "data-loader", "hardware", "hang", "non-finite-guard", "overflow", "loss-scale-floor", "warning", "resumed", "checkpoint-saved", "cut", "started",
)  # fmt: skip
MEASURED = (
    "head", "configuration", "dataset", "first-loss", "target-variance", "explained-variance",  # where a chance level comes from
    "logged", "optimizer", "configured", "adam", "adam-window", "rmsprop", "adagrad", "adafactor", "momentum",  # … and other
    "saved-grad", "captured", "checkpoints",  # figures
    "fast", "slow", "never",  # how a spike recovers
    "warmup", "constant", "decay", "rise", "zero",  # phases of a learning rate
    "stated-frozen", "lora", "one-epoch",  # intents
    "transformer", "convolutional", "recurrent", "mlp", "network",  # architectures
    "loss", "accuracy", "classes", "basis",
)  # fmt: skip
SETTINGS = (
    "learning_rate", "min_learning_rate", "schedule", "gradient_clip_norm", "gradient_clip_value", "weight_decay", "dropout", "label_smoothing",
    "batch_size", "accumulation", "epochs", "max_steps", "patience", "beta1", "beta2", "epsilon", "precision", "loss_scale", "initialization",
    "activation", "normalization", "model_width", "model_depth", "model", "shuffle", "frozen_parameters", "train_samples", "val_samples",
    "vocabulary", "parameters", "trainable_parameters", "seed", "log_every", "gpus",
)  # fmt: skip
ATTRIBUTES = ("node", "user", "image", "week", "framework", "family")  # of runs in a batch
NEEDS = (
    "a checkpoint", "two checkpoints", "optimizer state in checkpoints", "per-layer gradients", "per-layer gradients or two checkpoints",
    "the number of classes", "the configuration", "input statistics", "the loss of step 0", "the first non-finite batch", "time stamps",
    "a line when training resumes", "layer statistics", "activation statistics", "a good run",
)  # fmt: skip
MODES = (
    "loss-not-decreasing", "exploding-gradients", "vanishing-gradients", "overfitting", "underfitting", "non-finite", "loss-spike",
    "oscillating-loss", "dead-units", "frozen-parameters", "schedule-fault", "resume-fault", "validation-fault", "data-fault",
    "precision-fault", "weight-collapse", "crash", "corrupt-checkpoint", "stalled",
)  # fmt: skip
CAUSES = (
    "learning-rate-too-high", "learning-rate-too-low", "optimizer-idle", "missing-from-optimizer", "wrong-labels", "wrong-loss",
    "unshuffled-data", "model-structure", "bad-initialization", "preprocessing", "clipping-too-tight", "too-much-regularization",
    "no-warmup", "no-gradient-clipping", "accumulating-gradients", "saturating-activations", "missing-normalization-or-residuals",
    "too-deep", "too-little-data", "too-much-capacity", "no-regularization", "trained-too-long", "repeated-batch", "too-little-capacity",
    "stopped-too-early", "class-imbalance", "data-quality", "bad-batch", "unsafe-operation", "half-precision-overflow",
    "stale-second-moment", "batch-too-small", "requires-grad-off", "detached-graph", "update-below-precision", "zero-learning-rate",
    "decayed-too-early", "schedule-restarted", "optimizer-state-lost", "data-order-restarted", "batchnorm-eval-mismatch",
    "train-validation-shift", "leakage", "broken-evaluation", "loss-scale-collapse", "representation-collapse", "out-of-memory",
    "collective-failure", "python-error", "device-assert", "killed", "preempted", "time-limit", "stopped-by-user", "disk-full",
    "data-loader-died", "hardware-fault", "truncated-write", "shard-missing", "hostile-content", "data-starvation", "hang", "slow-node",
    "out-of-range-labels", "non-finite-inputs", "constant-inputs", "duplicate-samples",
)  # fmt: skip
COMPARED = ("step", "epoch", "token", "hour", "tokens", "time")

IDENTIFIERS = tuple(
    dict.fromkeys((*FAMILIES, *OUTCOMES, *STATUSES, *ROLES, *EVENTS, *MEASURED, *SETTINGS, *ATTRIBUTES, *NEEDS, *MODES, *CAUSES, *COMPARED))
)
