"""The style sheet: contrast in light and dark, a class for every colour of a picture, nothing told by colour alone."""

import re

import pytest

from postmortem.render import templates
from postmortem.render.html import render_html
from postmortem.render.svg import ROLES
from tests.render import samples

SHEET = templates.asset("report.css")
TEXT = [
    ("ink", "paper"), ("muted", "paper"), ("link", "paper"), ("ink", "raised"), ("muted", "raised"), ("ink", "soft"),
    *((tone, ground) for tone in ("fatal", "serious", "minor", "good") for ground in (f"{tone}-bg", "paper")),
    ("open", "open-bg"), ("ins", "ins-bg"), ("del", "del-bg"), ("hn-ink", "hn"),
    *(("hl", f"h{i}") for i in range(5)), *(("hd", f"h{i}") for i in range(5, 8)),
    *((f"p-{name}", "paper") for name in ("onset", "visible", "crash", "mark", "nan", "level")),  # words in pictures
]  # fmt: skip
LINES = ("train", "earlier", "val", "test", "only", "onset", "crash", "first", "middle", "last", "bad")


def colours(dark: bool) -> dict[str, str]:
    light, _, rest = SHEET.partition("@media screen and (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", rest)) if dark else {})


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2.2 defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), TEXT)
def test_text_can_be_read(text: str, ground: str, dark: bool) -> None:
    known = colours(dark)
    assert contrast(known[text], known[ground]) >= 4.5


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("line", LINES)
def test_lines_can_be_seen(line: str, dark: bool) -> None:
    known = colours(dark)
    assert contrast(known[f"p-{line}"], known["paper"]) >= 3


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_shades_of_a_heat_map_are_in_order_of_lightness(dark: bool) -> None:
    known = colours(dark)
    steps = [luminance(known[f"h{i}"]) for i in range(8)]
    assert steps == sorted(steps, reverse=not dark)


def test_every_colour_of_a_picture_has_a_class() -> None:
    for role in ROLES:
        if role != "paper":
            assert f".s-{role} " in SHEET
            assert f".f-{role} " in SHEET
    assert len(set(ROLES.values())) == len(ROLES)


def test_every_class_of_a_page_that_is_styled_exists_and_no_colour_is_alone() -> None:
    page = render_html(samples.exploding())
    for kind in ("present", "absent", "not-measured", "crashed"):
        assert re.search(rf'href="#i-{kind}"/></svg><span>[a-z ]+</span>', page)
    for box in ("ticked", "crossed", "open"):
        assert re.search(rf'href="#i-box-{box}"/></svg><span>[a-z ]+</span>', page)
    assert set(re.findall(r'href="#(i-[\w-]+)"', page)) <= set(re.findall(r'<symbol id="([\w-]+)"', page))
