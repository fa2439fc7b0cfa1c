"""The clues that clear a symptom: the figure, the limit, and which side of it the figure is on."""

import math

import pytest

from postmortem.check import Check, Cleared, Clue, Unknown, say
from postmortem.checklist.limits import is_above, is_below, share_is_above, share_is_below, times
from postmortem.diagnose import ABSENT, examine, probability
from postmortem.model.diagnosis import FindingStatus
from tests.test_diagnose import evidence

HEIGHT = say("the height")


@pytest.mark.parametrize(
    ("value", "above", "below"), [(3.0, True, False), (1.0, False, True), (2.0, False, False), (math.inf, True, False), (-math.inf, False, True)]
)
def test_the_side_of_the_limit(value: float, above: bool, below: bool) -> None:
    assert (is_above(HEIGHT, value, 2.0).holds, share_is_above(HEIGHT, value, 2.0).holds) == (above, above)
    assert (is_below(HEIGHT, value, 2.0).holds, share_is_below(HEIGHT, value, 2.0).holds) == (below, below)


@pytest.mark.parametrize("value", [None, math.nan])
def test_what_is_no_number_was_not_measured(value: float | None) -> None:
    for clue in (is_above(HEIGHT, value, 2.0), is_below(HEIGHT, value, 2.0), share_is_above(HEIGHT, value, 2.0)):
        assert (clue.holds, str(clue.detail)) == (None, "not measured")


def test_limit_figure_and_file_are_in_it() -> None:
    clue = share_is_above(HEIGHT, 0.123, 0.5, "a.csv")
    assert (str(clue.claim), str(clue.detail), clue.source) == ("the height is above 50%", "12.3%", "a.csv")


def test_multiples_of_what_no_float_holds() -> None:
    assert times(2.0) == pytest.approx(100.0)
    assert times(1e9) == pytest.approx(1e300)
    assert math.isfinite(times(1e9))


def examined(*clues: Clue) -> tuple[Clue, ...]:
    found = examine(Check("m", say("m"), say("m"), lambda e: Cleared(say("fine"), clues)), evidence())
    assert found.status is FindingStatus.ABSENT
    return found.clues


def test_together_they_add_up_to_what_is_stated() -> None:
    for clues in ((is_above(HEIGHT, 1.0, 2.0),), (is_above(HEIGHT, 1.0, 2.0), is_above(HEIGHT, None, 2.0), is_below(HEIGHT, 1.0, 2.0))):
        told = examined(*clues)
        assert probability(sum(c.weight for c in told)) == pytest.approx(ABSENT)
        assert all((c.weight < 0) == (c.holds is not None) for c in told)
    assert examined() == ()


def test_what_cannot_be_told_is_not_cleared() -> None:
    found = examine(Check("m", say("m"), say("m"), lambda e: Unknown(say("nobody knows"))), evidence())
    assert (found.status, found.clues) == (FindingStatus.NOT_MEASURED, ())
