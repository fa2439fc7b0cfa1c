"""How a curve swings about its own trend: turning points, period, amplitude."""

import math

import numpy as np

from postmortem.measure.smooth import moving_mean
from postmortem.model.curves import Oscillation
from postmortem.model.run import Floats

FEWEST = 8
MOST = 65_536  # last points that the autocorrelation is taken of
LEAST_STRENGTH = 0.3
BEYOND_CHANCE = 1.25  # times the highest autocorrelation that white noise of this length reaches


def oscillation(steps: Floats, values: Floats, *, quantum: float | None = None, steps_per_epoch: float | None = None) -> Oscillation | None:
    """Swings of finite `values` (n,), None below 8 points. The first third is left out of the period when it is a descent of its own."""
    n = len(values)
    if n < FEWEST:
        return None
    part = slice(max(n // 3 if n >= 24 else 0, n - MOST), n)
    y, at = values[part], steps[part]
    residual = y - moving_mean(y, 2 * (len(y) // 6) + 1)
    inner = residual[1:-1] if len(residual) > FEWEST else residual
    low, high = np.percentile(inner, (5, 95))
    spacing = float(np.median(np.diff(at)))
    lag = steps_per_epoch / spacing if steps_per_epoch and spacing > 0 else None
    period, strength = _period(np.clip(residual, *np.percentile(residual, (2, 98))), lag)
    return Oscillation(
        turn_rate=turn_rate(values, quantum),
        period=period,
        period_epochs=period / lag if period is not None and lag else None,
        strength=strength,
        amplitude=float(high - low),
    )


def turn_rate(values: Floats, quantum: float | None = None) -> float:
    """Share of inner points that are local extrema. Flat stretches (within half a printed digit) count as one point."""
    step = np.diff(values)
    moves = np.sign(step[np.abs(step) > (0.5 * quantum if quantum else 0.0)])
    if len(values) < 3:
        return 0.0
    return float(np.sum(moves[1:] != moves[:-1])) / (len(values) - 2)


def _period(residual: Floats, epoch: float | None) -> tuple[float | None, float]:
    """The lag (points) at which the residual resembles itself most, and its autocorrelation there; (None, 0) when none stands out."""
    n = len(residual)
    centred = residual - np.mean(residual)
    power = float(np.dot(centred, centred))
    if power <= 0 or not math.isfinite(power):
        return None, 0.0
    size = 1 << (2 * n - 1).bit_length()
    spectrum = np.fft.rfft(centred, size)
    longest = n // 3
    lags = np.arange(1, longest + 2)
    raw = np.fft.irfft(spectrum * np.conj(spectrum), size)[1 : longest + 2]
    acf = raw / power * n / (n - lags)  # unbiased: a short curve's third period still counts in full
    least = max(LEAST_STRENGTH, BEYOND_CHANCE * math.sqrt(2 * math.log(n) / n))
    inner = acf[1:-1]
    # A peak that follows a trough: a slow drift falls off from lag 1 and never comes back.
    swung = np.minimum.accumulate(acf)[:-2] < 0
    peaks = np.flatnonzero((inner >= acf[:-2]) & (inner >= acf[2:]) & (inner >= least) & swung) + 1
    if not len(peaks):
        return None, 0.0
    highest = float(np.max(acf[peaks]))
    first = int(peaks[np.flatnonzero(acf[peaks] >= 0.85 * highest)[0]])
    if epoch is not None:
        near = peaks[np.abs(peaks + 1 - epoch) <= max(1.0, 0.05 * epoch)]
        if len(near) and float(np.max(acf[near])) >= 0.7 * highest:
            first = int(near[np.argmax(acf[near])])
    return float(first + 1), min(1.0, float(acf[first]))
