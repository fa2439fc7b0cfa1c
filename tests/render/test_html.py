"""The HTML page: what it says, that it is one safe file, and that the document alone makes it."""

import itertools
import re
from html.parser import HTMLParser

import pytest

from postmortem.model.codec import dump, load
from postmortem.model.diagnosis import Diagnosis
from postmortem.render import csp
from postmortem.render.html import render_html
from tests.render import samples

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</style><script>1</script>",
    "</script><b>",
    "{{ 7 * 7 }}{% raw %}",
    "]]><!-- -->",
    "javascript:alert(1)",
    "$\\frac{1}{0}$",
    "\x1b[31mred\x00\x07",
    "\u202egnp.exe\u2066",
    "\ud800",
    "\U000e0041",
)
VOID = {"meta", "link", "br", "img", "input", "hr", "base", "wbr"}
VERDICTS = {
    "exploding": ("Exploding gradients", "Learning rate too high", "step 310", "97%", "ckpt/step_300.pt", "15.2 GPU-hours", "optim.lr: 0.01"),
    "healthy": ("Healthy", "93%", "healthy, with a minor finding", "epoch 30 of 30"),
    "inconclusive": ("Inconclusive", "cannot be told from what was logged", "val/loss", "no verdict"),
    "crashed": ("The process died", "Out of memory on the device", "step 57", "--batch-size: 32", "the beginning"),
}


