"""Holds a checklist that it is handed against the evidence.

It isolates crashes of checks, weighs clues in log-odds, ranks causes, and folds consequences under their root. It knows no
failure mode by name.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from postmortem.check import Cause, Check, Cleared, Need, Probe, Sighting, Unknown
from postmortem.model.diagnosis import CauseVerdict, Clue, Finding, FindingStatus, Fix, NextTime, Onset, Severity, Standing
from postmortem.model.evidence import Evidence
from postmortem.model.sentence import Sentence, say

PRESENT = 0.5  # P(mode) from which a sighted symptom is called present
EVEN = 0.6  # P(mode) below which a finding is hardly more likely than not: a surer one comes first
OFFERED = 0.3  # P(cause | mode) from which a cause's fixes are offered ("possible")
ABSENT = 0.02  # P(mode) stated when the symptom was looked for and not there
FEW_FIXES = 6
ADVICE = 0.5  # × what a change is worth that can be tried at once
RESET = 0.8  # × the same, of going back to a default that no setting says was left
GAMES = ("gan", "reinforcement")
SURE = 0.7  # P(cause | mode) from which its first fix comes first, whatever it is
ENOUGH = 3  # fixes that change something
LEAST = 1e-6  # P(not this cause)
WORTH_A_TRY = 0.02  # P(cause | mode) below which a cause's fix is not even worth a try
MOST_TO_LOG = 6


def probability(log_odds: float) -> float:
    """The logistic function, without overflow."""
    return 1.0 / (1.0 + math.exp(-log_odds)) if log_odds > -700 else 0.0


def diagnose(evidence: Evidence, checklist: Sequence[Check], attempt: int = 0) -> tuple[Finding, ...]:
    """One finding per check, in the checklist's order, consequences folded under their roots."""
    return fold([examine(check, evidence, attempt) for check in checklist], checklist)


def examine(check: Check, evidence: Evidence, attempt: int = 0) -> Finding:
    """What one check says. An exception in it becomes a finding with the status `crashed`."""
    blank = Finding(check.id, check.title, FindingStatus.NOT_MEASURED, None, None, attempt, check.symptom)
    if check.id in evidence.ignored:
        return replace(blank, summary=say("Not looked for: the configuration says to ignore it."))
    missing = [need for need in check.needs if not need.met(evidence)]
    if missing:
        return replace(blank, summary=say("Not measured: this needs {log}.", log=missing[0].log))
    try:
        return _judge(check, evidence, blank)
    except Exception as error:
        return replace(
            blank,
            status=FindingStatus.CRASHED,
            summary=say("This check failed and says nothing: {kind}: {text}", kind=type(error).__name__, text=str(error)[:300]),
        )


def _judge(check: Check, evidence: Evidence, blank: Finding) -> Finding:
    seen = check.detect(evidence)
    if isinstance(seen, Cleared):
        return replace(blank, status=FindingStatus.ABSENT, confidence=ABSENT, summary=seen.why, clues=cleared_by(seen.clues))
    if isinstance(seen, Unknown):
        return replace(blank, summary=seen.why)
    clues, total = weigh(check.probes, evidence, seen, check.prior)
    confidence = probability(total)
    onset = Onset(seen.step, evidence.epoch_at(seen.step), seen.visible_from)
    finding = replace(
        blank, confidence=confidence, summary=seen.summary, onset=onset, prior=check.prior, clues=clues, severity=seen.severity, show=seen.show,
        status=FindingStatus.PRESENT if confidence >= PRESENT else FindingStatus.ABSENT,
    )  # fmt: skip
    if finding.status == FindingStatus.ABSENT:
        return replace(finding, severity=None, show=())
    causes = tuple(sorted((judge_cause(cause, prior, evidence, seen) for cause, prior in check.causes), key=lambda c: -c.confidence))
    by_hand = {str(s): s for cause in causes[:3] for s in _by_hand(check, cause.cause)}
    return replace(
        finding,
        causes=causes,
        fixes=_fixes(check, evidence, seen, causes),
        steps_by_hand=tuple(by_hand.values()) + check.by_hand if check.by_hand else tuple(by_hand.values()),
    )


