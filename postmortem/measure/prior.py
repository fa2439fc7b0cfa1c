"""The bias of the output layer beside the class prior: what a classifier says of an input that tells it nothing.

softmax(b) is what comes out where all other terms of the logits are 0. A network that learned how often each class occurs and nothing
else has a bias near ln(share of the class); a head that was never trained has one near 0, which is the uniform prior.
"""

from collections.abc import Mapping

import numpy as np

from postmortem.measure.numbers import as_real
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.measure.structure import owner
from postmortem.measure.trajectory import dtype_of
from postmortem.model.run import TensorRef
from postmortem.model.tensors import BiasPrior

MOST = 1 << 17  # outputs; a larger vocabulary has no bias


def bias_prior(files: TensorFiles, refs: Mapping[str, TensorRef], head: str | None, shares: Mapping[float, float]) -> BiasPrior | None:
    """Of one checkpoint; None where the head has no bias, one output alone, or numbers that are not finite.

    head : name of the output layer's weight. shares : class → its share of the training labels, empty where they are not known;
    classes are numbered from 0, and a class without an output leaves the divergence unmeasured.
    """
    if head is None:
        return None
    bias = next((r for n, r in refs.items() if n.rpartition(".")[2].lower() == "bias" and owner(n) == owner(head)), None)
    if bias is None or len(bias.shape) != 1 or not 1 < bias.count <= MOST:
        return None
    try:
        logits = as_real(files.whole(bias), dtype_of(bias)).astype(np.float64)
    except NotWholeError:
        return None
    if not np.isfinite(logits).all():
        return None
    logs = logits - logits.max()
    logs -= np.log(np.exp(logs).sum())  # ln softmax
    uniform = float(-logs.mean() - np.log(len(logs)))
    known = bool(shares) and all(c == int(c) and 0 <= c < len(logs) for c in shares)
    labels = float(sum(p * (np.log(p) - logs[int(c)]) for c, p in shares.items())) if known else None
    return BiasPrior(len(logs), max(uniform, 0.0), None if labels is None else max(labels, 0.0))
