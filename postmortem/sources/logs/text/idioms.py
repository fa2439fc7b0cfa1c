"""Turns of phrase that only one framework uses, put into words that every log uses. Numbers keep their number and their order.

`1epoch:train:101-200batch:` of ESPnet becomes `train epoch: 1, from 101, batch: 200,`: what counts, the grammar then sees.
"""

import re

from postmortem.sources.logs.text.tokens import NUMBER

_N = NUMBER
_IDIOMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), into)
    for pattern, into in (
        (rf": ?{_N}epoch:(train|valid):{_N}-{_N}batch:", rf": \1 epoch: {_N}, from {_N}, batch: {_N},"),  # ESPnet 2
        (rf"\({_N}/{_N}\) Epoch{_N}, (?=batch|validation)", rf"from {_N} via {_N}, Epoch {_N}, "),  # icefall: (rank/ranks)
        (rf"\b(TRAIN|CV) Batch{_N}/{_N} loss", rf"\1 epoch {_N}, batch {_N}, loss"),  # WeNet: epoch/batch
        (rf"\bINFO (?=(?:Train|Test|Val\w*): \[{_N}/{_N}\])", ""),  # Swin
        (rf"\b(Train|Test|Val(?:idation)?): \[{_N}/{_N}\]\s?\[{_N}/{_N}\]", rf"\1 Epoch: [{_N}/{_N}] [{_N}/{_N}]"),
        (rf"\bSaving dict for global step{_N}:", rf"eval global step {_N},"),  # TensorFlow's estimators, Tensor2Tensor
        (r"\bcur metric,", "val metric,"),  # PaddleOCR
        (rf"^Epoch loaded:{_N} - ", rf"test epoch {_N} - "),  # SpeechBrain, once training is over
        (r"-score \((?:micro(?: avg)?)\)", "-score"),  # Flair
    )
)
# Tables of results by class, counts of detections, scores of the best so far: numbers, and none of them a curve.
_ASIDE = re.compile(
    rf"\btp:{_N} - fp:{_N} - |^MACRO_AVG:|-score \(macro\)|\bbest metric,|^\s*Class +Images +(?:Instances|Labels) |\bRegion{_N} Avg |"
    rf"^(?!.*(?i:loss))[^\W\d][^{_N}:=|,\[(]{{0,60}}{_N}{{4}}$"
)  # fmt: skip


def in_plain_words(shape: str) -> str:
    """The shape without idioms; "" for a line of results that are no curve."""
    if _ASIDE.search(shape):
        return ""
    for pattern, into in _IDIOMS:
        if pattern.search(shape):
            shape = pattern.sub(into, shape, count=1)
    return shape
