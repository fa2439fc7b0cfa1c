"""`postmortem checklist`: the list, or one mode or cause explained."""

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from postmortem.check import Cause, Check
from postmortem.checklist import all_causes, checklist
from postmortem.errors import UsageError


def show_checklist(item: str | None, *, as_json: bool) -> None:
    """Print all modes, or explain `item`. Raises `UsageError` for an unknown id."""
    console = Console(highlight=False)
    if item is None:
        if as_json:
            print(json.dumps([_mode_data(check) for check in checklist()], indent=1, ensure_ascii=False))  # noqa: T201
            return
        for one in checklist():
            console.print(Text.assemble((f"{one.id:22}", "bold"), str(one.symptom)))
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
        "id": check.id, "title": str(check.title), "symptom": str(check.symptom), "needs": [n.log for n in check.needs],
        "clues": [str(p.claim) for p in check.probes], "causes": [_cause_data(c) for c, _ in check.causes], "by_hand": [str(s) for s in check.by_hand],
        "consequences": list(check.consequences),
    }  # fmt: skip


def _cause_data(cause: Cause) -> dict[str, Any]:
    return {
        "id": cause.id, "title": str(cause.title), "mechanism": str(cause.mechanism), "by_hand": [str(s) for s in cause.by_hand],
        "clues": [{"claim": str(p.claim), "holds": p.holds, "fails": p.fails, "needs": [n.log for n in p.needs]} for p in cause.probes],
        "modes": [check.id for check in checklist() if any(c.id == cause.id for c, _ in check.causes)],
    }  # fmt: skip


def _explain_mode(check: Check, console: Console) -> None:
    console.print(Text(f"{check.title} ({check.id})", "bold"))
    console.print(Text(str(check.symptom)))
    console.print(Text("\nWhat speaks for and against it:"))
    for p in check.probes:
        console.print(Text(f"  · {p.claim} ({p.holds:+.1f} if so, {p.fails:+.1f} if not)"))
    console.print(Text("\nUsual causes, most usual first:"))
    for cause, _ in sorted(check.causes, key=lambda c: -c[1]):
        console.print(Text.assemble("  ", (cause.id, "bold"), f"  {cause.title}"))
        console.print(Text(f"      {cause.mechanism}"))
    if check.by_hand:
        console.print(Text("\nWhat to do by hand:"))
        for step in check.by_hand:
            console.print(Text(f"  · {step}"))


def _explain_cause(cause: Cause, console: Console) -> None:
    console.print(Text(f"{cause.title} ({cause.id})", "bold"))
    console.print(Text(str(cause.mechanism)))
    console.print(Text("\nWhat speaks for and against it:"))
    for p in cause.probes:
        needs = f" [needs {', '.join(n.log for n in p.needs)}]" if p.needs else ""
        console.print(Text(f"  · {p.claim} ({p.holds:+.1f} if so, {p.fails:+.1f} if not){needs}"))
    if cause.by_hand:
        console.print(Text("\nWhat to do by hand:"))
        for step in cause.by_hand:
            console.print(Text(f"  · {step}"))
    modes = [check.id for check in checklist() if any(c.id == cause.id for c, _ in check.causes)]
    console.print(Text(f"\nIt can bring about: {', '.join(modes)}"))
