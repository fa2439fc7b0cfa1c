"""Faults of the optimizer and of the learning rate."""

from dataclasses import replace

from tests.faults.fault import DEEP_ENOUGH, always, changed, fault, rounded, unstable, weak, wrong

fault(
    "lr_too_high",
    changed(lr=lambda d, p: rounded(p.lr * 10 ** d.uniform(1.7, 3.5))),
    unstable,
    "learning-rate-too-high",
    "no-gradient-clipping no-warmup",
    configured=("lr",),
)
fault(
    "lr_extreme",
    changed(lr=lambda d, p: rounded(p.lr * 10 ** d.uniform(3, 5))),
    unstable,
    "learning-rate-too-high",
    "no-gradient-clipping no-warmup",
    configured=("lr",),
)
fault(
    "nan_guard",
    lambda d, p: replace(p, lr=rounded(p.lr * 10 ** d.uniform(2.5, 4))).with_wrong(guard=True),
    lambda s: ("non-finite", "crash", "exploding-gradients"),
    "learning-rate-too-high",
    shows=lambda s: not s.finite,
    configured=("lr",),
    optimizers=("sgd",),
)
fault(
    "lr_too_low",
    changed(lr=lambda d, p: rounded(p.lr * 10 ** -d.uniform(2, 4))),
    weak(),
    "learning-rate-too-low",
    "stopped-too-early",
    configured=("lr",),
)
fault("lr_zero", wrong("lr_zero", 1), always("schedule-fault", "loss-not-decreasing", "frozen-parameters"), "zero-learning-rate", "optimizer-idle")
fault(
    "rate_zero",
    changed(lr=lambda d, p: 0.0),
    always("schedule-fault", "loss-not-decreasing", "frozen-parameters"),
    "zero-learning-rate",
    "optimizer-idle",
    configured=("lr",),
)
fault(
    "decay_too_early",
    changed(schedule=lambda d, p: "exp", decay_rate=lambda d, p: d.choice([0.05, 0.1, 0.2]), warmup_steps=lambda d, p: 0),
    lambda s: ("schedule-fault", *weak("frozen-parameters")(s)),
    "decayed-too-early",
    "stopped-too-early zero-learning-rate learning-rate-too-low",
    configured=("schedule", "decay_rate"),
    keep={"schedule": "none", "warmup_steps": 0},
)
fault(
    "lr_spike",
    wrong("lr_spike", 500, 2000, 5000),
    lambda s: (
        "dead-units",
        "loss-spike",
        "loss-not-decreasing",
        "schedule-fault",
        "exploding-gradients",
        *(() if s.finite else ("non-finite",)),
        *(("underfitting",) if s.train_share > 0.2 else ()),
    ),
    "learning-rate-too-high",
    keep={"schedule": "none", "warmup_steps": 0},
)
fault(
    "endless_warmup",
    changed(warmup_steps=lambda d, p: d.choice([5_000, 20_000, 60_000])),
    weak("schedule-fault", "frozen-parameters"),
    "learning-rate-too-low",
    "stopped-too-early zero-learning-rate no-warmup",
    configured=("warmup_steps",),
    keep={"schedule": "linear", "warmup_steps": 20},
)
fault(
    "momentum_too_high",
    changed(momentum=lambda d, p: d.choice([0.995, 0.998, 0.999]), lr=lambda d, p: rounded(p.lr * (8 if p.momentum else 1))),
    unstable,
    "learning-rate-too-high",
    "no-gradient-clipping",
    configured=("momentum", "lr"),
    optimizers=("sgd",),
)
fault(
    "huge_batches",
    changed(batch_size=lambda d, p: d.choice([400, 600])),
    weak(),
    "stopped-too-early",
    "learning-rate-too-low",
    configured=("batch_size",),
)
fault(
    "rate_of_another",  # an optimizer was exchanged, and its learning rate kept
    changed(optimizer=lambda d, p: "sgd"),
    weak(),
    "learning-rate-too-low",
    "stopped-too-early",
    configured=("optimizer",),
    optimizers=("adam", "adamw", "rmsprop"),
)
fault("missing_zero_grad", wrong("no_zero_grad", 1), unstable, "accumulating-gradients", "learning-rate-too-high")
fault("no_step", wrong("no_step", 1), always("loss-not-decreasing", "frozen-parameters"), "optimizer-idle", "missing-from-optimizer")
fault("stale_optimizer", wrong("stale_optimizer", 1), always("loss-not-decreasing", "frozen-parameters"), "missing-from-optimizer", "optimizer-idle")
fault(
    "only_head",
    wrong("only_head", 1),
    lambda s: ("frozen-parameters", *weak()(s)),
    "missing-from-optimizer",
    "requires-grad-off detached-graph",
    nets=DEEP_ENOUGH,
)
fault(
    "frozen_backbone",
    wrong("frozen", "filtered", "all"),
    lambda s: ("frozen-parameters", *weak()(s)),
    "requires-grad-off",
    "missing-from-optimizer detached-graph",
    nets=DEEP_ENOUGH,
)
fault(
    "detached_graph",
    wrong("detach", 1),
    lambda s: ("frozen-parameters", *weak()(s)),
    "detached-graph",
    "requires-grad-off missing-from-optimizer",
    nets=DEEP_ENOUGH,
)
fault(
    "clip_too_tight",
    changed(grad_clip=lambda d, p: d.choice([1e-3, 1e-4, 1e-5])),
    weak(),
    "clipping-too-tight",
    "learning-rate-too-low",
    configured=("grad_clip",),
    optimizers=("sgd",),
)
fault(
    "weight_decay",
    changed(weight_decay=lambda d, p: d.choice([0.3, 1.0, 3.0])),
    lambda s: ("weight-collapse", *weak("vanishing-gradients")(s)),
    "too-much-regularization",
    configured=("weight_decay",),
    optimizers=("adam", "sgd"),
)
fault(
    "dropout",
    changed(dropout=lambda d, p: d.choice([0.9, 0.95])),
    weak(),
    "too-much-regularization",
    configured=("dropout",),
    nets=("mlp", "vgg", "bag", "gru", "textconv", "decoder"),
)
