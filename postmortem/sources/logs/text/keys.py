"""Words that count, words that name a split, words that are never a metric."""

import re
from enum import StrEnum
from functools import lru_cache


class Role(StrEnum):
    """A key that says where training is. Values are slot names of the grammar."""

    EPOCH = "epoch"
    STEP = "step"
    GLOBAL = "global"
    ITERATION = "iteration"
    BATCH = "batch"
    RANK = "rank"


_ROLES: dict[str, Role] = {
    **dict.fromkeys(("epoch", "epochs", "ep", "epoch id", "train epoch", "training epoch", "current epoch", "epoch num", "epoch number", "epoch no",
                     "epoch idx", "cur epoch", "val epoch", "valid epoch", "test epoch", "eval epoch", "validation epoch", "end of epoch",
                     "e", "at epoch", "finish", "eval epoch", "round", "itn", "epch", "round number", "communication round", "comm round",
                     "global round"), Role.EPOCH),
    **dict.fromkeys(("global step", "globalstep", "num updates", "total timesteps", "total steps", "time total timesteps", "kimg",
                     "trainer global step", "completed step", "total iterations", "total iter", "num of updates", "number of updates",
                     "total env interacts", "total env steps",
                     "env step", "global step max steps",
                     "valid num updates", "train num updates", "total train updates", "env steps", "nupdates", "acc iter",
                     "total num frames"), Role.GLOBAL),
    **dict.fromkeys(("step", "steps", "training step", "train step", "current step", "s", "up", "upd", "update", "updates", "timestep", "timesteps",
                     "total step", "at step", "val step", "eval step", "num timesteps", "n step", "learning iteration", "cur step", "current steps",
                     "trained steps", "optimizer step", "learner steps", "eval num timesteps", "step num", "step no"), Role.STEP),
    **dict.fromkeys(("iter", "iters", "iteration", "iterations", "it", "itr", "train iter", "training iteration", "train iteration", "at iteration",
                     "itrs",
                     "loss at iteration", "loss at step", "val iter", "i", "iter num", "cur iter", "validation loss at iteration"), Role.ITERATION),
    **dict.fromkeys(("batch", "batches", "minibatch", "mini batch", "batch step", "batch idx", "batch id", "batch index", "batch num", "train batch",
                     "training batch", "batch no", "mb", "b", "cur batch"), Role.BATCH),
    **dict.fromkeys(("rank", "local rank", "gpu", "worker", "device", "cuda", "local rank id", "global rank", "process"), Role.RANK),
}  # fmt: skip
_LAST_WORDS = frozenset(key.split()[-1] for key in _ROLES)
_JOINT = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SPLITS: dict[str, str] = {
    "train": "train", "training": "train", "trn": "train", "tr": "train", "learn": "train", "va": "val", "vl": "val", "vld": "val",
    "val": "val", "vali": "val", "valid": "val", "validation": "val", "validate": "val", "validating": "val",
    "crossval": "val", "eval": "val", "dev": "val",
    "evaluation": "val", "evaluating": "val", "evaluate": "val", "test": "test", "testing": "test", "tst": "test",
}  # fmt: skip
_WORD = re.compile(r"[A-Za-z]+")
_CV = re.compile(r"\bCV\b")
# Never a metric: places, identities, clocks.
_NOISE = re.compile(
    r"^(?:eta|v[ _]?num|pid|job|seed|port|line|version|stalled|last best|best|best loss|user|node|host|shape|size|dim|thread|threads|ver|"
    r"net output|train net output|test net output|channel|coll|nranks|busid|opid|frame|id|index|num|no|table|region|remaining|"
    r"median|std|min|max|avg|mean|sd|elapsed|eta seconds|wall time|date|jobid|image|images|total count|conv|layer|to|from|of|by|in|cudadev|nvmldev|"
    r"last|fold|kfold|k fold|exp name|"
    r"(?:mon|tue|wed|thu|fri|sat|sun),?|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|"
    r"via)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=8192)
def role_of(key: str) -> Role | None:
    """What a key counts, None when it counts nothing. `S: 60.1` is a loss of some part, `s:100` a step."""
    if key in ("S", "B", "I"):
        return None
    parts = re.split(r"[\s_\-./:#]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", key).lower().strip(" ._-:#"))
    plain = " ".join(p for p in parts if p)
    role = _ROLES.get(plain)
    if role is None and parts and parts[-1] in ("epoch", "step", "iteration", "iter") and len(parts) <= 3 and all(_skippable(p) for p in parts[:-1]):
        role = _ROLES.get(parts[-1])
    return role


def may_count(text: str) -> bool:
    """Whether a text has a word in it that a key which counts may end with: a quick question before `role_of` of each of its parts."""
    low = text.lower()
    return not _LAST_WORDS.isdisjoint(_WORD.findall(low if low == text else _JOINT.sub(" ", text).lower()))


def _skippable(word: str) -> bool:
    return word in _SPLITS or word in (
        "the",
        "at",
        "after",
        "in",
        "for",
        "info",
        "current",
        "cur",
        "end",
        "of",
        "starting",
        "begin",
        "beginning",
        "finished",
        "start",
        "results",
    )


@lru_cache(maxsize=8192)
def split_in(text: str) -> str:
    """The split that a text names as a word of its own, the last one if several; "" when none."""
    if len(text) > 200:
        text = text[-200:]
    found = ""
    for word in _WORD.findall(text):
        split = _SPLITS.get(word.lower())
        if split:
            found = split
    return found or ("val" if _CV.search(text) else "")


def is_noise(key: str) -> bool:
    """A key that is never worth a series."""
    return bool(_NOISE.match(key)) or not any(c.isalpha() for c in key)
