"""What people call metrics and hyper-parameters, mapped to one vocabulary.

Two tables that a person can read and extend, and two functions over them. `--alias mynll=val/loss` adds to the first.
"""

import re

# The vocabulary of series: <split>/<quantity> for what is measured on data, a bare name for the rest.
QUANTITIES = ("loss", "accuracy", "perplexity", "error", "mae", "mse", "f1", "auc", "score")
SPLITS = ("train", "val", "test")
BARE = ("lr", "grad_norm", "loss_scale", "throughput", "step_time", "epoch", "memory", "reward", "weight_norm", "update_ratio", "skipped_steps")

# The vocabulary of settings. Fixes name their changes by these.
SETTINGS = (
    "learning_rate", "min_learning_rate", "warmup", "schedule", "gradient_clip_norm", "gradient_clip_value", "weight_decay", "dropout",
    "label_smoothing", "batch_size", "accumulation", "epochs", "max_steps", "patience", "optimizer", "momentum", "beta1", "beta2", "epsilon", "precision",
    "loss_scale", "initialization", "activation", "normalization", "model_width", "model_depth", "model", "dataset", "shuffle", "loss",
    "frozen_parameters", "train_samples",
    "val_samples", "classes", "vocabulary", "parameters", "trainable_parameters", "seed", "log_every", "gpus",
)  # fmt: skip
_SEPARATORS = re.compile(r"[\s_\-./:]+")

# Words of a key, lower case, to a quantity. Longest match first.
_WORDS: dict[str, str] = {
    "loss": "loss", "nll": "loss", "xent": "loss", "cost": "loss", "ce": "loss", "objective": "loss", "trl": "loss",
    "accuracy": "accuracy", "acc": "accuracy", "acc1": "accuracy", "top1": "accuracy", "acc@1": "accuracy", "prec@1": "accuracy",
    "ppl": "perplexity", "perplexity": "perplexity", "err": "error", "error": "error", "err1": "error", "mae": "mae", "mse": "mse",
    "f1": "f1", "auc": "auc", "map": "score", "score": "score", "bleu": "score", "miou": "score",
}  # fmt: skip
_SPLIT_WORDS: dict[str, str] = {
    "train": "train", "training": "train", "tr": "train", "val": "val", "valid": "val", "validation": "val", "eval": "val", "dev": "val",
    "evaluation": "val", "test": "test", "testing": "test",
}  # fmt: skip
_BARE_KEYS: dict[str, str] = {
    "lr": "lr", "learning rate": "lr", "learningrate": "lr", "l r": "lr", "rate": "lr", "grad norm": "grad_norm", "gnorm": "grad_norm",
    "gradnorm": "grad_norm", "gradient norm": "grad_norm", "norm": "grad_norm", "total norm": "grad_norm", "loss scale": "loss_scale", "scale": "loss_scale",
}  # fmt: skip


def words(key: str) -> tuple[str, ...]:
    """A key's words, lower case: `trainLoss_epoch` → ("train", "loss", "epoch")."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", key)
    return tuple(w for w in _SEPARATORS.split(spaced.lower()) if w)


def series_name(key: str, split: str = "") -> str:
    """The canonical name of a logged key, such as "train/loss", "val/accuracy" or "lr"; "other/<key>" when unknown.

    `split` is what the context says ("train", "val", "test"), used when the key itself does not say; "" means train.
    """
    parts = words(key)
    bare = _BARE_KEYS.get(" ".join(parts))
    if bare:
        return bare
    found = next((_SPLIT_WORDS[w] for w in parts if w in _SPLIT_WORDS), "") or split or "train"
    rest = [w for w in parts if w not in _SPLIT_WORDS and w not in ("epoch", "step", "avg", "mean", "total")]
    if len(rest) == 1 and rest[0] in _WORDS:
        return f"{found}/{_WORDS[rest[0]]}"
    return f"other/{key}"


def setting_name(key: str) -> str:
    """The canonical name of a configuration key, "" when the vocabulary does not know it."""
    leaf = "_".join(words(key.rpartition(".")[2]))
    return _SETTING_KEYS.get(leaf, leaf if leaf in SETTINGS else "")


_SETTING_KEYS: dict[str, str] = {
    "lr": "learning_rate", "max_lr": "learning_rate", "base_lr": "learning_rate", "wd": "weight_decay", "grad_clip": "gradient_clip_norm",
    "clip": "gradient_clip_norm", "max_grad_norm": "gradient_clip_norm", "gradient_clip_val": "gradient_clip_norm", "hidden": "model_width",
    "width": "model_width", "depth": "model_depth", "num_train_epochs": "epochs", "max_epochs": "epochs", "n_epochs": "epochs",
    "warmup_steps": "warmup", "per_device_train_batch_size": "batch_size", "bs": "batch_size",
}  # fmt: skip
