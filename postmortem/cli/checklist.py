"""`postmortem checklist`: the list, or one mode or cause explained."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from postmortem.check import Cause, Check, Probe
from postmortem.checklist import all_causes, checklist
from postmortem.cli.lang import asked_language
from postmortem.cli.text import hanging
from postmortem.errors import UsageError
from postmortem.model.sentence import Sentence
from postmortem.render.language import speaking, word
from postmortem.render.words import listed, speak, t


def show_checklist(item: str | None, *, as_json: bool, lang: str = "en") -> None:
    """Print all modes, or explain `item`; the JSON is English. Raises `UsageError` for an unknown id or language."""
    with speaking(asked_language(lang)):
        _show(item, as_json=as_json)


def _show(item: str | None, *, as_json: bool) -> None:
    console = Console(highlight=False)
    if item is None:
        if as_json:
            print(json.dumps([_mode_data(check) for check in checklist()], indent=1, ensure_ascii=False))  # noqa: T201
            return
        widest = max(len(one.id) for one in checklist()) + 2
        for one in checklist():
            hanging(console, Text(f"{one.id:{widest}}", "bold"), speak(one.symptom))
        return
    check = next((c for c in checklist() if c.id == item), None)
    cause = all_causes().get(item)
    if check is None and cause is None:
        raise UsageError(f"the checklist has no {item!r}; `postmortem checklist` lists its modes, `postmortem checklist MODE` their causes")
    if as_json:
        data = _mode_data(check) if check else _cause_data(cause) if cause else {}
        print(json.dumps(data, indent=1, ensure_ascii=False))  # noqa: T201
    elif check is not None:
        _explain_mode(check, console)
    elif cause is not None:
        _explain_cause(cause, console)


def _mode_data(check: Check) -> dict[str, Any]:
    return {
        "id": check.id,
        "title": str(check.title),
        "symptom": str(check.symptom),
        "needs": [need.log for need in check.needs],
        "clues": [str(probe.claim) for probe in check.probes],
        "causes": [_cause_data(cause) for cause, _ in check.causes],
        "by_hand": [str(step) for step in check.by_hand],
        "consequences": list(check.consequences),
    }


def _cause_data(cause: Cause) -> dict[str, Any]:
    return {
        "id": cause.id, "title": str(cause.title), "mechanism": str(cause.mechanism), "by_hand": [str(s) for s in cause.by_hand],
        "clues": [{"claim": str(p.claim), "holds": p.holds, "fails": p.fails, "needs": [n.log for n in p.needs]} for p in cause.probes],
        "modes": [check.id for check in checklist() if any(c.id == cause.id for c, _ in check.causes)],
    }  # fmt: skip


def _explain_mode(check: Check, console: Console) -> None:
    console.print(Text(f"{speak(check.title)} ({check.id})", "bold"))
    console.print(Text(speak(check.symptom)))
    _clues(check.probes, console)
    console.print(Text(f"\n{t('Usual causes, most usual first:')}"))
    for cause, _ in sorted(check.causes, key=lambda c: -c[1]):
        hanging(console, Text.assemble("  ", (cause.id, "bold"), ": "), speak(cause.title))
        hanging(console, "      ", speak(cause.mechanism))
    _by_hand(check.by_hand, console)


def _explain_cause(cause: Cause, console: Console) -> None:
    console.print(Text(f"{speak(cause.title)} ({cause.id})", "bold"))
    console.print(Text(speak(cause.mechanism)))
    _clues(cause.probes, console)
    _by_hand(cause.by_hand, console)
    modes = [check.id for check in checklist() if any(c.id == cause.id for c, _ in check.causes)]
    console.print(Text(f"\n{t('It can bring about: {modes}', modes=', '.join(modes))}"))


def _clues(probes: Sequence[Probe], console: Console) -> None:
    if not probes:
        return
    console.print(Text(f"\n{t('What speaks for and against it:')}"))
    for p in probes:
        silent = t(" (if so {holds})", holds=f"{p.holds:+.1f}")
        weights = t(" (if so {holds}, if not {fails})", holds=f"{p.holds:+.1f}", fails=f"{p.fails:+.1f}") if p.fails else silent
        needs = t(" [needs {log}]", log=listed(word(n.log) for n in p.needs)) if p.needs else ""
        hanging(console, "  · ", f"{speak(p.claim)}{weights}{needs}")


def _by_hand(steps: Sequence[Sentence], console: Console) -> None:
    if steps:
        console.print(Text(f"\n{t('What to do by hand:')}"))
    for step in steps:
        hanging(console, "  · ", speak(step))
