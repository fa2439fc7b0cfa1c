"""What Ultralytics' and YOLO's logs leave out: they log the weighted parts of the loss and not the sum, which is what is minimised."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import Series

PART = re.compile(r"(?:train|val)/(?:(?:box|obj|cls|dfl|seg|sem|pose|kobj|rle|om|giou)_loss|l1_loss|(?:box|cls|dfl)_o[mo])")


def parts_of_loss(keys: Iterable[str], split: str) -> list[str]:
    """The keys that are parts of a split's loss; [] where there are fewer than two or the whole is logged too."""
    keys = list(keys)
    parts = [k for k in keys if k.startswith(f"{split}/") and PART.fullmatch(k)]
    return [] if len(parts) < 2 or f"{split}/loss" in keys else parts


BARE = frozenset(f"{part}_loss" for part in ("box", "obj", "cls", "dfl", "seg", "pose", "kobj"))  # as the console has them


def with_total_of_console(series: Sequence[Series]) -> list[Series]:
    """The series of a console's log, and the sum of the parts of the training loss where it has them and no loss."""
    out = list(series)
    parts = [s for s in out if s.logged_as in BARE and s.name.startswith("other/")]
    named = {s.logged_as for s in parts}
    if not {"box_loss", "cls_loss"} <= named or any(s.name == "train/loss" for s in out):
        return out
    if len({len(p) for p in parts}) == 1 and all(np.array_equal(p.steps, parts[0].steps, equal_nan=True) for p in parts):
        total = np.round(np.sum([p.values for p in parts], axis=0), 10)
        out.append(replace(parts[0], name="train/loss", logged_as="total_loss", values=total))
    return out


def with_totals(series: Sequence[Series]) -> list[Series]:
    """The series of an event file, and the sums of its parts of a loss where these were logged at the same steps."""
    out = list(series)
    by_key = {s.logged_as: s for s in series}
    if not any(key.startswith("metrics/") for key in by_key):
        return out
    for split in ("train", "val"):
        parts = [by_key[key] for key in parts_of_loss(by_key, split)]
        if parts and all(np.array_equal(p.steps, parts[0].steps) for p in parts):
            total = np.round(np.sum([p.values for p in parts], axis=0), 10)
            out.append(replace(parts[0], name=f"{split}/loss", logged_as=f"{split}/total_loss", values=total))
    return out
