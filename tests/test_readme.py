"""The README's generated parts are what the program says, and its commands are there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from postmortem.checklist import checklist

ROOT = Path(__file__).parents[1]


def block(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"the README has no block {name!r}"
    return found.group(1)


def checklist_table() -> str:
    head = "| id | the symptom | its causes |\n| --- | --- | --- |\n"
    return head + "".join(f"| `{check.id}` | {check.symptom} | {', '.join(cause.id for cause, _ in check.causes)} |\n" for check in checklist())


def help_block() -> str:
    env = {**os.environ, "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, "-m", "postmortem", "--help"], capture_output=True, text=True, env=env, check=True)
    return f"```\n$ postmortem --help\n{done.stdout.strip()}\n```\n"


GENERATED = {"checklist": checklist_table, "help": help_block}


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_block_is_up_to_date(name: str) -> None:
    """On failure run `python tests/test_readme.py`, which writes them."""
    assert block(name) == GENERATED[name]()


@pytest.mark.parametrize("name", ["try", "tests"])
def test_the_two_commands_are_one_line_each_and_name_what_exists(name: str) -> None:
    lines = [line for line in block(name).splitlines() if line and not line.startswith("```")]
    assert len(lines) == 1
    for word in shlex.split(lines[0]):
        if word.startswith("fixtures/"):
            assert (ROOT / word).is_dir()
    assert "-c constraints.txt" in lines[0]


def test_the_picture_is_there() -> None:
    assert (ROOT / ".github" / "report.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    names = {re.split(r"[<>=\[]", d)[0] for d in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]}
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## Dependencies")[1]
    assert {n for n in names if not re.search(rf"\b{n}\b", table)} == set()


if __name__ == "__main__":
    file = ROOT / "README.md"
    text = file.read_text(encoding="utf-8")
    for name, make in GENERATED.items():
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda m, make=make: m.group(1) + make() + m.group(2), text, flags=re.DOTALL)
    file.write_text(text, encoding="utf-8")
