"""Where two curves part: the first place from which they stay apart by more than their noise, or than good runs differ."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from postmortem.compare.axis import Placed, at_places, on_grid
from postmortem.model.comparison import Parting
from postmortem.model.run import Floats

EQUAL = 1e-5  # relative: equal but for rounding to six digits
ALIKE = 0.8  # share of the points before the parting that are equal: the same until then, not only alike
BEYOND = 4.0  # standard deviations of the noise
LEAST = 0.02  # of the level: a smaller difference changes nothing, however smooth the curves are
STAYS = 3  # points in a row that must be apart
MOSTLY = 0.5  # share of all later points that must be apart
AROUND = 2  # points before and after one from which the spread of good runs there is taken
FEWEST = 3  # common points below which nothing is said
_LOWER = frozenset({"loss", "error", "perplexity", "mae", "mse"})
_HIGHER = frozenset({"accuracy", "score", "f1", "auc", "reward"})


def part(good: Placed, bad: Placed, others: Sequence[Placed] = ()) -> Parting | None:
    """How `bad` lies to `good`. None with fewer than three common points.

    others : the same curve of further good runs. Where they are, `bad` is held against the mean of all good ones and must be apart by
    more than their spread, which also holds what noise within one curve does not show: the luck of a seed.
    """
    x, a, b = on_grid(good, bad)
    if len(x) < FEWEST:
        return None
    finite = np.isfinite(a) & np.isfinite(b)
    broken = np.isfinite(a) != np.isfinite(b)
    logarithmic = bool(finite.any()) and bool((a[finite] > 0).all() and (b[finite] > 0).all()) and _leaf(good.name) not in _HIGHER
    with np.errstate(all="ignore"):
        u, v = (np.log(a), np.log(b)) if logarithmic else (a, b)
    difference = np.where(finite, v - u, 0.0)
    scale = 1.0 if logarithmic else float(np.median(np.abs(a[finite]))) if finite.any() else 1.0
    noise = math.hypot(noise_of(u[finite]), noise_of(v[finite]))
    # two runs on the same batches share their noise: then the differences before they part tell how much is left of it
    noisy = np.full(len(x), noise)
    more = np.stack([u, *(_measured(at_places(o, x), logarithmic=logarithmic) for o in others)])
    if len(more) > 1:
        centre, spread = centre_and_spread(more)
        known = np.isfinite(spread) & np.isfinite(centre) & finite
        difference = np.where(known, v - centre, difference)
        noisy = np.where(known, np.hypot(np.maximum(spread, noise_of(v[finite])), spread / math.sqrt(len(more))), noisy)
    limit = np.maximum(BEYOND * noisy, LEAST * scale)
    away = np.where(difference > limit, 1, np.where(difference < -limit, -1, 0))
    away[broken] = 2
    first = _first(away)
    with np.errstate(invalid="ignore"):
        equal = (
            (a == b) | (np.abs(a - b) <= EQUAL * np.maximum(np.abs(a), np.abs(b)) + (good.quantum + bad.quantum) / 2) | (np.isnan(a) & np.isnan(b))
        )
    same = int(np.argmin(equal)) if not equal.all() else len(x)
    shown = first if first is not None else len(x) - 1
    worse = None
    if first is not None and _leaf(good.name) in _LOWER | _HIGHER:
        worse = bool(not np.isfinite(b[first]) or (away[first] == 1) == (_leaf(good.name) in _LOWER))
    return Parting(
        curve=good.name,
        points=len(x),
        first=float(x[0]),
        same_until=float(x[same - 1]) if same else None,
        equal=same == len(x),
        same_before=first is not None and same >= ALIKE * first and same > 1,
        at=None if first is None else float(x[first]),
        good=_number(a[shown]),
        bad=_number(b[shown]),
        noise=float(noisy[shown]) * (abs(float(a[shown])) if logarithmic and np.isfinite(a[shown]) else 1.0),
        apart=0.0 if first is None else float(np.mean(away[first:] != 0)),
        worse=worse,
        good_end=_number(a[-1]),
        bad_end=_number(b[-1]),
    )


def centre_and_spread(curves: Floats) -> tuple[Floats, Floats]:
    """Mean of several curves (k, n) at each place and their standard deviation (k − 1) there, pooled over its neighbours. NaN below two."""
    finite = np.isfinite(curves)
    count = finite.sum(axis=0)
    with np.errstate(all="ignore"):
        centre = np.where(finite, curves, 0.0).sum(axis=0) / count
        squares = np.where(finite, (curves - centre) ** 2, 0.0).sum(axis=0)
        window = np.ones(2 * AROUND + 1)
        pooled = np.convolve(squares, window)[AROUND:-AROUND] / np.convolve(np.maximum(count - 1, 0), window)[AROUND:-AROUND]
        return centre, np.where(count > 1, np.sqrt(pooled), np.nan)


def _measured(values: Floats, *, logarithmic: bool) -> Floats:
    with np.errstate(all="ignore"):
        return np.log(values) if logarithmic else values


def _first(away: npt.NDArray[np.int64]) -> int | None:
    """The first point of a stretch of points that are apart to the same side, after which most points are apart."""
    n = len(away)
    for i in (int(j) for j in np.flatnonzero(away)):
        stretch = away[i : i + min(STAYS, n - i)]
        if len(stretch) < STAYS and i > 0 and away[i] != 2 and n > STAYS:
            continue
        if (stretch == away[i]).all() and np.mean(away[i:] != 0) >= MOSTLY:
            return i
    return None


def noise_of(values: Floats) -> float:
    """Standard deviation of the noise of an evenly sampled curve, from its second differences: a trend adds nothing to them.

    1.4826 · median |Δ²y| / √6, which is the standard deviation for white Gaussian noise. 0 with fewer than 5 values.
    """
    if len(values) < 5:
        return 0.0
    second = np.diff(values, 2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / math.sqrt(6.0))


def _leaf(name: str) -> str:
    return name.removesuffix(".epoch").rpartition("/")[2]


def _number(value: float) -> float:
    return float(value)
