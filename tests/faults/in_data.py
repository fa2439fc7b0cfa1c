"""Faults of the data."""

from dataclasses import replace

from tests.faults.fault import CLASSES, CLASSIFIERS, REAL_INPUT, always, fault, weak, wrong

fault(
    "labels_shuffled",
    wrong("shuffled_labels", 1.0),
    lambda s: ("overfitting" if s.gap > 0.3 else "loss-not-decreasing", "overfitting", "loss-not-decreasing", "underfitting", "validation-fault"),
    "wrong-labels",
    "train-validation-shift too-little-data",
    tasks=("gratings", "shapes", "tokens", "teacher", "friedman", "series"),
    shows=lambda s: s.share < 0.3,
)
fault(
    "label_mapping",
    wrong("val_label_shift", 1, 2),
    always("validation-fault"),
    "train-validation-shift",
    "wrong-labels broken-evaluation",
    tasks=CLASSES,
    nets=CLASSIFIERS,
    shows=lambda s: s.share < 0.3 and s.train_share > 0.6,
)
fault(
    "val_preprocessing",
    wrong("val_inputs", "scale", "offset", "negated", "raw", "transposed"),
    lambda s: ("validation-fault", *(("overfitting",) if s.rise > 0.1 else ())),
    "train-validation-shift",
    "broken-evaluation",
    tasks=REAL_INPUT,
    shows=lambda s: s.share < 0.6 and s.train_share > 0.6,
)
fault(
    "class_imbalance",
    wrong("imbalance", 2, 4, 8),
    lambda s: ("validation-fault", *(("overfitting",) if s.rise > 0.1 else ()), *(("underfitting",) if s.run.train_skill < 0.8 else ())),
    "class-imbalance",
    "data-quality train-validation-shift too-little-data",
    tasks=CLASSES,
    nets=CLASSIFIERS,
)
fault(
    "raw_inputs",
    wrong("raw_inputs", 50, 300, 2000),
    lambda s: (
        *weak("dead-units")(s),
        *(("exploding-gradients",) if s.first > 3 or s.relative > 1.6 or not s.finite else ()),
        *(() if s.finite else ("non-finite",)),
    ),
    "preprocessing",
    "bad-initialization learning-rate-too-high",
    tasks=("teacher", "friedman", "gratings", "shapes", "series"),
    nets=("mlp", "vgg", "lstm", "autoencoder"),
)
fault(
    "zero_inputs",
    wrong("zero_inputs", 1),
    lambda s: (
        "loss-not-decreasing",
        "frozen-parameters",
        "underfitting",
        *(("dead-units",) if s.run.plan.net == "resnet" else ()),
    ),  # convolutions without biases
    "preprocessing",
    "wrong-labels",
    tasks=("gratings", "shapes", "teacher", "friedman", "series"),
    nets=("resnet", "vgg", "vit", "mlp", "tabresnet", "lstm"),
)
fault(
    "sorted_data",
    wrong("sorted", 1),
    lambda s: ("oscillating-loss", *weak("dead-units", "validation-fault")(s)),
    "unshuffled-data",
    tasks=CLASSES,
    nets=CLASSIFIERS,
)
fault(
    "same_batch",
    wrong("same_batch", 1),
    always("overfitting"),
    "repeated-batch",
    "too-little-data",
    tasks=(*CLASSES, "friedman", "series"),
    nets=(*CLASSIFIERS, "lstm"),
    shows=lambda s: s.share < 0.75 and s.gap > 0.3,
)
fault(
    "overfit",
    lambda d, p: replace(
        p,
        train_samples=(n := d.choice([40, 64, 96])),
        epochs=min(150, p.epochs * p.train_samples // n),
        batch_size=min(p.batch_size, n // 2),
        schedule="none",
        warmup_steps=0,
    ),
    always("overfitting"),
    "too-little-data",
    "no-regularization too-much-capacity trained-too-long",
    shows=lambda s: s.rise > 0.15 and s.gap > 0.25,
    configured=("train_samples", "epochs"),
    nets=("mlp", "resnet", "vgg", "vit", "lstm", "gru", "decoder", "bag", "textconv", "towers"),
)
fault(
    "nan_in_data",
    wrong("nan_rows", 1, 3, 12),
    always("non-finite", "data-fault"),
    "bad-batch",
    "unsafe-operation non-finite-inputs",
    tasks=("gratings", "shapes", "teacher", "friedman", "series", "views"),
    shows=lambda s: not s.finite,
)
fault(
    "bad_batch",
    wrong("bad_batch", 300, 3000, 30000),
    always("loss-spike"),
    "bad-batch",
    tasks=("teacher", "friedman", "series"),
    keep={"epochs": 16, "schedule": "none", "warmup_steps": 0},
    shows=lambda s: max(s.run.curve("loss", of_epoch=False)) > 4 * max(s.twin.curve("loss", of_epoch=False)),
)
