"""Sentences render: numbers as people write them, and any value without an exception."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.checklist.quoting import cut, first_line, last_line
from postmortem.model.sentence import say


@pytest.mark.parametrize(
    ("template", "value", "text"),
    [
        ("{x:.3g}", 5000.0, "5,000"),
        ("{x:.4g}", 159134.2, "159,100"),
        ("{x:.3g}", 1.24e7, "1.24e7"),
        ("{x:.2g}", -23000.0, "-23,000"),
        ("{x:g}", 1e-05, "1e-5"),
        ("{x:g}", 1234567.0, "1,234,567"),
        ("{x:g}", 1e20, "1e20"),
        ("{x:.4g}", 0.0123456, "0.01235"),
        ("{x:.2f}", 159134.2, "159,134"),
        ("{x:.2f}", 9999.125, "9999.12"),
        ("{x:.0%}", 1251.74, "125174%"),
        ("{x:.0%}", 12517.4, "1,251,740%"),
        ("{x}", "1e+05", "1e+05"),
        ("{x:.3g}", math.inf, "inf"),
        ("{x:g}", math.nan, "nan"),
        ("{x:.3g}", None, "None"),
        ("{x:.3g}", "seven", "seven"),
    ],
)
def test_numbers_are_written_as_people_write_them(template: str, value: float | str | None, text: str) -> None:
    assert str(say(template, x=value)) == text


@given(st.one_of(st.floats(), st.integers(), st.text(), st.none(), st.booleans()), st.sampled_from(("g", ".3g", ".4g", ".0%", ".2f", "")))
def test_any_value_is_shown(value: float | str | None, spec: str) -> None:
    assert str(say("{x:" + spec + "}", x=value)) or value == ""


@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 9))
def test_a_number_keeps_its_meaning(value: float, digits: int) -> None:
    shown = float(str(say("{x:." + str(digits) + "g}", x=value)).replace(",", ""))
    assert shown == float(f"{value:.{digits}g}")


def test_words_of_a_log_are_cut_between_words() -> None:
    assert cut("a short one") == "a short one"
    assert cut("size mismatch for body: copying", 20) == "size mismatch for …"
    assert cut("x" * 50, 10) == "x" * 8 + " …"
    assert (first_line("\n one\ntwo\n"), last_line("\n one\ntwo \n\n"), first_line(" \n "), last_line("")) == ("one", "two", "", "")


@given(st.text(), st.integers(10, 60))
def test_a_cut_is_never_longer(text: str, limit: int) -> None:
    assert len(cut(text, limit)) <= limit
