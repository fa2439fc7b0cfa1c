"""Series with a planted truth."""

from collections.abc import Sequence

import numpy as np

from postmortem.model.run import Floats, Reduction, Series, Setting


def series(
    values: Sequence[float] | Floats,
    name: str = "train/loss",
    *,
    steps: Sequence[float] | Floats | None = None,
    times: Floats | None = None,
    reduction: Reduction = Reduction.STEP,
    quantum: float | None = None,
) -> Series:
    y = np.asarray(values, dtype=np.float64)
    x = np.arange(len(y), dtype=np.float64) if steps is None else np.asarray(steps, dtype=np.float64)
    return Series(name, name, "train.log", x, y, times=times, reduction=reduction, quantum=quantum)


def setting(name: str, value: object, key: str = "") -> Setting:
    return Setting(name, key or name, value, "config.json")  # type: ignore[arg-type]


def descent(n: int, *, start: float = 2.3, limit: float = 0.4, decay: float = 0.15, noise: float = 0.0, seed: int = 0) -> Floats:
    """An exponential descent to a limit; `decay` in lengths of the curve."""
    rng = np.random.default_rng(seed)
    return limit + (start - limit) * np.exp(-np.arange(n) / (decay * n)) + noise * rng.normal(size=n)
