"""The engine, on a checklist made for it: log-odds, standings, isolation, one story."""

import math
from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.check import Cause, Change, Check, Cleared, Fix, Need, Probe, Reading, Severity, Sighting, Unknown, say
from postmortem.diagnose import ABSENT, diagnose, examine, fold, next_time, probability, root_finding, standing
from postmortem.model.curves import Chance, PaceStats
from postmortem.model.diagnosis import FindingStatus, Standing
from postmortem.model.evidence import Evidence
from postmortem.model.sentence import Sentence
from postmortem.model.tensors import ModelFacts, WeightSummary
from postmortem.verdict import judge

NEVER = Need("grad_norm", say("log the gradient norm"), lambda e: False)


def evidence(**changes: object) -> Evidence:
    plain: dict[str, object] = {
        "curves": MappingProxyType({}), "series": MappingProxyType({}), "gap": None, "schedule": None, "chance": Chance(None, None, None, ""),
        "pace": PaceStats(None, None, None, None, None), "checkpoints": (), "weights": WeightSummary(0), "model": ModelFacts(), "saved": (), "events": (),
        "settings": (), "sources": (), "attempts": (), "family": "", "family_stated": False, "framework": "", "outcome": "unknown", "axis": "step",
        "steps_per_epoch": None, "first_step": 0.0, "last_step": 10.0, "last_epoch": None, "planned_steps": None, "planned_epochs": None,
    }  # fmt: skip
    return Evidence(**{**plain, **changes})  # type: ignore[arg-type]


def seen(step: float = 3.0, severity: Severity = Severity.SERIOUS) -> Sighting:
    return Sighting(severity, say("seen"), step)


def answer(*, holds: bool, weight: float, fails: float = 0.0, needs: tuple[Need, ...] = ()) -> Probe:
    return Probe(say("claim"), lambda e, s: Reading(holds, say("answer")), weight, fails, needs)


def check(name: str = "mode", detect: object = None, **changes: object) -> Check:
    fields: dict[str, object] = {"id": name, "title": say("title"), "symptom": say("symptom"), "detect": detect or (lambda e: seen()), "prior": 0.0}
    return Check(**{**fields, **changes})  # type: ignore[arg-type]


def cause(name: str, *probes: Probe) -> Cause:
    return Cause(name, say("title"), say("mechanism"), probes, lambda e, s: ())


@given(st.floats(-1e6, 1e6))
def test_probability_is_the_logistic_function(x: float) -> None:
    p = probability(x)
    assert 0.0 <= p <= 1.0
    if abs(x) < 30:
        assert math.log(p / (1 - p)) == pytest.approx(x, abs=1e-4)


def test_confidence_is_prior_plus_clues() -> None:
    found = examine(check(prior=0.5, probes=(answer(holds=True, weight=1.2), answer(holds=False, weight=9.0, fails=-0.4))), evidence())
    assert found.status == FindingStatus.PRESENT
    assert found.confidence == pytest.approx(probability(0.5 + 1.2 - 0.4))
    assert [c.weight for c in found.clues] == [1.2, -0.4]


def test_what_was_not_measured_adds_nothing_and_names_what_to_log() -> None:
    found = examine(check(prior=0.5, probes=(answer(holds=True, weight=5.0, needs=(NEVER,)),)), evidence())
    assert found.confidence == pytest.approx(probability(0.5))
    assert found.clues[0].holds is None
    assert "grad_norm" in str(found.clues[0].detail)


def test_an_unmet_need_of_the_check_is_not_measured() -> None:
    found = examine(check(needs=(NEVER,)), evidence())
    assert (found.status, found.confidence) == (FindingStatus.NOT_MEASURED, None)
    assert "grad_norm" in str(found.summary)


def test_cleared_unknown_and_doubtful_symptoms_are_told_apart() -> None:
    cleared = examine(check(detect=lambda e: Cleared(say("fine"), ())), evidence())
    unknown = examine(check(detect=lambda e: Unknown(say("cannot tell"))), evidence())
    doubtful = examine(check(prior=-2.0), evidence())
    assert (cleared.status, cleared.confidence, str(cleared.summary)) == (FindingStatus.ABSENT, ABSENT, "fine")
    assert unknown.status == FindingStatus.NOT_MEASURED
    assert (doubtful.status, doubtful.causes) == (FindingStatus.ABSENT, ())
    assert doubtful.confidence == pytest.approx(probability(-2.0))


def test_a_check_that_crashes_is_one_finding_and_stops_nothing() -> None:
    def broken(e: Evidence) -> Sighting:
        raise ZeroDivisionError("no steps")

    findings = diagnose(evidence(), (check("broken", broken), check("fine")))
    assert [f.status for f in findings] == [FindingStatus.CRASHED, FindingStatus.PRESENT]
    assert "ZeroDivisionError" in str(findings[0].summary)


