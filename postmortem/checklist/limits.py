"""Figures held against the limit from which they speak of a fault: the clues by which a symptom is cleared.

Each says what was looked at, the figure, the limit and the file. A figure that is None or NaN was not measured. The clues of a
`Cleared` are shown as they are and decide nothing: that is done in `detect`.
"""

import math

from postmortem.check import Clue, Evidence, Sentence, say
from postmortem.checklist.levels import AT_CHANCE, LITTLE_FALL, loss_curve, relative_fall, to_chance
from postmortem.checklist.signs import file_of


def asked(claim: Sentence, holds: bool | None, detail: Sentence, source: str = "") -> Clue:  # noqa: FBT001
    """A clue without a figure to hold against a limit."""
    return Clue(claim, holds, 0.0, detail, source)


def is_above(quantity: Sentence, value: float | None, limit: float, source: str = "") -> Clue:
    """It would speak of the fault above the limit. `quantity` is a noun with its unit."""
    return _held(say("{quantity} is above {limit:.3g}", quantity=quantity, limit=limit), value, _exceeds(value, limit), source)


def is_below(quantity: Sentence, value: float | None, limit: float, source: str = "") -> Clue:
    """It would speak of the fault below the limit."""
    return _held(say("{quantity} is below {limit:.3g}", quantity=quantity, limit=limit), value, _exceeds(limit, value), source)


def share_is_above(quantity: Sentence, value: float | None, limit: float, source: str = "") -> Clue:
    """`is_above` for a share, shown in per cent."""
    return _held(say("{quantity} is above {limit:.0%}", quantity=quantity, limit=limit), value, _exceeds(value, limit), source, share=True)


def share_is_below(quantity: Sentence, value: float | None, limit: float, source: str = "") -> Clue:
    """`is_below` for a share, shown in per cent."""
    return _held(say("{quantity} is below {limit:.0%}", quantity=quantity, limit=limit), value, _exceeds(limit, value), source, share=True)


def _exceeds(larger: float | None, smaller: float | None) -> bool:
    return larger is not None and smaller is not None and larger > smaller


def _held(claim: Sentence, value: float | None, holds: bool, source: str, *, share: bool = False) -> Clue:  # noqa: FBT001
    if value is None or math.isnan(value):
        return asked(claim, None, say("not measured"))
    return asked(claim, holds, say("{value:.1%}", value=value) if share else say("{value:.4g}", value=value), source)


LARGEST = 300.0  # decades that a float holds


def times(decades: float) -> float:
    """10 ** decades, as a multiple; what no float holds is the largest that one does."""
    return math.pow(10.0, min(decades, LARGEST))


def flatness(e: Evidence) -> tuple[Clue, ...]:
    """What `levels.loss_is_flat` looks at."""
    loss = loss_curve(e)
    if loss is None:
        return (asked(say("the loss is flat"), None, say("not measured")),)
    low, high = AT_CHANCE
    level, source = to_chance(e, loss.final), file_of(e, loss.name)
    clues = (share_is_below(say("the fall of {name} from start to end", name=loss.name), relative_fall(loss), LITTLE_FALL, source),)
    if level is None:
        return clues
    claim = say("{name} ends at chance, between {low:.2g} and {high:.2g} × of it", name=loss.name, low=low, high=high)
    return (*clues, asked(claim, low < level < high, say("{value:.4g}", value=level), source))


def family_expected_to_learn(e: Evidence) -> Clue:
    """Of a family whose loss must fall."""
    return asked(say("the run is of a family whose loss must fall"), False, say("{family}", family=e.family))


def newest(e: Evidence) -> str:
    """The checkpoint from which figures of weights are."""
    return e.checkpoints[-1].path if e.checkpoints else ""
