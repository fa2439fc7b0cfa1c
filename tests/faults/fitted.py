"""Fits in log-odds with shrinkage towards what is there, judged out of group."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

Floats = npt.NDArray[np.float64]
SHRINKAGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # a change of a weight by 1 costs half of this, in nats
FOLDS = 10
CERTAIN = 12.0  # log-odds: beyond this a probability is 0 or 1 for all purposes


@dataclass(frozen=True)
class Judged:
    """One probability that was stated, what it was the sum of, and whether it came true."""

    group: str
    log_odds: float
    true: bool
    parts: tuple[str, ...] = ()  # names of the prior and of the clues that spoke, each "<mode> or <mode>/<cause>: …"

    @property
    def name(self) -> str:
        """The mode, or the mode and the cause."""
        return self.parts[0].partition(":")[0]


def log_loss(log_odds: Floats, true: Floats) -> Floats:
    """Nats per statement, (n,)."""
    return np.logaddexp(0.0, np.where(true > 0, -log_odds, log_odds))


def folds(groups: Sequence[str]) -> npt.NDArray[np.int64]:
    """A fold for each statement; one group is never in two, and folds are of about equal size."""
    sizes: dict[str, int] = {}
    for group in groups:
        sizes[group] = sizes.get(group, 0) + 1
    filled, where = [0] * min(FOLDS, len(sizes)), {}
    for group in sorted(sizes, key=lambda g: (-sizes[g], g)):
        where[group] = filled.index(min(filled))
        filled[where[group]] += sizes[group]
    return np.array([where[group] for group in groups])


def arrays(judged: Sequence[Judged]) -> tuple[Floats, Floats]:
    odds = np.clip([j.log_odds for j in judged], -CERTAIN, CERTAIN)
    return odds.astype(np.float64), np.array([j.true for j in judged], dtype=np.float64)


# --- two numbers ----------------------------------------------------------------------------------------------------


def stretched(odds: Floats, true: Floats, shrinkage: float) -> tuple[float, float]:
    """(bias, slope) of log-odds that say best what came true; (0, 1) costs nothing."""

    def cost(at: Floats) -> tuple[float, Floats]:
        new = at[0] + at[1] * odds
        wrong = 1 / (1 + np.exp(-new)) - true
        away = np.array([at[0], at[1] - 1])
        return float(log_loss(new, true).sum() + 0.5 * shrinkage * (away**2).sum()), np.array([wrong.sum(), (wrong * odds).sum()]) + shrinkage * away

    found = minimize(cost, np.array([0.0, 1.0]), jac=True, method="L-BFGS-B").x
    return float(found[0]), float(found[1])


def stretched_out_of_group(judged: Sequence[Judged], shrinkage: float) -> Floats:
    """Log-odds of each statement from a stretch that was fitted without its group."""
    odds, true = arrays(judged)

    def fit(known: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> Floats:
        bias, slope = stretched(odds[known], true[known], shrinkage)
        return bias + slope * odds[asked]

    return _out_of_group(judged, fit)


# --- every weight ---------------------------------------------------------------------------------------------------


def refitted(judged: Sequence[Judged], shrinkage: float) -> dict[str, float]:
    """What to add to each prior and to each weight."""
    odds, true = arrays(judged)
    names = sorted({p for j in judged for p in j.parts})
    present = _present(judged, names)
    return dict(zip(names, _added(present, odds, true, shrinkage).tolist(), strict=True))


def refitted_out_of_group(judged: Sequence[Judged], shrinkage: float) -> Floats:
    """Log-odds of each statement with weights that were fitted without its group."""
    odds, true = arrays(judged)
    present = _present(judged, sorted({p for j in judged for p in j.parts}))

    def fit(known: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> Floats:
        return odds[asked] + present[asked] @ _added(present[known], odds[known], true[known], shrinkage)

    return _out_of_group(judged, fit)


def _present(judged: Sequence[Judged], names: Sequence[str]) -> Floats:
    """Which part spoke in which statement, (statements, parts)."""
    at = {name: i for i, name in enumerate(names)}
    out = np.zeros((len(judged), len(names)))
    for row, j in zip(out, judged, strict=True):
        row[[at[p] for p in j.parts]] = 1.0
    return out


def _added(present: Floats, odds: Floats, true: Floats, shrinkage: float) -> Floats:
    def cost(added: Floats) -> tuple[float, Floats]:
        new = odds + present @ added
        wrong = 1 / (1 + np.exp(-np.clip(new, -50, 50))) - true
        return float(log_loss(new, true).sum() + 0.5 * shrinkage * (added**2).sum()), present.T @ wrong + shrinkage * added

    return np.asarray(minimize(cost, np.zeros(present.shape[1]), jac=True, method="L-BFGS-B").x)


def _out_of_group(judged: Sequence[Judged], fit: Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], Floats]) -> Floats:
    fold = folds([j.group for j in judged])
    out = np.zeros(len(judged))
    for f in range(int(fold.max()) + 1):
        out[fold == f] = fit(fold != f, fold == f)
    return out


# --- how good -------------------------------------------------------------------------------------------------------


def gain(judged: Sequence[Judged], new: Floats, draws: int = 1000) -> tuple[float, float, float]:
    """By how many nats per statement `new` log-odds are better than the stated ones, with a 95 % interval from resampled groups."""
    odds, true = arrays(judged)
    better = log_loss(odds, true) - log_loss(new, true)
    names, where = np.unique([j.group for j in judged], return_inverse=True)
    sums, counts = np.bincount(where, better, len(names)), np.bincount(where, minlength=len(names))
    dice = np.random.default_rng(0)
    drawn = dice.integers(0, len(names), (draws, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(better.mean()), float(low), float(high)


def wilson(right: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    z, p = 1.96, right / of
    middle, half = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return (middle - half) / (1 + z * z / of), (middle + half) / (1 + z * z / of)


def log_odds(probability: float) -> float:
    p = min(1 - 1e-6, max(1e-6, probability))
    return math.log(p / (1 - p))