def test_causes_are_ranked_and_only_possible_ones_offer_fixes() -> None:
    strong, weak, silent = (
        cause("strong", answer(holds=True, weight=4.0)),
        cause("weak", answer(holds=False, weight=1.0, fails=-4.0)),
        cause("silent"),
    )
    found = examine(check(causes=((weak, -1.0), (silent, -1.0), (strong, -1.0))), evidence())
    assert [c.cause for c in found.causes] == ["strong", "silent", "weak"]
    assert [c.standing for c in found.causes] == [Standing.CONFIRMED, Standing.NOT_MEASURED, Standing.RULED_OUT]


def fix(title: str, *changes: tuple[str, object, object]) -> Fix:
    return Fix(Sentence(title, {}), say("why"), tuple(Change(name, name, "config.yaml", before, to) for name, before, to in changes))  # type: ignore[arg-type]


def test_fixes_come_in_the_order_of_how_likely_they_help() -> None:
    lower, lowest, other, last = fix("lower", ("lr", 1.0, 0.1)), fix("lowest", ("lr", 1.0, 0.01)), fix("other", ("dropout", 0.9, 0.1)), fix("last")
    likely = replace(cause("likely", answer(holds=True, weight=2.0)), fixes=lambda e, s: (lower, lowest))
    possible = replace(cause("possible", answer(holds=True, weight=1.0)), fixes=lambda e, s: (other, lower, last))
    found = examine(check(causes=((possible, 0.0), (likely, 0.0))), evidence())
    assert [str(f.title) for f in found.fixes] == ["lower", "lowest", "other", "last"]


def test_advice_waits_for_changes_that_can_be_tried_unless_it_is_the_first() -> None:
    lower, advice, other = fix("lower", ("lr", 1.0, 0.1)), fix("advice"), fix("other", ("dropout", 0.9, 0.1))
    first = replace(cause("first", answer(holds=True, weight=2.0)), fixes=lambda e, s: (advice,))
    second = replace(cause("second", answer(holds=True, weight=1.8)), fixes=lambda e, s: (fix("more advice"),))
    third = replace(cause("third", answer(holds=True, weight=1.0)), fixes=lambda e, s: (lower, other))
    found = examine(check(causes=((first, 0.0), (second, 0.0), (third, 0.0))), evidence())
    assert [str(f.title) for f in found.fixes] == ["advice", "more advice", "lower", "other"]


def test_changes_of_less_likely_causes_fill_up_and_advice_only_where_there_are_too_few() -> None:
    def unlikely(name: str, prior: float, *fixes: Fix) -> tuple[Cause, float]:
        return replace(cause(name, answer(holds=False, weight=1.0)), fixes=lambda e, s: fixes), prior

    advice, flag = fix("advice"), fix("flag", ("shuffle", None, True))
    same, default = fix("same", ("dropout", 0.1, 0.1)), fix("default", ("loss", None, None))
    rate, second, removed = fix("rate", ("lr", 1.0, 0.1)), fix("second", ("lr", 1.0, 0.2)), fix("removed", ("schedule", "exp", None))
    width, late = fix("width", ("model_width", None, 64)), fix("late", ("epochs", 1, 9))
    causes = (
        unlikely("a", -1.5, advice), unlikely("b", -1.6, flag), unlikely("c", -1.7, same), unlikely("d", -1.8, default), unlikely("e", -1.9, rate, second),
        unlikely("f", -2.0, removed), unlikely("g", -2.1, width), unlikely("h", -2.2, late), unlikely("i", -9.0, late),
    )  # fmt: skip
    found = examine(check(causes=causes), evidence())
    assert [str(f.title) for f in found.fixes] == ["flag", "rate", "removed"]  # "same" changes nothing, a default counts less than a setting
    assert str(found.fixes[0].why) == "Less likely. why"
    few = examine(check(causes=(unlikely("a", -1.5, advice), unlikely("e", -1.6, rate), unlikely("i", -9.0, flag))), evidence())
    assert [str(f.title) for f in few.fixes] == ["rate", "advice"]


def test_advice_of_a_cause_that_is_far_from_certain_yields_to_a_change() -> None:
    reset = fix("reset", ("frozen_parameters", None, None))
    doubtful = replace(cause("doubtful", answer(holds=True, weight=0.5)), fixes=lambda e, s: (fix("advice"),))
    near = replace(cause("near", answer(holds=True, weight=0.2)), fixes=lambda e, s: (reset,))
    found = examine(check(causes=((doubtful, -1.0), (near, -1.0))), evidence())
    assert [c.cause for c in found.causes] == ["doubtful", "near"]
    assert [str(f.title) for f in found.fixes] == ["reset", "advice"]


def test_no_fix_leaves_the_settings_as_they_are() -> None:
    same, lower = fix("same", ("lr", 0.1, 0.1)), fix("lower", ("lr", 0.1, 0.01))
    sure = replace(cause("sure", answer(holds=True, weight=3.0)), fixes=lambda e, s: (same, lower))
    found = examine(check(causes=((sure, 0.0),)), evidence())
    assert [str(f.title) for f in found.fixes] == ["lower"]


