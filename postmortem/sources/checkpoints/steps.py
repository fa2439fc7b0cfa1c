"""The step and the epoch that a checkpoint's file or directory name states."""

import re
from collections.abc import Sequence

_THOUSANDS = {"": 1, "k": 1_000, "m": 1_000_000}
_NUMBER = r"(\d{1,12})([km]?)(?![a-z0-9])"
# `global_step1000`, `step=405`, `step_000450`, `iter_0001000`, `steps-10k`; not the `step` of `stepwise-3`.
_STEP = re.compile(rf"(?<![a-z0-9])(?:global[_\-]?)?(?:steps?|iters?|iterations?|updates?|upd|it)[_\-=.: ]?{_NUMBER}")
_EPOCH = re.compile(r"(?<![a-z0-9])(?:epochs?|ep|e)[_\-=.: ]?(\d{1,7}(?:\.\d{1,6})?)(?![0-9])")
_STEP_BEFORE = re.compile(r"(?<![a-z0-9])(\d{1,12})([km]?)[_\-]?(?:steps?|iters?|iterations?|updates?)(?![a-z])")
_EPOCH_BEFORE = re.compile(r"(?<![a-z0-9])(\d{1,7})[_\-]?epochs?(?![a-z])")
# Hugging Face and its kin count steps in `checkpoint-120`; fairseq writes `checkpoint_3_1200` (epoch, update), `checkpoint12` (epoch).
_HF_STEP = re.compile(rf"^(?:tmp-)?checkpoint-{_NUMBER}")
_FAIRSEQ = re.compile(r"^checkpoint_(\d{1,7})_(\d{1,12})(?![a-z0-9])")
_THOUSANDS_STEP = re.compile(r"(?<![a-z0-9.])(\d{1,9})([km])(?![a-z0-9])")  # `ckpt_10k`
_METRIC = re.compile(r"(?<![a-z])(?:[a-z_]{0,40}(?:loss|acc|accuracy|score|ppl|map|f1|auc|metric|val|best))[_\-=:]?\d+(?:\.\d+)?(?:e-?\d+)?")
_DECIMAL = re.compile(r"(?<![a-z0-9])\d+\.\d+(?:e-?\d+)?(?![a-z0-9])")  # a score, whatever stands before it
_BARE = re.compile(r"(?<![a-z0-9])(\d{1,12})(?![a-z0-9])|(?<=[a-z])(\d{2,12})(?![a-z0-9])")
_SHARD = re.compile(r"[-_]?\d{1,6}-of-\d{1,6}|(?:mp|tp|pp|dp|zero|rank|shard)[_-]?(?:rank)?[_-]?\d+(?:_\d+)*|v\d+$|-v\d+")
_ENDINGS = re.compile(
    r"(?:\.(?:weights|safetensors|index|json|h5|hdf5|keras|pt|pth|pkl|bin|ckpt|npz|npy|tar|nemo|distcp|metadata|model|th|zip|gz))+$"
)
_FROM_EPOCH_TO_STEP = 10_000  # a bare number up to here counts epochs, above it counts steps
_NUMBERED = 100  # a directory called `3` is more often a rank or a trial than an epoch; directories with larger numbers count steps
# Words beside a bare number that make it a count of training rather than part of a name (`resnet-50.pt`, `vit_16.pt`).
_SAVED = frozenset({
    "", "model", "weights", "checkpoint", "ckpt", "chkpt", "cp", "net", "state", "snapshot", "save", "saved", "epoch", "generator", "discriminator",
    "policy", "optimizer", "optim", "last", "best", "params", "network", "snap",
})  # fmt: skip

# Words beside a number that count something else than training.
_OTHERWISE = frozenset({
    "block", "class", "client", "cv", "depth", "device", "dim", "ensemble", "exp", "experiment", "expert", "fold", "gpu", "head", "k",
    "kfold", "layer", "level", "member", "n", "node", "part", "rank", "res", "run", "scale", "seed", "shard", "size", "split", "stage",
    "task", "trial", "version", "width", "worker",
})  # fmt: skip


