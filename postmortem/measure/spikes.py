"""Short jumps away from the level around them, in the direction in which a curve gets worse.

The level is the median of the points before, so an early descent is no spike; the entry must be a jump and not a drift.
"""

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from postmortem.measure.smooth import MAD_TO_SIGMA, SHORT, median5, noise, roughness
from postmortem.model.curves import Spike
from postmortem.model.run import Floats

BEFORE = 20  # points that noise is told from, and in a long curve the level
FEWEST_LEVEL = 5  # points that the level is the median of in a short curve, where twenty would reach back into the descent
FEWEST_BEFORE = 3
HEIGHT = 8.0  # noise units
LEAST_SPREAD = 0.75  # of the curve's noise: so little may the noise just before a spike be
DIGITS = 3.0  # printed digits that a jump must be worth
SHARE = 0.05  # of the level: a jump smaller than this is none, however quiet the curve
LEAP = 3.0  # times the median step before
SUDDEN = 2.0  # times the largest of the three steps before: a drift goes on as it went
RETURN = 0.25  # share of the height left at which the spike is over
FAST = 5  # points within which a fast recovery is back at the level
MOST = 50  # spikes that are kept, the highest ones
CANDIDATES = 40_000


def find_spikes(steps: Floats, values: Floats, sigma: float, *, worse: int = 1, quantum: float = 0.0) -> tuple[Spike, ...]:
    """Spikes of finite `values` (n,), in order of steps. `sigma` is the curve's noise, `worse` +1 when higher is worse, −1 when lower is."""
    if len(values) <= FEWEST_BEFORE:
        return ()
    y = worse * values
    index = _candidates(y, sigma)
    if not len(index):
        return ()
    level, spread = _before(y, index, _floor(y, index, sigma))
    excess = y[index] - level
    entry = y[index] - np.max(y[index[:, None] - np.arange(1, 4)], axis=1)
    keep = (excess > HEIGHT * spread) & (excess > SHARE * np.abs(level)) & (excess > DIGITS * quantum)
    index, level, spread, excess, entry = index[keep], level[keep], spread[keep], excess[keep], entry[keep]
    keep = (entry > _stride(y, index)) & (spread > 0)  # zeros and nothing but zeros give no measure
    index, level, spread, excess = index[keep], level[keep], spread[keep], excess[keep]
    if len(index) > 10 * MOST:
        top = np.sort(np.argsort(-excess / np.maximum(spread, 1e-300), kind="stable")[: 10 * MOST])
        index, level, spread = index[top], level[top], spread[top]
    found: list[tuple[Spike, int, int]] = []
    until = -1
    for i, base, unit in zip(index.tolist(), level.tolist(), spread.tolist(), strict=True):
        if i < until:
            continue
        spike, until = _follow(steps, y, i, level=base, spread=unit, worse=worse)
        found.append((spike, i, until))
    found.sort(key=lambda f: -f[0].height)
    return _with_prominence(y, sorted(found[:MOST], key=lambda f: f[1]))


def _candidates(y: Floats, sigma: float) -> npt.NDArray[np.intp]:
    """Points that stand out of the running median of the five before them; a coarse and cheap sieve."""
    trailing = np.concatenate((np.full(3, np.median(y[:3])), median5(y)[1:-2])) if len(y) > 3 else y
    excess = y - trailing
    excess[:FEWEST_BEFORE] = 0
    index = np.flatnonzero(excess > (2 * sigma if len(y) > SHORT else 0.0))
    if len(index) > CANDIDATES:
        index = np.sort(index[np.argpartition(-excess[index], CANDIDATES)[:CANDIDATES]])
    return index


def _floor(y: Floats, index: npt.NDArray[np.intp], sigma: float) -> Floats:
    """The least noise to measure each candidate by. In a short curve the spike itself would be half of the noise, so it is left out."""
    if len(y) > SHORT:
        return np.full(len(index), LEAST_SPREAD * sigma)
    return LEAST_SPREAD * np.array([min(sigma, noise(np.delete(y, i))) for i in index.tolist()])