def cleared_by(clues: Sequence[Clue]) -> tuple[Clue, ...]:
    """The clues of a cleared symptom, their weights such that they add up to `ABSENT`: each that was measured has an equal part."""
    measured = sum(clue.holds is not None for clue in clues)
    part = math.log(ABSENT / (1.0 - ABSENT)) / max(1, measured)
    return tuple(clue if clue.holds is None else replace(clue, weight=part) for clue in clues)


def _by_hand(check: Check, cause_id: str) -> Iterable[Sentence]:
    return next((cause.by_hand for cause, _ in check.causes if cause.id == cause_id), ())


def judge_cause(cause: Cause, prior: float, evidence: Evidence, seen: Sighting) -> CauseVerdict:
    """P(cause | mode) with its clues; its fixes when it is at least possible."""
    clues, total = weigh(cause.probes, evidence, seen, prior)
    confidence = probability(total)
    asked = any(clue.holds is not None for clue in clues)
    fixes = cause.fixes(evidence, seen) if confidence >= OFFERED else ()
    return CauseVerdict(cause.id, cause.title, cause.mechanism, standing(confidence, asked), confidence, prior, clues, fixes)


def weigh(probes: Sequence[Probe], evidence: Evidence, seen: Sighting, prior: float) -> tuple[tuple[Clue, ...], float]:
    """The answers of all probes and prior + sum of their weights."""
    clues = tuple(_answer(p, evidence, seen) for p in probes if all(need.met(evidence) for need in p.needs if need.given))
    return clues, prior + sum(clue.weight for clue in clues)


def _answer(p: Probe, evidence: Evidence, seen: Sighting) -> Clue:
    missing = next((need for need in p.needs if not need.met(evidence)), None)
    if missing is not None:
        return Clue(p.claim, None, 0.0, say("not measured: log {log}", log=missing.log))
    reading = p.ask(evidence, seen)
    if reading is None:
        return Clue(p.claim, None, 0.0, say("not measured"))
    weight = (p.holds if reading.holds else p.fails) * reading.share
    return Clue(p.claim, reading.holds, weight, reading.detail, reading.source)


def standing(confidence: float, asked: bool) -> Standing:  # noqa: FBT001
    """The word for a probability; "not measured" when no probe could be asked."""
    if not asked:
        return Standing.NOT_MEASURED
    for floor, word in ((0.95, Standing.CONFIRMED), (0.7, Standing.LIKELY), (0.3, Standing.POSSIBLE), (0.05, Standing.UNLIKELY)):
        if confidence >= floor:
            return word
    return Standing.RULED_OUT


def _fixes(check: Check, evidence: Evidence, seen: Sighting, causes: Sequence[CauseVerdict]) -> tuple[Fix, ...]:
    """What to change, the likeliest to help first: the odds of its cause times what is in the fix for somebody who applies it.

    The fixes of possible causes; then, when they do not help, the first fix of each next cause: changes until there are `ENOUGH` of them, and
    advice until there are `ENOUGH` fixes at all. What is as good as certain (`SURE`) stays first even where it is advice. No change twice, and
    none that leaves the settings as they are.
    """
    known = {cause.id: cause for cause, _ in check.causes}
    offered = [_worth(c.confidence, n, fix) for c in causes if c.confidence >= OFFERED for n, fix in enumerate(c.fixes)]
    usual = evidence.family not in GAMES  # what helps a loss that must fall is no advice for players and policies
    next_ones = (c for c in causes if usual and WORTH_A_TRY <= c.confidence < OFFERED)
    tries = [_worth(c.confidence, 0, fix) for c in next_ones for fix in known[c.cause].fixes(evidence, seen)[:1]]
    first = offered[:1] if causes and causes[0].fixes and causes[0].confidence >= SURE else []
    ranked = _distinct([*first, *sorted(offered[len(first) :], key=lambda w: -w[0])])[:FEW_FIXES]
    further = _distinct([*ranked, *sorted(tries, key=lambda w: -w[0])])[len(ranked) :]
    changes = [w for w in further if w[1].changes][: max(0, ENOUGH - sum(bool(fix.changes) for _, fix in ranked))]
    advice = [w for w in further if not w[1].changes][: max(0, ENOUGH - len(ranked) - len(changes))]
    less = [(worth, replace(fix, why=say("Less likely. {why}", why=fix.why))) for worth, fix in (*changes, *advice)]
    pinned = ranked[: len(first)]
    return tuple(fix for _, fix in (*pinned, *sorted((*ranked[len(pinned) :], *less), key=lambda w: -w[0])))


