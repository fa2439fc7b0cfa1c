"""How far the values of tensors lie apart in two checkpoints: ‖b − a‖ / ‖a‖, block by block, in bounded memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from postmortem.measure.numbers import as_real
from postmortem.measure.reading import BLOCK, NotWholeError, TensorFiles, even
from postmortem.measure.tally import Plain
from postmortem.measure.trajectory import dtype_of
from postmortem.measure.updates import Movement
from postmortem.model.run import Checkpoint, TensorRef

MOST_BYTES = 1 << 30  # of each run: about two seconds of reading


class Saved:
    """The checkpoints of a run as they lie on the disk, in the order in which they were measured."""

    def __init__(self, root: Path, checkpoints: Sequence[Checkpoint]) -> None:
        self.root = root
        self.checkpoints = tuple(c for c in checkpoints if c.tensors or c.optimizer is not None)

    def refs(self, index: int) -> Mapping[str, TensorRef]:
        """Tensors of one checkpoint by name; none when there is no such checkpoint."""
        return {r.name: r for r in self.checkpoints[index].tensors} if index < len(self.checkpoints) else {}


def apart(good: Saved, bad: Saved, pair: tuple[int, int], names: Mapping[str, str]) -> dict[str, float]:
    """‖b − a‖ / ‖a‖ of each tensor that has the same shape in both checkpoints; nan where one of them holds a NaN.

    names : tensor of the good run → its name in the other one. Tensors whose bytes are not there (an archive that is closed, a file cut
    short) are left out, and so are all of a checkpoint beyond `MOST_BYTES`.
    """
    ours, theirs = good.refs(pair[0]), bad.refs(pair[1])
    shared = [(n, ours[n], theirs[m]) for n, m in names.items() if n in ours and m in theirs and ours[n].shape == theirs[m].shape]
    if sum(a.nbytes for _, a, _ in shared) > MOST_BYTES:
        return {}
    out: dict[str, float] = {}
    with TensorFiles(good.root) as here, TensorFiles(bad.root) as there, np.errstate(all="ignore"):
        for name, a, b in shared:
            moved = Movement()
            try:
                for x, y in zip(even(here.blocks(a, 0), BLOCK), even(there.blocks(b, 0), BLOCK), strict=True):
                    moved.add(as_real(x, dtype_of(a)), as_real(y, dtype_of(b)), None, Plain())
            except (NotWholeError, ValueError):  # ValueError: one of them ended before the other
                continue
            if moved.comparable:
                out[name] = moved.relative_change
    return out