@pytest.mark.parametrize(
    ("prior", "stated"), [(0.1, probability(0.1)), (0.8, probability(0.8)), (1.0, 0.7), (1.6, 0.7), (3.0, probability(2.0)), (6.0, probability(5.0))]
)
def test_sure_health_is_stated_less_surely_than_its_clues_say(prior: float, stated: float) -> None:
    verdict = judge(evidence(), (), check("healthy", prior=prior), 0)
    assert verdict.mode == "healthy"
    assert verdict.confidence == pytest.approx(stated)


def test_what_is_less_than_likely_to_be_healthy_is_inconclusive() -> None:
    assert judge(evidence(), (), check("healthy", prior=-0.1), 0).mode == "inconclusive"


@pytest.mark.parametrize(("p", "word"), [(0.95, "confirmed"), (0.94, "likely"), (0.7, "likely"), (0.69, "possible"), (0.3, "possible"), (0.29, "unlikely"), (0.05, "unlikely"), (0.049, "ruled-out")])  # fmt: skip
def test_standings(p: float, word: str) -> None:
    assert standing(p, asked=True) == word
    assert standing(p, asked=False) == "not-measured"


def test_a_consequence_folds_under_its_root_and_cycles_are_never_made() -> None:
    first, second = check("first", consequences=("second",)), check("second", consequences=("first",))
    findings = fold([examine(c, evidence()) for c in (first, second)], (first, second))
    assert [f.consequence_of for f in findings] == [None, "first"]


def test_the_root_is_the_worst_then_the_earliest() -> None:
    late = check("late", lambda e: seen(9.0, Severity.FATAL))
    early = check("early", lambda e: seen(1.0, Severity.SERIOUS))
    earlier = check("fatal-too", lambda e: seen(5.0, Severity.FATAL))
    found = root_finding(diagnose(evidence(), (early, late, earlier)), 0)
    assert found is not None
    assert found.mode == "fatal-too"


def test_what_is_hardly_more_likely_than_not_is_no_root_beside_what_is_sure() -> None:
    doubtful, sure = check("early", lambda e: seen(1.0, Severity.SERIOUS), prior=0.2), check("late", lambda e: seen(9.0, Severity.SERIOUS), prior=3.0)
    found = diagnose(evidence(), (doubtful, sure))
    assert [f.status for f in found] == [FindingStatus.PRESENT] * 2
    root = root_finding(found, 0)
    assert root is not None
    assert root.mode == "late"


def test_ignored_modes_are_not_looked_for() -> None:
    found = examine(check("mode"), evidence(ignored=frozenset({"mode"})))
    assert found.status == FindingStatus.NOT_MEASURED


def test_next_time_names_what_present_modes_wanted_first() -> None:
    other = Need("lr", say("log the learning rate"), lambda e: False)
    wanted = check("present", causes=((cause("c", answer(holds=True, weight=3.0, needs=(NEVER,))), 0.0),))
    absent = check("absent", lambda e: Cleared(say("fine"), ()), causes=((cause("d", answer(holds=True, weight=3.0, needs=(other,))), 0.0),))
    listed = (absent, wanted)
    out = next_time(evidence(), listed, diagnose(evidence(), listed))
    assert [n.log for n in out] == ["grad_norm", "lr"]
    assert out[0].would_decide == ("c",)


def test_a_trifle_explains_no_failure() -> None:
    for severity, parent in ((Severity.MINOR, None), (Severity.SERIOUS, "one")):
        checks = [check("one", lambda e, s=severity: seen(1.0, s), consequences=("other",)), check("other", lambda e: seen(2.0, Severity.FATAL))]
        assert diagnose(evidence(), checks)[1].consequence_of == parent


def test_no_verdict_offers_what_a_setting_out_of_range_asks_for() -> None:
    tried = fix("lower", ("lr", 1.0, 0.1))
    odd = replace(cause("odd", answer(holds=True, weight=3.0)), fixes=lambda e, s: (tried,))
    usual = replace(cause("usual", answer(holds=False, weight=-2.0)), fixes=lambda e, s: (fix("other", ("dropout", 0.9, 0.1)),))
    healthy = check("healthy", prior=-3.0, causes=((odd, -2.5), (usual, -2.5)))
    verdict = judge(evidence(), (), healthy, 0)
    assert verdict.mode == "inconclusive"
    assert [str(f.title) for f in verdict.fixes] == ["lower", "other"]
    assert str(verdict.fixes[1].why) == "Less likely. why"
    unseen = judge(evidence(), (), replace(healthy, detect=lambda e: Unknown(say("nothing to go by"))), 0)
    assert (unseen.mode, unseen.fixes) == ("inconclusive", (tried,))
    (better,) = judge(evidence(), (), replace(healthy, prior=3.0), 0).fixes
    assert (str(better.title), str(better.why)) == ("lower", "If it should do better than this: why")
    nothing = replace(healthy, prior=3.0, causes=((usual, -2.5),))
    assert judge(evidence(), (), nothing, 0).fixes == ()
