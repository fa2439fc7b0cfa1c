"""What a colleague would say of two runs, in one sentence."""

from collections.abc import Sequence

from postmortem.model.comparison import Parting, SettingDifference, results
from postmortem.model.sentence import Sentence, Value, say

NAMED = 3  # settings that are named; the others are counted
_SIZES = frozenset({"train_samples", "val_samples", "vocabulary", "model", "gpus"})  # one logger writes them, another one does not
UNITS = {"step": "step", "epoch": "epoch", "tokens": "token", "time": "hour"}


def colleague(partings: Sequence[Parting], settings: Sequence[SettingDifference], axis: str, *, known: bool) -> Sentence:
    """When they part, and what differs: "Same until step 1,200; only lr differs (0.1 → 0.01)."

    known : whether both runs state settings at all.
    """
    shown = results(partings)
    what = _what(settings, [p for p in partings if p.curve == "lr"], axis, known=known)
    if not shown:
        return say("No curve is there to compare; {what}.", what=what)
    apart = [p for p in shown if p.at is not None]
    if not apart and all(p.equal for p in shown):
        return say("The curves are equal to the end; {what}.", what=what)
    if not apart:
        return say("The curves stay together, within their noise, to the end; {what}.", what=what)
    first = apart[0]
    losses = [p for p in apart if p.curve.rpartition("/")[2] == "loss"]
    chief = losses[0] if losses and losses[0].at == first.at else first
    where = place(chief.at or 0.0, axis)
    training = next((p for p in shown if p.equal and p.curve.startswith("train/")), None)
    if training is not None:
        return say(
            "{same} is equal to the end, and {curve} parts at {where}; {what}.", same=training.curve, curve=chief.curve, where=where, what=what
        )
    if chief.same_before:
        return say("Same until {where}, where {curve} parts; {what}.", where=where, curve=chief.curve, what=what)
    if chief.points and _from_the_start(chief):
        return say("Apart from the start ({curve}); {what}.", curve=chief.curve, what=what)
    return say("Together, within their noise, until {where}, where {curve} parts; {what}.", where=where, curve=chief.curve, what=what)


def _from_the_start(parting: Parting) -> bool:
    return parting.at is not None and parting.first == parting.at


def place(at: float, axis: str) -> Sentence:
    """A place on the axis: "step 1,200", "epoch 3.5"."""
    return say("{unit} {n:,.10g}", unit=UNITS.get(axis, axis), n=round(at, 2) if abs(at) < 1e6 else float(round(at)))


def _what(settings: Sequence[SettingDifference], rate: Sequence[Parting], axis: str, *, known: bool) -> Sentence:
    stated = [s for s in settings if not s.missing]
    chosen = [s for s in stated if s.kind == "hyper-parameter"] or [s for s in stated if s.kind == "other" and s.name != "seed"]
    lacking = [s for s in settings if s.missing and s.kind == "hyper-parameter" and s.name not in _SIZES]
    if lacking and (chosen or any(s.name == "seed" for s in stated)):
        both = _what([s for s in settings if not s.missing], rate, axis, known=known)
        return say("of what both state, {what}; only one of them states {lacking}", what=both, lacking=_only(lacking))
    if len(chosen) == 1:
        one = chosen[0]
        return say("only {key} differs ({good} → {bad})", key=one.key, good=text(one.good), bad=text(one.bad))
    if chosen:
        named = _listed([say("{key} ({good} → {bad})", key=s.key, good=text(s.good), bad=text(s.bad)) for s in chosen[:NAMED]])
        if len(chosen) > NAMED:
            return say("{n} settings differ, first of all {what}", n=len(chosen), what=named)
        return say("{what} differ", what=named)
    moved = next((p for p in rate if p.at is not None), None)
    if moved is not None and moved.at is not None:
        return say(
            "the logged learning rate differs from {where} on ({good:.3g} against {bad:.3g})",
            where=place(moved.at, axis),
            good=moved.good,
            bad=moved.bad,
        )
    lacking = [s for s in settings if s.missing]
    if lacking and not any(s.name == "seed" for s in stated):
        return say("what both state is the same; only one of them states {what}", what=_only(lacking))
    seed = next((s for s in stated if s.name == "seed"), None)
    if seed is not None:
        return say("no setting that was logged differs but the seed ({good} → {bad})", good=text(seed.good), bad=text(seed.bad))
    environment = [s for s in stated if s.kind == "environment"]
    if environment:
        shown = [say("{key} ({good} → {bad})", key=s.key, good=text(s.good), bad=text(s.bad)) for s in environment[:NAMED]]
        return say("only the environment differs: {what}", what=_listed(shown))
    return say("no setting that was logged differs") if known else say("what differs was not logged")


def _only(settings: Sequence[SettingDifference]) -> Sentence:
    """Settings that one run alone states, with their values."""
    return _listed([say("{key} ({value})", key=s.key, value=text(s.bad if s.missing == "good" else s.good)) for s in settings[:NAMED]])


def _listed(parts: Sequence[Sentence]) -> Sentence:
    out = parts[0]
    for part in parts[1:]:
        out = say("{first}, {second}", first=out, second=part)
    return out


def text(value: Value) -> str:
    """A setting's value, short."""
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = "none" if value is None else str(value).lower() if isinstance(value, bool) else " ".join(str(value).split())
    return shown if len(shown) <= 60 else shown[:59] + "…"
