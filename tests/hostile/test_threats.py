"""The table of threats names cases and tests that are there."""

import re
from pathlib import Path

from tests.hostile.test_end_to_end import CASES

HERE = Path(__file__).parent
TABLE = (HERE / "THREATS.md").read_text(encoding="utf-8")
ROWS = [line.strip("| ").split(" | ") for line in TABLE.splitlines() if line.startswith("| ") and "---" not in line]


def test_each_row_names_what_is_there() -> None:
    functions = {
        name for file in HERE.parent.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(ROWS) > 30
    for row in ROWS:
        named = re.findall(r'`"([^`]+)"`|`(test_\w+)`', row[-1])
        assert named or row[-1] == "held by", row[0]
        assert not [case for case, _ in named if case and case not in CASES], row[0]
        assert not [test for _, test in named if test and test not in functions], row[0]