Worth = tuple[float, Fix]


def _worth(confidence: float, rank: int, fix: Fix) -> Worth:
    """The odds of the cause, by which causes that exclude each other compare; less for its further fixes, for changes that no stated setting
    needs, and for advice, which nobody can apply at once."""
    helps = ADVICE if not fix.changes else 1.0 if _sets_something(fix) else RESET
    return confidence / max(1.0 - confidence, LEAST) * helps / (1 + rank), fix


def _distinct(ranked: Iterable[Worth]) -> list[Worth]:
    """Each change once, at its best place, and none that changes nothing."""
    out: dict[object, Worth] = {}
    for worth, fix in ranked:
        if fix.changes and all(c.from_ is not None and c.from_ == c.to for c in fix.changes):
            continue
        out.setdefault(tuple((c.parameter, c.to) for c in fix.changes) or str(fix.title), (worth, fix))
    return list(out.values())


def _sets_something(fix: Fix) -> bool:
    """It sets a number or a word, or removes one that is stated; else it goes back to a default, or switches on what nobody switched off."""
    return any(c.from_ != c.to and (c.from_ is not None or not isinstance(c.to, bool | None)) for c in fix.changes)


# --- one story ------------------------------------------------------------------------------------------------------


def fold(findings: Sequence[Finding], checklist: Sequence[Check]) -> tuple[Finding, ...]:
    """Set `consequence_of` on each present finding that another present one brings about. Edges follow the checklist's
    order when two modes name each other; a cycle is never made."""
    edges = {check.id: check.consequences for check in checklist}
    present = [f for f in findings if f.status == FindingStatus.PRESENT]
    parent: dict[str, str] = {}
    for root in present:
        for other in present:
            if root.severity == Severity.MINOR and other.severity != Severity.MINOR:
                continue  # a trifle explains no failure
            if other.mode in edges.get(root.mode, ()) and other.mode not in parent and not _leads_to(parent, root.mode, other.mode):
                parent[other.mode] = root.mode
    return tuple(replace(f, consequence_of=parent.get(f.mode)) if f.status == FindingStatus.PRESENT else f for f in findings)


def _leads_to(parent: dict[str, str], start: str, target: str) -> bool:
    at: str | None = start
    while at is not None:
        if at == target:
            return True
        at = parent.get(at)
    return False


def root_finding(findings: Sequence[Finding], attempt: int) -> Finding | None:
    """The unexplained finding that the verdict is about: severity first, then confidence of more than even, then onset."""
    roots = [f for f in findings if f.status == FindingStatus.PRESENT and f.attempt == attempt and f.consequence_of is None and f.severity]
    if not roots:
        return None
    return min(roots, key=lambda f: (-(f.severity or Severity.MINOR).rank, (f.confidence or 0.0) < EVEN, _onset(f), -(f.confidence or 0.0)))


def _onset(finding: Finding) -> float:
    return finding.onset.step if finding.onset and finding.onset.step is not None else math.inf


# --- what to log next time ------------------------------------------------------------------------------------------


def next_time(evidence: Evidence, checklist: Sequence[Check], findings: Sequence[Finding]) -> tuple[NextTime, ...]:
    """What was needed and not there, most useful first: what the verdict's own causes wanted, then other checks."""
    present = {f.mode for f in findings if f.status == FindingStatus.PRESENT}
    wanted: dict[str, tuple[Need, dict[str, None], float]] = {}

    def want(need: Need, decides: str, use: float) -> None:
        _, ids, score = wanted.setdefault(need.log, (need, {}, 0.0))
        ids[decides] = None
        wanted[need.log] = (need, ids, score + use)

    for check in checklist:
        for need in check.needs:
            if not need.met(evidence):
                want(need, check.id, 0.3)
        for cause, _ in check.causes:
            for p in cause.probes:
                for need in p.needs:
                    if not need.given and not need.met(evidence):
                        want(need, cause.id, p.holds if check.id in present else 0.01)
    ranked = sorted(wanted.values(), key=lambda w: -w[2])
    return tuple(
        NextTime(need.log, need.how, tuple(ids), need.code.get(evidence.framework, need.code.get("", ""))) for need, ids, _ in ranked[:MOST_TO_LOG]
    )
