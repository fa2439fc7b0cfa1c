"""Which part of the package may import which: the layout, as a test."""

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "postmortem"

# part → parts that it may import (itself always). Every part may import `errors`.
ALLOWED = {
    "errors": set(),
    "supervision": set(),
    "model": set(),
    "sources": {"model"},
    "measure": {"model"},
    "redact": {"model"},
    "check": {"model"},
    "checklist": {"model", "check"},
    "diagnose": {"model", "check"},
    "verdict": {"model", "check", "diagnose"},
    "document": {"model", "__init__"},
    "render": {"model", "__init__"},
    "__main__": {"cli"},
    "locale": set(),
    "compare": {"model", "measure"},
    "stated": {"measure", "checklist", "model"},
    "pipeline": {"model", "sources", "redact", "measure", "checklist", "diagnose", "verdict", "document", "stated", "compare", "__init__"},
    "batch": {"__init__", "supervision", "model", "sources", "checklist", "stated", "pipeline", "render"},
    "preflight": {"model", "sources", "redact", "measure", "check", "checklist", "diagnose", "verdict", "document", "render", "capture"},
    "capture": {"model"},
    "__init__": {"model", "pipeline", "batch", "preflight", "capture"},
    "cli": {"__init__", "supervision", "model", "sources", "redact", "measure", "check", "checklist", "render", "stated", "pipeline", "batch"},
}
# The document's convenience methods import the renderers when they are called: `diagnosis.to_html()`.
LAZY = {("model", "render")}


def part_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@cache
def imports(file: Path) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(parsed(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = node.module or ""
            found |= {f"{module}.{alias.name}" for alias in node.names} if module == "postmortem" else {module}
    return frozenset(found)


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_module_imports_only_what_its_part_may(file: Path) -> None:
    relative = file.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    for name in imports(file):
        if name.split(".")[0] != "postmortem":
            continue
        other = part_of(name) if name != "postmortem.__version__" else "__init__"
        assert other == part or other == "errors" or other in ALLOWED[part] or (part, other) in LAZY, f"{relative} imports {name}"


def test_every_part_has_a_rule() -> None:
    assert {f.relative_to(PACKAGE).parts[0].removesuffix(".py") for f in modules()} <= set(ALLOWED)


def test_modes_never_import_each_other() -> None:
    for file in (PACKAGE / "checklist" / "modes").glob("*.py"):
        assert not [n for n in imports(file) if n.startswith("postmortem.checklist.modes")], file


def test_the_checklist_neither_computes_nor_draws() -> None:
    for file in (PACKAGE / "checklist").rglob("*.py"):
        assert not {n.split(".")[0] for n in imports(file)} & {"numpy", "scipy", "matplotlib", "torch"}, file


def test_only_plots_imports_matplotlib_and_nobody_pyplot() -> None:
    for file in modules():
        found = {n for n in imports(file) if n.split(".")[0] == "matplotlib"}
        assert not found or file.relative_to(PACKAGE).as_posix().startswith("render/plots/"), file
        assert not [n for n in found if "pyplot" in n], file


def test_nothing_imports_torch_at_the_top() -> None:
    for file in modules():
        for node in parsed(file).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in names if n.split(".")[0] in ("torch", "keras", "tensorflow", "transformers", "lightning", "accelerate")], file
