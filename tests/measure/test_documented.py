"""Every figure says what it is: beside itself, in the line above, or in the text of its class."""

import ast
import re
from pathlib import Path

import pytest

import postmortem.model

MODULES = ("tensors", "curves", "captured")


def undocumented(text: str) -> list[str]:
    lines, found = text.splitlines(), []
    for kind in (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef)):
        told = ast.get_docstring(kind) or ""
        for field in (node for node in kind.body if isinstance(node, ast.AnnAssign)):
            own = lines[field.lineno - 1 : field.end_lineno]
            above = lines[field.lineno - 2].strip()
            name = ast.unparse(field.target)
            if not any("#" in line for line in own) and not above.startswith("#") and not re.search(rf"\b{name}\b", told):
                found.append(f"{kind.name}.{name}")
    return found


@pytest.mark.parametrize("module", MODULES)
def test_every_figure_is_documented(module: str) -> None:
    assert not undocumented((Path(postmortem.model.__file__).parent / f"{module}.py").read_text(encoding="utf-8"))


def test_a_figure_without_a_word_is_found() -> None:
    assert undocumented("class A:\n    one: int  # so many\n    two: int\n") == ["A.two"]