def _before(y: Floats, index: npt.NDArray[np.intp], floor: Floats) -> tuple[Floats, Floats]:
    """Median of the points before each index, and their noise (not below `floor`)."""
    back = index[:, None] - np.arange(1, BEFORE + 1)  # (k, BEFORE)
    window = np.where(back >= 0, y[np.maximum(back, 0)], np.nan)
    level = _medians(window[:, : min(BEFORE, max(FEWEST_LEVEL, len(y) // 10))])
    rough = np.concatenate(([np.nan], np.abs(roughness(y)), [np.nan]))
    # The point just before has a roughness that already feels the jump.
    beside = np.where(back[:, 1:] >= 1, rough[np.maximum(back[:, 1:], 1)], 0.0)
    count = np.sum(back[:, 1:] >= 1, axis=1)
    local = np.zeros(len(index))
    enough = count >= 2
    if bool(np.any(enough)):
        beside = np.where(back[:, 1:] >= 1, beside, np.nan)
        local[enough] = MAD_TO_SIGMA * _medians(beside[enough])
    spread = np.maximum(local, floor)
    # Without noise of its own (four points, a constant) the level's last digits are all there is to measure by.
    return level, np.maximum(spread, 1e-9 * np.abs(level))


def _medians(windows: Floats) -> Floats:
    """The median of each row (k, width), NaN left out."""
    out = np.median(windows, axis=1)  # a third of the time of nanmedian; NaN where there is one
    cut = np.flatnonzero(np.isnan(out))
    if len(cut):
        out[cut] = np.nanmedian(windows[cut], axis=1)
    return np.asarray(out)


def _stride(y: Floats, index: npt.NDArray[np.intp]) -> Floats:
    """The step that a jump to each index must exceed, from the typical one before it and the largest of the last three."""
    size = np.abs(np.diff(y))  # size[i − 1] leads to i
    back = index[:, None] - np.arange(2, BEFORE + 2)
    window = np.where(back >= 0, size[np.maximum(back, 0)], np.nan)
    if not len(index):
        return np.empty(0)
    out: Floats = np.maximum(LEAP * _medians(window), SUDDEN * np.nanmax(window[:, :3], axis=1))
    return out


def _follow(steps: Floats, y: Floats, i: int, *, level: float, spread: float, worse: int) -> tuple[Spike, int]:
    """The spike that begins at `i`, and the index at which it is over (n when it never is)."""
    n = len(y)
    top, width, end = i, 0, n
    ahead = 256
    start = i
    while start < n:
        part = y[start : start + ahead]
        highest = np.maximum(np.maximum.accumulate(part), y[top])
        back = np.flatnonzero(part <= level + np.maximum(RETURN * (highest - level), 3 * spread))
        stop = int(back[0]) if len(back) else len(part)
        if stop:
            peak = start + int(np.argmax(part[:stop]))
            top = peak if y[peak] > y[top] else top
        if len(back):
            end = start + stop
            break
        start += len(part)
        ahead *= 4
    width = end - i
    height = float(y[top]) - level
    value = worse * float(y[top])
    base = worse * level
    recovery: Literal["fast", "slow", "never"] = "never" if end == n else "fast" if width <= FAST else "slow"
    spike = Spike(
        step=float(steps[i]),
        value=value,
        level=base,
        height=height / spread if spread > 0 else math.inf,
        ratio=value / base if base > 0 else math.nan,
        width=width,
        recovery=recovery,
    )
    return spike, end


def _with_prominence(y: Floats, found: list[tuple[Spike, int, int]]) -> tuple[Spike, ...]:
    """Each spike with its height over the largest rise of the rest of the curve above its running median."""
    if not found:
        return ()
    rise = y - median5(y)
    rise[:FEWEST_BEFORE] = 0
    for _, i, end in found:
        rise[i : min(end, i + 10_000)] = 0
    rest = max(float(np.max(rise)), 0.0)
    heights = [abs(s.value - s.level) for s, _, _ in found]
    out = []
    for at, (spike, _, _) in enumerate(found):
        others = max([rest, *heights[:at], *heights[at + 1 :]])
        ratio = heights[at] / others if others > 0 else math.inf
        out.append(Spike(spike.step, spike.value, spike.level, spike.height, spike.ratio, spike.width, spike.recovery, prominence=ratio))
    return tuple(out)
