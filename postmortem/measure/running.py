"""Whether a curve of unknown making is a running mean that restarts with every epoch, as progress bars print it."""

import numpy as np

from postmortem.model.run import Floats

FEWEST = 20  # points of an epoch that is looked at
FEWEST_EPOCHS = 4
MOST_EPOCHS = 50
EARLY, LATE = 0.1, 0.5  # shares of an epoch: its first tenth, its second half
CALM = 0.25  # typical step late in an epoch over that early in it; 1 for batch losses, about 0.05 for running means


def is_running_mean(values: Floats, epochs: Floats) -> bool:
    """True when within epochs the steps from point to point die away like those of a mean over ever more batches.

    values (n,) : finite. epochs (n,) : the fractional epoch of each point.
    A mean over k batches moves by noise / k: its steps shrink tenfold within an epoch and grow again with the next.
    """
    if len(values) < FEWEST_EPOCHS * FEWEST or not bool(np.all(np.isfinite(epochs))):
        return False
    epoch = np.floor(epochs)
    starts = np.concatenate(([0], np.flatnonzero(np.diff(epoch) > 0) + 1, [len(values)]))
    shares: list[float] = []  # of each epoch's early steps that its late ones, and those of the epoch before, come to
    before = None
    for first, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        n = end - first
        if n < FEWEST:
            continue
        size = np.abs(np.diff(values[first:end]))
        early = float(np.mean(size[: max(2, int(EARLY * n))]))
        late = float(np.mean(size[int(LATE * n) :]))
        if before is not None:
            shares.append(max(late, before) / early if early > 0 else 1.0)
        before = late
        if len(shares) >= MOST_EPOCHS:
            break
    return len(shares) >= FEWEST_EPOCHS - 1 and float(np.median(shares)) < CALM
