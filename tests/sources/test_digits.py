"""What is read by column of a whole block is what is read number by number and line by line."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from postmortem.sources.logs.csvblocks import parse
from postmortem.sources.logs.cuts import within
from postmortem.sources.logs.digits import Digits, printed_as
from postmortem.sources.logs.text.tokens import without_bars
from postmortem.sources.logs.text.windows import Window

DIGITS = st.text("0123456789", min_size=1, max_size=17)
TOKENS = st.builds(
    "{}{}{}".format,
    st.sampled_from(("", "-", "+")),
    DIGITS | st.builds("{}.{}".format, DIGITS, DIGITS) | DIGITS.map(".{}".format) | DIGITS.map("{}.".format),
    st.sampled_from(("", "e5", "e-3", "E+07", "e-21", "e23", "e300")),
)


@given(st.lists(TOKENS, min_size=1, max_size=9))
def test_numbers_by_column_are_those_of_float(tokens: list[str]) -> None:
    form = re.sub(r"[0-9]+", "0", tokens[0])
    alike = [token.encode() for token in tokens if re.sub(r"[0-9]+", "0", token) == form]
    text = b" " + b" ".join(alike) + b" "
    runs = [m.span() for m in re.finditer(rb"[0-9]+", text)]
    each = len(runs) // len(alike)
    stops, widths = np.array([b for _, b in runs]).reshape(-1, each), np.array([b - a for a, b in runs]).reshape(-1, each)
    printed = printed_as(alike[0], range(each))
    assert printed is not None
    found = Digits(text).numbers(printed, lambda run: (stops[:, run], widths[:, run]))
    if found is None:
        digits = max(len(re.sub(rb"[eE].*|[^0-9]", b"", token)) for token in alike)
        assert digits > 15 or b"e" in alike[0].lower()
        return
    expected = np.array([float(token) for token in alike])
    assert np.array_equal(found, expected)
    assert np.array_equal(np.signbit(found), np.signbit(expected))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=8), st.integers(0, 5))
def test_bytes_within_pieces(pieces: list[tuple[int, int]], behind: int) -> None:
    begins, ends, at = [], [], 0
    for gap, width in pieces:
        begins.append(at + gap)
        at = begins[-1] + width
        ends.append(at)
    expected = [any(a <= n < b for a, b in zip(begins, ends, strict=True)) for n in range(at + behind)]
    assert within(np.array(begins, dtype=np.int64), np.array(ends, dtype=np.int64), at + behind).tolist() == expected


@given(st.text("%|[]=>.#a1\n", max_size=60))
def test_a_window_leaves_bars_out_as_a_line_does(text: str) -> None:
    assert Window(f"{text}\n".encode(), 0).text == without_bars(f"\n{text}\n".encode())


CELLS = (
    st.floats(0, 1e6).map(lambda v: f"{v:.4f}"),
    st.floats(-1, 1).map(lambda v: f"{v:.3f}"),
    st.floats(0, 1).map(lambda v: f"{v:.2e}"),
    st.floats(0, 1).map(repr),
    st.integers(0, 10**6).map(str),
    st.sampled_from(("", "-0.0", ".5", "5.", "007", "+1.5", " 1", "nan", "5-5", "1.2.3", "e5")),
)


@given(st.lists(st.sampled_from(CELLS), min_size=1, max_size=4).flatmap(lambda columns: st.lists(st.tuples(*columns), min_size=1, max_size=9)))
def test_a_block_of_cells_is_what_its_cells_are(rows: list[tuple[str, ...]]) -> None:
    cells = [cell for row in rows for cell in row]
    found = parse("".join(",".join(row) + "\n" for row in rows).encode(), b",", len(rows[0]))
    if found is None:
        assert len(rows[0]) == 1 or {"+1.5", ".5", "5.", "007", "5-5", "1.2.3", "e5"} & set(cells)
        return
    values, present = found
    there = np.array([cell != "" for cell in cells]).reshape(values.shape)
    assert np.array_equal(there, np.ones(values.shape, dtype=bool) if present is None else present)
    expected = np.array([float(cell) for cell in cells if cell])
    assert np.array_equal(values[there], expected, equal_nan=True)
    assert np.array_equal(np.signbit(values[there]), np.signbit(expected))