def step_and_epoch(path: str) -> tuple[float | None, float | None]:
    """The (step, epoch) that a relative path states, None for what it does not.

    The file's own name is asked first, then the two directories around it. `step_000450.pt` → (450, None),
    `epoch=8-step=405.ckpt` → (405, 8), `checkpoint-120/model.safetensors` → (120, None), `ckpt_10k.pt` → (10000, None),
    `best.pt` → (None, None). A bare number is a guess from habit: `model_15.pt`, `weights.03.weights.h5` → (None, 15), (None, 3),
    a step when it is above 10,000 (`model_0019999.pth`), and above 100 in a directory's name (`checkpoint_180/`).
    The log decides later whether the guess fits its axis.
    """
    step: float | None = None
    epoch: float | None = None
    parts = [part.lower()[:300] for part in path.split("/") if part][-3:]
    for level, part in enumerate(reversed(parts)):
        name = _SHARD.sub("", _ENDINGS.sub("", part))
        found_step, found_epoch = _stated(name, folder=level > 0)
        if found_step is None and found_epoch is None and step is None and epoch is None:
            found_step, found_epoch = _guessed(name, folder=level > 0)
        step = found_step if step is None else step
        epoch = found_epoch if epoch is None else epoch
    return step, epoch


def _stated(name: str, *, folder: bool) -> tuple[float | None, float | None]:
    """Numbers that stand beside the word for what they count. A directory's name must say nothing else: `lr1e-3_epochs100` is a run's."""
    fairseq = _FAIRSEQ.search(name)
    if fairseq:
        return float(fairseq[2]), float(fairseq[1])
    match = _HF_STEP.search(name) or _STEP.search(name) or _STEP_BEFORE.search(name)
    found = _EPOCH.search(name) or _EPOCH_BEFORE.search(name)
    if folder:
        rest = name
        for stated in filter(None, (match, found)):
            rest = rest.replace(stated[0], " ")
        if "epochs" in name or not _is_saved(_without_scores(rest)):
            return None, None
    step = None if match is None else float(int(match[1]) * _THOUSANDS[match[2]])
    epoch = None if found is None else float(found[1])
    if step is None and epoch is None:
        thousands = _THOUSANDS_STEP.search(name)
        if thousands and _is_saved(_THOUSANDS_STEP.sub(" ", _without_scores(name))):
            step = float(int(thousands[1]) * _THOUSANDS[thousands[2]])
    return step, epoch


def _guessed(name: str, *, folder: bool) -> tuple[float | None, float | None]:
    """A bare number, when nothing but words for a saved model stands beside it."""
    name = _without_scores(name)
    numbers = list(_BARE.finditer(name))
    if len(numbers) != 1 or not _is_saved(_BARE.sub(" ", name)):
        return None, None
    value = int(numbers[0][1] or numbers[0][2])
    if folder and value < _NUMBERED and not any(c.isalpha() for c in name):
        return None, None
    return (float(value), None) if value > (_NUMBERED if folder else _FROM_EPOCH_TO_STEP) else (None, float(value))


def counted_by_siblings(paths: Sequence[str]) -> dict[str, float]:
    """Numbers of files that are called alike but for one number (`encoder_100.pt`, `encoder_200.pt`), by path: they count training, unless
    the word beside them says that they count something else (`fold_1.pt`)."""
    alike: dict[tuple[str, str], dict[str, float]] = {}
    for path in paths:
        folder, _, name = path.lower()[-1000:].rpartition("/")
        name = _without_scores(_ENDINGS.sub("", name))
        numbers = list(_BARE.finditer(name))
        stem = _BARE.sub("#", name)
        if len(numbers) == 1 and _OTHERWISE.isdisjoint(re.split(r"[\W_\d]+", stem)):
            alike.setdefault((folder, stem), {})[path] = float(numbers[0][1] or numbers[0][2])
    return {path: n for group in alike.values() if len(set(group.values())) == len(group) > 1 for path, n in group.items()}


def _without_scores(name: str) -> str:
    return _DECIMAL.sub(" ", _METRIC.sub(" ", name))


def _is_saved(rest: str) -> bool:
    return all(word in _SAVED for word in re.split(r"[\W_\d]+", rest))