class Page(HTMLParser):
    """Tags with their attributes, text, and whether elements nest."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.text: list[str] = []
        self.inlined: dict[str, str] = {}
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.comments: list[str] = []
        self.broken = False  # whether the last text may be broken here, and goes on
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        self.broken = tag == "wbr"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("style", "script"):
            self.inlined[self.open[-1]] = self.inlined.get(self.open[-1], "") + data
        elif self.broken and self.text:
            self.text[-1] += data
            self.broken = False
        else:
            self.text.append(data)

    def first_screen(self) -> str:
        whole = " ".join(" ".join(self.text).split())
        return whole[: whole.index("Course of the run", whole.index("Skip to the verdict") + 400)]

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attrs in self.tags for key, value in attrs if key == name]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: render_html(make()) for name, make in samples.SAMPLES.items()}


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_first_screen_tells_what_when_why_and_what_to_do(pages: dict[str, str], name: str) -> None:
    shown = Page(pages[name]).first_screen()
    for words in VERDICTS[name]:
        assert words in shown


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_html_from_json_is_the_html_made_live(pages: dict[str, str], name: str) -> None:
    assert render_html(load(dump(samples.SAMPLES[name]()))) == pages[name]


def test_html_from_json_with_evil_text_too() -> None:
    evil = samples.plant(samples.exploding(), " \x1b[0m é\u202e <b>{x}")
    assert render_html(load(dump(evil))) == render_html(evil)


def test_same_diagnosis_same_bytes(pages: dict[str, str]) -> None:
    assert render_html(samples.exploding()) == pages["exploding"]
    assert "2026" not in pages["exploding"]  # no clock time of the analysis


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_one_file_that_asks_for_nothing(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    for attribute in ("src", "srcset", "action", "formaction", "background", "poster", "data", "xlink:href"):
        assert page.attributes(attribute) == []
    links = page.attributes("href")
    assert links
    assert all(link.startswith("#") or link == "data:," for link in links)
    assert not re.search(r"@import|url\((?!#)", page.inlined["style"])
    assert not re.search(r"fetch|XMLHttpRequest|WebSocket|import\(|eval|innerHTML", page.inlined["script"])


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_policy_allows_exactly_the_inlined_style_and_script(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    meta = next(dict(attrs) for tag, attrs in page.tags if tag == "meta" and ("http-equiv", "Content-Security-Policy") in attrs)
    policy = dict(part.split(" ", 1) for part in (meta["content"] or "").split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["style-src"] == csp.source_hash(page.inlined["style"])
    assert policy["script-src"] == csp.source_hash(page.inlined["script"])
    assert page.attributes("style") == []
    assert not [key for _, attrs in page.tags for key, _ in attrs if key.startswith("on")]


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_elements_nest_ids_are_unique_and_links_lead_somewhere(pages: dict[str, str], name: str) -> None:
    page = Page(pages[name])
    assert page.wrong == []
    assert page.open == []
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.attributes("href") if link.startswith("#")} <= set(ids)
    for reference in page.attributes("clip-path"):
        assert reference[5:-1] in ids
    for reference in page.attributes("aria-labelledby"):
        assert reference in ids


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_headings_descend_one_level_at_a_time(pages: dict[str, str], name: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(pages[name]).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))


MARKER = "zq9"


@pytest.fixture(scope="module")
def tame() -> Page:
    return Page(render_html(samples.plant(samples.exploding(), MARKER)))


@pytest.mark.parametrize("evil", EVIL)
def test_no_text_of_an_input_becomes_markup(tame: Page, evil: str) -> None:
    wild = Page(render_html(samples.plant(samples.exploding(), f"{MARKER}{evil}")))
    known = {(tag, key) for tag, attrs in tame.tags for key in ("", *(key for key, _ in attrs))}
    assert {(tag, key) for tag, attrs in wild.tags for key in ("", *(key for key, _ in attrs))} <= known
    for tag in ("script", "style", "meta", "link"):
        assert [t for t, _ in wild.tags].count(tag) == [t for t, _ in tame.tags].count(tag)
    assert wild.comments == []
    assert wild.inlined == tame.inlined
    assert wild.wrong == []
    whole = " ".join((*wild.text, *(value or "" for _, attrs in wild.tags for _, value in attrs)))
    assert MARKER in whole
    whole.encode("utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", whole)


def test_hidden_characters_are_shown() -> None:
    whole = " ".join(Page(render_html(samples.plant(samples.crashed(), "\x1b[31m\u202e"))).text)
    assert "␛[31m⟨U+202E⟩" in whole


def test_every_mode_is_in_the_checklist_with_its_status_in_words(pages: dict[str, str]) -> None:
    page = Page(pages["exploding"])
    whole = " ".join(" ".join(page.text).split())
    for mode, title in samples.ALL_MODES:
        assert title in whole
        assert f"mode-{mode}-0" in page.attributes("id")
    assert "19 failure modes were looked for: 2 present, 13 absent, 3 not measured. In 1 the check itself crashed." in whole
    for word in ("likely", "possible", "ruled out", "not measured", "check crashed"):
        assert word in whole


def test_clues_add_up_in_view(pages: dict[str, str]) -> None:
    whole = " ".join(" ".join(Page(pages["exploding"]).text).split())
    assert re.search(r"before any clue −1\.2 .* \+2\.6 .* \+2\.1 sum, which is a probability of 97% \+3\.5", whole)


def test_pictures_say_what_they_show(pages: dict[str, str]) -> None:
    labels = [dict(attrs).get("aria-label") or "" for tag, attrs in Page(pages["exploding"]).tags if tag == "svg" and ("role", "img") in attrs]
    assert len(labels) >= 5
    assert any("Loss, train: starts at 2.48" in label and "NaN first at 415" in label for label in labels)
    assert any("Distributions of 12 layers; narrowest in encoder.layers.0.attn.qkv.weight" in label for label in labels)
    assert any("12 layers from input to output" in label for label in labels)


def test_what_the_report_reveals(pages: dict[str, str]) -> None:
    assert "Secrets, home directories, host and user names were replaced" in pages["exploding"]
    assert "names, shapes and statistics of 12 layers" in pages["exploding"]
    assert "Nothing was redacted" in pages["crashed"]


def test_earlier_attempts_are_told_apart(pages: dict[str, str]) -> None:
    whole = " ".join(" ".join(Page(pages["crashed"]).text).split())
    assert "attempt 1" in whole
    assert "resumed from step 30" in whole


def test_without_exhibits_nothing_is_drawn_and_all_is_told() -> None:
    bare: Diagnosis = load(dump(samples.exploding(), exhibits=False))
    page = Page(render_html(bare))
    assert "img" not in page.attributes("role")
    assert "No curve of two points or more is part of this document." in " ".join(page.text)
    assert "Learning rate too high" in page.first_screen()


def test_sizes(pages: dict[str, str]) -> None:
    assert max(map(len, pages.values())) < 400_000
    assert len(render_html(samples.large()).encode()) < 5_000_000
