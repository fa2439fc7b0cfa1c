"""Faults of the model, of its start and of the loss."""

from dataclasses import replace

from tests.faults.fault import CLASSES, CLASSIFIERS, PLAIN, always, changed, fault, weak, wrong

fault(
    "init_too_large",
    wrong("init_scale", 8, 12, 20),
    lambda s: ("exploding-gradients", *(() if s.finite else ("non-finite",)), *weak("overfitting", "dead-units")(s)),
    "bad-initialization",
    "learning-rate-too-high preprocessing",
    nets=("mlp", "vgg", "lstm", "gru", "tabresnet", "decoder", "vit"),
)
fault("init_too_small", wrong("init_scale", 0.01, 0.003), lambda s: ("vanishing-gradients", *weak()(s)), "bad-initialization", nets=PLAIN)
fault(
    "init_zero",
    wrong("init_zero", 1),
    lambda s: (*weak("vanishing-gradients", "dead-units")(s), *(("frozen-parameters",) if s.train_share < 0.12 else ())),
    "bad-initialization",
    "model-structure",
    nets=("mlp", "vgg", "autoencoder", "textconv"),
)
fault("init_constant", wrong("init_constant", 0.02, 0.1), weak(), "bad-initialization", "model-structure", nets=PLAIN)
fault(
    "dead_bias",
    wrong("bias_fill", -8.0, -15.0),
    always("dead-units", "loss-not-decreasing", "frozen-parameters"),
    "bad-initialization",
    nets=PLAIN,
    shows=lambda s: s.share < 0.3,
)
fault(
    "sigmoid_deep",
    changed(activation=lambda d, p: "sigmoid"),
    lambda s: ("vanishing-gradients", *weak()(s)),
    "saturating-activations",
    "too-deep missing-normalization-or-residuals",
    configured=("activation",),
    tasks=("teacher",),
    nets=("mlp",),
    keep={"depth": 7, "width": 64, "lr": 1e-3, "optimizer": "adam", "momentum": 0.0},
)

fault(
    "sigmoid_tower",
    changed(activation=lambda d, p: "sigmoid", depth=lambda d, p: d.randint(9, 14)),
    lambda s: ("vanishing-gradients", *weak()(s)),
    "saturating-activations",
    "too-deep missing-normalization-or-residuals",
    configured=("activation", "depth"),
    tasks=("teacher", "friedman", "gratings"),
    nets=("mlp",),
)
fault(
    "plain_tower",
    changed(depth=lambda d, p: d.randint(16, 30)),
    lambda s: ("vanishing-gradients", *weak("dead-units")(s)),
    "too-deep",
    "missing-normalization-or-residuals bad-initialization",
    configured=("depth",),
    nets=("mlp",),
)
fault(
    "single_narrow_layer",
    changed(width=lambda d, p: d.choice([1, 2]), depth=lambda d, p: 1),
    weak(),
    "too-little-capacity",
    "model-structure",
    nets=("mlp",),
    configured=("width", "depth"),
)

fault(
    "underfit_capacity",
    changed(width=lambda d, p: 4 if p.net == "decoder" else 2),
    weak(),
    "too-little-capacity",
    "model-structure",
    nets=("mlp", "vgg", "gru", "lstm", "bag", "decoder"),
    configured=("width",),
)
fault(
    "underfit_epochs",
    lambda d, p: replace(p, epochs=1, schedule="none", warmup_steps=0),
    weak(),
    "stopped-too-early",
    "learning-rate-too-low",
    configured=("epochs",),
    shows=lambda s: s.share < 0.4,
    nets=("mlp", "vit", "vgg", "resnet", "vae", "gru", "decoder"),
)
fault(
    "softmax_twice",
    wrong("softmax_twice", 1),
    always("underfitting"),
    "wrong-loss",
    "model-structure",
    tasks=(*CLASSES, "grammar", "prose"),
    nets=(*CLASSIFIERS, "decoder", "lstm"),
    shows=lambda s: s.relative > 0.5,
)
fault(
    "loss_sign",
    wrong("sign", 1),
    lambda s: ("exploding-gradients", "loss-not-decreasing", *(() if s.finite else ("non-finite",))),
    "wrong-loss",
    shows=lambda s: s.share < 0.3,
)
fault("mse_broadcast", wrong("broadcast", 1), weak(), "wrong-loss", "model-structure", tasks=("friedman", "series"))
fault(
    "bn_statistics",
    changed(bn_momentum=lambda d, p: d.choice([1e-3, 3e-4, 1e-4])),
    always("validation-fault"),
    "batchnorm-eval-mismatch",
    nets=("resnet",),
    configured=("bn_momentum",),
    shows=lambda s: s.share < 0.85 and s.gap > 0.1,
)
fault(
    "divide_by_zero",
    wrong("constant_sample", 1),
    always("non-finite"),
    "unsafe-operation",
    "bad-batch",
    tasks=("gratings", "shapes", "teacher"),
    shows=lambda s: not s.finite,
)
fault(
    "log_of_zero",
    wrong("log_zero", 4.0, 6.0),
    always("non-finite"),
    "unsafe-operation",
    "bad-batch",
    tasks=("gratings", "shapes", "teacher"),
    nets=("mlp", "vgg", "resnet"),
    shows=lambda s: not s.finite,
)
fault(
    "half_overflow",
    changed(precision=lambda d, p: "fp16"),
    always("non-finite", "precision-fault"),
    "half-precision-overflow",
    "loss-scale-collapse update-below-precision",
    configured=("precision",),
    nets=("mlp", "bag", "tabresnet", "decoder", "autoencoder"),
    shows=lambda s: not s.finite,
)
