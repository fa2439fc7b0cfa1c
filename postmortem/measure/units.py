"""Losses that were logged as a sum over the validation set."""

import numpy as np

from postmortem.model.run import Series

FEWEST = 3  # evaluations
ALIKE = 0.01  # relative distance of the number of tokens of one evaluation from that of another
TOKENS = 20.0  # the fewest that a set is taken to hold; another base of the logarithm gives 1.44 or 0.43


def tokens_of(series: dict[str, Series]) -> float | None:
    """How many tokens validation loss is a sum over: the perplexity beside it is exp(loss / tokens). None where it is a mean, or nobody can tell.

    Every evaluation must tell the same number, to within the printed digits of both.
    """
    loss, perplexity = series.get("val/loss"), series.get("val/perplexity")
    if loss is None or perplexity is None or len(loss) != len(perplexity) or len(loss) < FEWEST:
        return None
    if not np.array_equal(loss.steps, perplexity.steps) or not bool(np.all((loss.values > 0) & (perplexity.values > 1))):
        return None
    tokens = loss.values / np.log(perplexity.values)  # (n,)
    usual = float(np.median(tokens))
    return usual if usual > TOKENS and bool(np.all(np.abs(tokens / usual - 1) < ALIKE)) else None
