"""The catalogues after the sources: `python -m postmortem.locale.extract` updates every `.po` and compiles its `.mo`.

A development tool (it needs Babel); at run time the standard library's gettext reads the `.mo`. Messages are the literal
templates of `say(…)` and `t(…)` in the package, of `_(…)` in the HTML templates, and the identifiers of `words.py` under the
context "identifier". What is no longer in the sources is dropped; what is new stays untranslated, which a test reports.
"""

import ast
import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path

from postmortem.locale.words import IDENTIFIERS

PACKAGE = Path(__file__).resolve().parents[1]
CONTEXT = "identifier"
_FUNCTIONS = frozenset({"say", "t"})
_FIXED = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)  # the same sources give the same bytes


def messages() -> dict[tuple[str, str | None], list[str]]:
    """(message, context) → the files that say it, in the order of the sources."""
    out: dict[tuple[str, str | None], list[str]] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        name = f"postmortem/{file.relative_to(PACKAGE).as_posix()}"
        for text in python_messages(file.read_text(encoding="utf-8")):
            _add(out, text, None, name)
    for file in sorted(_templates().glob("*.j2")):
        for text in template_messages(file.read_text(encoding="utf-8")):
            _add(out, text, None, f"templates/{file.name}")
    for identifier in IDENTIFIERS:
        _add(out, identifier, CONTEXT, "postmortem/locale/words.py")
    return out


def python_messages(source: str) -> Iterator[str]:
    """Literal first arguments of `say` and `t`, also where one of two literals is chosen."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS and node.args:
            yield from _literals(node.args[0])


def template_messages(source: str) -> Iterator[str]:
    """Literal first arguments of `_` in a Jinja2 template."""
    import jinja2
    from jinja2 import nodes

    tree = jinja2.Environment(autoescape=True).parse(source)
    for call in tree.find_all(nodes.Call):
        if isinstance(call.node, nodes.Name) and call.node.name == "_" and call.args and isinstance(call.args[0], nodes.Const):
            yield str(call.args[0].value)


def _literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)


def _add(out: dict[tuple[str, str | None], list[str]], text: str, context: str | None, file: str) -> None:
    places = out.setdefault((text, context), [])
    if file not in places:
        places.append(file)


def _templates() -> Path:
    return next(place for place in (PACKAGE / "templates", PACKAGE.parent / "templates") if place.is_dir())


def update(po: Path) -> list[str]:
    """Bring a catalogue up to date, compile it beside itself, and return the messages that lack a translation."""
    from babel.messages.catalog import Catalog
    from babel.messages.mofile import write_mo
    from babel.messages.pofile import read_po, write_po

    locale = po.parents[1].name
    known: dict[tuple[str, str | None], str] = {}
    if po.is_file():
        with po.open("rb") as file:
            known = {(str(m.id), m.context): str(m.string) for m in read_po(file, locale) if m.id and m.string}
    fresh = Catalog(
        locale, project="postmortem", creation_date=_FIXED, revision_date=_FIXED, last_translator="postmortem", language_team="postmortem",
        header_comment="# Translations of postmortem. Apache-2.0.", fuzzy=False,
    )  # fmt: skip
    missing = []
    for (text, context), places in messages().items():
        string = known.get((text, context), "")
        message = fresh.add(text, string, [(place, 0) for place in places], context=context)
        message.flags -= {"python-format", "python-brace-format"}  # our own fields, checked by a test
        if not string:
            missing.append(text)
    with po.open("wb") as file:
        write_po(file, fresh, width=0, include_lineno=False)
    with po.with_suffix(".mo").open("wb") as file:
        write_mo(file, fresh)
    return missing


def main() -> int:
    """Update all catalogues. Returns 1 when a translation is missing."""
    left = 0
    for po in sorted(PACKAGE.glob("locale/*/LC_MESSAGES/postmortem.po")):
        missing = update(po)
        left += len(missing)
        for text in missing:
            sys.stdout.write(f"{po.parents[1].name}: {text}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
