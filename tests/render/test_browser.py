"""The page in a browser: quiet, complete without JavaScript, clean for assistive technology, never wider than the window.

Needs chromium and playwright. With the path of `axe.min.js` in POSTMORTEM_AXE the accessibility rules of axe-core are asked too.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from postmortem.pipeline import compare
from postmortem.render import comparison
from postmortem.render.html import render_html
from tests.render import samples

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")]
AXE = os.environ.get("POSTMORTEM_AXE", "")
QUIET = "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-first-run".split()  # noqa: SIM905
OPEN_ALL = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("reports")
    for name, make in samples.SAMPLES.items():
        (place / f"{name}.html").write_text(render_html(make()), encoding="utf-8")
    evil = samples.plant(samples.exploding(), "<img src=x onerror=alert(1)>" + "w" * 300)
    (place / "evil.html").write_text(render_html(evil), encoding="utf-8")
    return place


class Opened:
    """A page with everything that it said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append("dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = path.as_uri()
        self.page.goto(self.url)

    def __enter__(self) -> "Opened":  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


COMPARED = Path(__file__).parents[1] / "compare" / "data"
FOLDED = "#mode-crash-0"  # a finding that the page does not unfold by itself
NAMES = (*samples.SAMPLES, "evil")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_and_nothing_asked_for(browser: Any, folder: Path, name: str) -> None:
    with Opened(browser, folder / f"{name}.html") as opened:
        opened.page.evaluate(OPEN_ALL)
        assert opened.said == []
        assert opened.asked == [opened.url]


def test_a_comparison_takes_the_width_of_its_page(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "compared.html").write_text(comparison.render_html(compare([COMPARED / "good", COMPARED / "bad-batch"])), encoding="utf-8")
    for width in (700, 1000, 1400, 2560):
        with Opened(browser, tmp_path / "compared.html", viewport={"width": width, "height": 900}) as opened:
            assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
            main, page = (opened.page.locator(where).bounding_box()["width"] for where in ("main", ".page"))
            assert main > 0.9 * (page - 0.06 * width), width


@pytest.mark.parametrize("name", NAMES)
def test_never_wider_than_the_window(browser: Any, folder: Path, name: str) -> None:
    """Opened in a wide window, which then becomes narrower: the page is laid out anew each time."""
    with Opened(browser, folder / f"{name}.html", viewport={"width": 2560, "height": 800}) as opened:
        opened.page.evaluate(OPEN_ALL)
        for width in (2560, 1400, 1000, 700, 360):
            opened.page.set_viewport_size({"width": width, "height": 800})
            assert opened.page.evaluate("innerWidth") == width
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


def test_complete_without_javascript(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html", java_script_enabled=False) as opened:
        page = opened.page
        for words in ("Exploding gradients", "Learning rate too high", "the gradient norm grew before the loss"):
            assert page.get_by_text(words).first.is_visible()
        assert page.locator(".chart .wide svg").first.is_visible()
        assert page.locator(".diff ins").first.is_visible()
        assert page.get_by_role("button").count() == 0
        assert page.locator("#mode-overfitting-0").get_by_text("absent").is_visible()
        page.locator(f"{FOLDED} summary").first.click()
        assert page.locator(f"{FOLDED} .idline").is_visible()


def test_script_copies_sorts_and_filters(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html") as opened:
        page = opened.page
        assert page.get_by_role("button", name="Copy: Snippet: restart").count() == 1
        table = page.locator("#sources table")
        table.get_by_role("button", name="Size").click()
        assert table.locator("tbody tr").first.locator("th").inner_text() == "old.pkl"
        table.get_by_role("button", name="Size").click()
        assert "step_400" in table.locator("tbody tr").first.locator("th").inner_text()
        assert table.locator("[aria-sort=descending]").count() == 1
        assert opened.said == []


def test_values_are_read_off_the_curves_with_the_keyboard(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html", viewport={"width": 1400, "height": 900}) as opened:
        page = opened.page
        figure = page.locator("#curves figure.chart").first
        slider = figure.get_by_role("slider")
        slider.evaluate("s => { s.value = 200; s.dispatchEvent(new Event('input')); }")
        slider.press("ArrowRight")
        read = slider.get_attribute("aria-valuetext")
        assert read.startswith("step 20")
        loss, rate = (float(re.search(pattern, read)[1]) for pattern in (r"Loss train ([\d.]+)", r"Learning rate ([\d.]+)"))
        curves = {c.name: dict(zip(c.steps, c.values, strict=True)) for c in samples.exploding().exhibits.curves}
        assert loss == pytest.approx(curves["train/loss"][200.0], rel=0.1)  # of a logarithmic scale over many decades
        assert rate == pytest.approx(curves["lr"][200.0], rel=0.02)
        assert opened.said == []


def test_a_stretch_of_steps_is_zoomed_into_and_the_whole_comes_back(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html", viewport={"width": 1400, "height": 900}) as opened:
        page = opened.page
        figure = page.locator("#curves figure.chart").first
        path = figure.locator(".wide [data-series] path").first
        ticks = "[...document.querySelector('#curves .wide svg').querySelectorAll('[data-tick] text')].filter(t => t.getAttribute('visibility') !== 'hidden').map(t => t.textContent)"
        before, labels = path.get_attribute("d"), page.evaluate(ticks)
        figure.get_by_role("button", name="Zoom in").click()
        figure.get_by_role("button", name="Zoom in").click()
        assert path.get_attribute("d") != before
        near = [float(text.replace(",", "")) for text in page.evaluate(ticks)]
        assert len(near) >= 3
        assert near[-1] - near[0] < 300
        whole = figure.get_by_role("button", name="Whole run")
        whole.click()
        assert (path.get_attribute("d"), page.evaluate(ticks)) == (before, labels)
        assert whole.is_disabled()
        box = figure.locator(".wide svg").bounding_box()
        page.mouse.move(box["x"] + 500, box["y"] + 100)
        page.mouse.down()
        page.mouse.move(box["x"] + 700, box["y"] + 100, steps=4)
        page.mouse.up()
        assert whole.is_enabled()
        assert opened.said == []


def test_keyboard_reaches_verdict_and_details(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html") as opened:
        page = opened.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.url.endswith("#verdict")
        page.locator(f"{FOLDED} summary").first.focus()
        page.keyboard.press("Enter")
        assert page.locator(f"{FOLDED} > details").get_attribute("open") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_reader(browser: Any, folder: Path, scheme: str) -> None:
    with Opened(browser, folder / "exploding.html", color_scheme=scheme) as opened:
        paper, line = opened.page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('.s-train')).stroke]"
        )
        assert (paper, line) == {
            "light": ("rgb(255, 255, 255)", "rgb(0, 103, 168)"),
            "dark": ("rgb(20, 23, 27)", "rgb(93, 178, 242)"),
        }[scheme]


def test_on_paper_details_are_open_and_pictures_uncut(browser: Any, folder: Path) -> None:
    with Opened(browser, folder / "exploding.html", viewport={"width": 700, "height": 900}) as opened:
        page = opened.page
        page.emulate_media(media="print")
        assert page.locator(f"{FOLDED} .idline").is_visible()
        assert page.locator(".cause.likely .clues-table").first.is_visible()
        assert not page.locator(".cause.ruled-out .clues-table").first.is_visible()
        assert not page.locator(".copy").first.is_visible()
        assert not page.locator(".reader").first.is_visible()
        widest = page.evaluate("Math.max(...[...document.querySelectorAll('svg.plot')].map(s => s.getBoundingClientRect().right))")
        assert widest <= 700
        outside = page.evaluate(
            "[...document.querySelectorAll('table')].filter(t => t.getBoundingClientRect().right > 700.5 && t.closest('details:not([open])') === null).length"
        )
        assert outside == 0
        assert len(page.pdf(format="A4")) > 20_000


@pytest.mark.skipif(not AXE, reason="POSTMORTEM_AXE does not name axe.min.js")
@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, {"viewport": {"width": 360, "height": 800}}], ids=["light", "dark", "narrow"])
@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(browser: Any, folder: Path, name: str, options: dict[str, Any]) -> None:
    with Opened(browser, folder / f"{name}.html", bypass_csp=True, **options) as opened:
        opened.page.evaluate(OPEN_ALL)
        opened.page.add_script_tag(path=AXE)
        found = opened.page.evaluate(
            "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
            ".then(r => r.violations.map(v => [v.id, v.help, v.nodes.length, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' | ' + n.failureSummary)]))"
        )
        assert found == []
