import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.model.sentence import say
from postmortem.render import figures
from postmortem.render.words import one_line, several, speak, sureness, visible


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"), (1.0, "1"), (0.47, "0.47"), (2.303, "2.303"), (12345.0, "12,345"), (1e-5, "1e-5"), (1.234e-7, "1.234e-7"), (-0.5, "−0.5"),
        (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "−inf"), (None, "–"), (1e20, "1e+20"), (2_400_000.0, "2,400,000"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, shown: str) -> None:
    assert figures.number(value) == shown


@given(st.floats())
def test_every_number_is_shown_and_not_far_off(value: float) -> None:
    shown = figures.number(value)
    assert len(shown) <= 22
    if abs(value) < 1e308:
        read = float(shown.replace(",", "").replace("−", "-"))
        assert math.isclose(read, value, rel_tol=1e-3, abs_tol=1e-320)
    assert len(figures.short(value)) <= 9


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.97, "97%"),
        (0.9995, ">99.9%"),
        (0.0002, "<0.1%"),
        (0.995, "99.5%"),
        (1.0, "100%"),
        (0.0, "0%"),
        (0.005, "0.5%"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_shares(share: float | None, shown: str) -> None:
    assert figures.percent(share) == shown


def test_sizes_weights_and_durations() -> None:
    assert [figures.size(n) for n in (0, 999, 1000, 9_437_184, 2_500_000_000_000)] == ["0 B", "999 B", "1.0 kB", "9.4 MB", "2.5 TB"]
    assert [figures.weight(w) for w in (2.14, -0.35, 0.0, -0.01)] == ["+2.1", "−0.3", "0", "0"]
    assert [figures.hours(h) for h in (0.005, 0.5, 1.9, 72.0)] == ["18 s", "30 min", "1.9 h", "3.0 days"]


@pytest.mark.parametrize(("p", "word"), [(0.95, "confirmed"), (0.7, "likely"), (0.3, "possible"), (0.05, "unlikely"), (0.049, "ruled out")])
def test_words_of_sureness_change_at_the_limits_of_standing(p: float, word: str) -> None:
    assert sureness(p) == word


@given(st.text())
def test_visible_text_hides_nothing(text: str) -> None:
    shown = visible(text)
    shown.encode("utf-8")
    assert all(c.isprintable() or c in "\n\t\u200c\u200d" or c.isspace() for c in shown)
    assert visible(shown) == shown


def test_visible_leaves_scripts_alone() -> None:
    for text in ("Größe", "学習率", "نرخ یادگیری\u200cها", "👩\u200d🔬", "a\u00a0b"):
        assert visible(text) == text


def test_one_line() -> None:
    assert one_line("a\n  b\tc", 4) == "a b…"


def test_sentences_are_spoken() -> None:
    assert speak(say("{n} of {m}", n=1, m=2)) == "1 of 2"
    assert speak(None) == ""


@pytest.mark.parametrize(
    ("value", "shown"), [(310.0, "310"), (151.2, "151"), (3.14159, "3.14"), (0.0, "0"), (1234567.0, "1,234,567"), (None, "–"), (math.nan, "NaN")]
)
def test_steps(value: float | None, shown: str) -> None:
    assert figures.step(value) == shown


def test_several() -> None:
    assert several(("a-b", "c_d")) == "a b, c d"
    assert several(tuple("abcdefgh")) == "a, b, c, d, e, f and 2 more"
