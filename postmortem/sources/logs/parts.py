"""What a log of nothing but parts of a loss leaves out: their sum, which is what is minimised; and a part that is not finite stands for it."""

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import Series
from postmortem.sources.names import words
from postmortem.sources.vocabulary import OTHER, SPLIT_WORDS

# Losses of players, each with a goal of its own: their sum is nobody's.
_PLAYERS = frozenset(
    words(
        "g d gen dis disc netg netd gan adv adversarial generator discriminator fake real policy value "
        "critic actor surrogate entropy pi vf pg q qf1 qf2 alpha target"
    )
)
_GLUED = re.compile(r"(?<![a-z])[dg]_?loss")
_FEWEST_LOST = 3  # values of training
_JOINED = re.compile(r"(?!best|min|max|prev|last)[a-z]{1,12}loss")  # `closs` and `mloss` of LLaMA-Adapter


OF_BOXES = frozenset({"box", "obj", "cls", "dfl"})  # columns of a YOLO's table that has no total


def is_part(key: str) -> bool:
    """`Contrastive_Depth_loss`, `loss_rpn_cls` of training; not `best_loss`, `loss_weight`."""
    said = words(key)
    named = bool(said) and (said[-1] in ("loss", "losses") or _JOINED.fullmatch(said[-1]) is not None)
    named = named or (said[:1] == ("loss",) and not {"scale", "weight", "ratio", "type"} & set(said))
    of_training = all(SPLIT_WORDS.get(word, "train") == "train" for word in said)
    return (named or _GLUED.fullmatch(key.lower()) is not None) and of_training and OTHER.isdisjoint(said)


def with_sum_of_parts(series: Sequence[Series]) -> list[Series]:
    """The series of a log, and where it names no loss but several parts of one, `Depth_loss= 0.4, Contrastive_loss= 0.3`, their sum.

    The first part that is not finite stands for the loss itself, be it a player's: whatever the sum is, it is not finite either.
    """
    out = list(series)
    if any(s.name.startswith(("train/loss", "train/perplexity")) for s in out):
        return out
    told = {s.logged_as for s in out}
    of_boxes = OF_BOXES if told >= {"box", "cls"} else frozenset()
    parts = [s for s in out if s.name.startswith("other/") and (is_part(s.logged_as) or s.logged_as in of_boxes)]
    longest = {p.logged_as: p for p in sorted(parts, key=len)}
    parts = [p for p in parts if longest[p.logged_as] is p]  # and not its means of whole epochs
    bad = [(float(s.steps[np.argmin(np.isfinite(s.values))]), n) for n, s in enumerate(parts) if not np.isfinite(s.values).all()]
    if bad:
        worst = parts[min(bad)[1]]
        out[next(n for n, s in enumerate(out) if s is worst)] = replace(worst, name="train/loss")
        return out
    lost = _mostly_lost(out)
    if lost is not None:
        out[lost] = replace(out[lost], name="train/loss")
        return out
    first = parts[0] if len(parts) > 1 and "reward" not in {s.name for s in out} else None
    if first is None or any(_of_a_player(p.logged_as) for p in parts):
        return out
    shortest = min(parts, key=len)  # a log that is cut amid a record has one more of its first parts
    parts = [p if len(p) == len(shortest) else p.part(slice(-1)) for p in parts]
    if not all(_beside(p, shortest) for p in parts):
        return out
    total = np.round(np.sum([p.values for p in parts], axis=0), 10)
    out.append(replace(shortest, name="train/loss", logged_as=" + ".join(p.logged_as for p in parts), values=total))
    return out


def _mostly_lost(series: Sequence[Series]) -> int | None:
    """Of a log that calls nothing a loss: the first value of training, `train/adv`, of most that are not finite at one place; None for none."""
    if any(is_part(s.logged_as) for s in series):
        return None
    own = [n for n, s in enumerate(series) if s.name.startswith("other/") and words(s.logged_as)[:1] == ("train",)]
    bad = [(float(series[n].steps[np.argmin(np.isfinite(series[n].values))]), n) for n in own if not np.isfinite(series[n].values).all()]
    return min(bad)[1] if len(bad) >= _FEWEST_LOST and len(bad) > len(own) / 2 else None


def _of_a_player(key: str) -> bool:
    return not _PLAYERS.isdisjoint(words(key)) or _GLUED.search(key.lower()) is not None


def _beside(part: Series, other: Series) -> bool:
    """Both were recorded at the same places."""
    return len(part) == len(other) and np.array_equal(part.steps, other.steps, equal_nan=True)
