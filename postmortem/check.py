"""The checklist's vocabulary: what a check, a cause and a probe are.

A check is a symptom with its causes. It declares what it needs, detects the symptom, and asks probes for and against. A
probe answers holds / fails with one sentence that has the number in it; what it needs and does not find makes it "not
measured", which adds nothing. Confidence is logistic(prior + sum of weights): weights and priors are log-odds in nats.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from postmortem.model.diagnosis import Change, Clue, Fix, Severity
from postmortem.model.evidence import Evidence
from postmortem.model.sentence import Sentence, say

__all__ = [
    "Cause", "Change", "Check", "Cleared", "Clue", "Evidence", "Fix", "Need", "Probe", "Reading", "Sentence", "Severity", "Sighting", "Unknown",
    "probe", "say",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """Something that must have been logged. `log` is the one thing to log next time, `how` says how."""

    log: str
    how: Sentence
    met: Callable[[Evidence], bool]
    code: Mapping[str, str] = field(default_factory=dict)  # the line that would log it, by framework; "" for any other
    given: bool = False  # by the user, not by the run: nobody is told to log it, and without it the question is not raised


@dataclass(frozen=True, slots=True)
class Sighting:
    """The symptom, seen. The mode's probes then say how sure that is."""

    severity: Severity
    summary: Sentence
    step: float | None = None  # onset
    visible_from: float | None = None
    show: tuple[str, ...] = ()  # curves that show it
    source: str = ""
    facet: str = ""  # which of several faces of the symptom was seen; probes may ask


@dataclass(frozen=True, slots=True)
class Cleared:
    """The symptom is absent, and this is what cleared it: one sentence, and what was looked at, each figure beside its limit.

    The engine gives the clues their weight (`diagnose.ABSENT`): together they clear it.
    """

    why: Sentence
    clues: tuple[Clue, ...]  # made by `checklist/limits.py`


@dataclass(frozen=True, slots=True)
class Unknown:
    """The needs were met and still nobody can tell; `log` names what would tell."""

    why: Sentence
    log: str = ""
    how: Sentence | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A probe's answer. None from a probe means that it could not be asked."""

    holds: bool
    detail: Sentence
    source: str = ""
    share: float = 1.0  # of the weight, for an answer that is weaker than usual


Ask = Callable[[Evidence, Sighting], Reading | None]


@dataclass(frozen=True, slots=True)
class Probe:
    """One question. `holds` and `fails` are what the answers add, in log-odds (`fails` is ≤ 0, or 0 when silence says nothing)."""

    claim: Sentence
    ask: Ask
    holds: float
    fails: float = 0.0
    needs: tuple[Need, ...] = ()


def probe(claim: Sentence, *needs: Need, holds: float, fails: float = 0.0) -> Callable[[Ask], Probe]:
    """Make a probe of a function `(evidence, sighting) -> Reading | None`."""
    return lambda ask: Probe(claim, ask, holds, fails, needs)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a symptom came about. One module each in `checklist/causes/`; serves every mode that names it.

    `prior` is P(cause | mode) in log-odds before any probe; a mode may state another one in `Check.causes`.
    `also` are ids of failure modes: a mode behind this cause.
    """

    id: str
    title: Sentence
    mechanism: Sentence  # how it brings the symptom about, as a colleague would say it
    probes: tuple[Probe, ...]
    fixes: Callable[[Evidence, Sighting], tuple[Fix, ...]]
    by_hand: tuple[Sentence, ...] = ()  # how a person would confirm it
    prior: float = -1.5


@dataclass(frozen=True, slots=True)
class Check:
    """A failure mode. One module each in `checklist/modes/`."""

    id: str
    title: Sentence
    symptom: Sentence
    detect: Callable[[Evidence], Sighting | Cleared | Unknown]
    needs: tuple[Need, ...] = ()
    probes: tuple[Probe, ...] = ()  # for and against the mode itself
    prior: float = 1.0  # log-odds of the mode once its symptom is sighted
    causes: tuple[tuple[Cause, float], ...] = ()  # with the prior of each under this mode
    by_hand: tuple[Sentence, ...] = ()
    consequences: tuple[str, ...] = field(default=())  # modes that this one brings about: they fold under it when both are present
    unusual: Callable[[Evidence], tuple[Cause, ...]] = lambda _: ()  # causes whose settings lie where sound runs have none, whatever was seen
