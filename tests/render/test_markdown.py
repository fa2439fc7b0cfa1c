"""The Markdown twin: what it says, that it fits into an issue, and that no text of a log becomes markup there."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.model.codec import dump, load
from postmortem.model.diagnosis import EventNote
from postmortem.model.exhibits import CurveExhibit, Exhibits
from postmortem.model.sentence import say
from postmortem.render import mermaid
from postmortem.render.markdown import LIMIT, block, code, escape, render_markdown
from postmortem.render.panels import panels
from tests.render import samples


def prose(markdown: str) -> str:
    """The text without what is inert: fenced blocks and code spans."""
    without = re.sub(r"^(`{3,})[^`\n]*\n.*?\n\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<![`\\])(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", without)


@pytest.mark.parametrize("name", samples.SAMPLES)
def test_verdict_comes_first(name: str) -> None:
    d = samples.SAMPLES[name]()
    text = render_markdown(d)
    assert text.startswith(f"## {d.verdict.title}")
    assert text == render_markdown(load(dump(d)))
    assert text.count("<details>") == text.count("</details>")
    assert "19 failure modes" in text


def test_what_matters_is_in_it() -> None:
    text = render_markdown(samples.exploding())
    assert "```diff\n# config.yaml\n- optim.lr: 0.1\n+ optim.lr: 0.01\n+ optim.clip_norm: 1\n```" in text
    assert "| How sure | **confirmed (97%)**, its cause: likely (90%) |" in text
    assert "`ckpt/step_300.pt`" in text
    assert "FloatingPointError: loss is nan at step 415" in text
    assert "×××" in text
    assert "☒ **No warm-up** – ruled out, 2%" in text


def test_every_sentence_is_on_its_own() -> None:
    assert "415.\\(a consequence" not in render_markdown(samples.exploding())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("@torvalds", "@&#8203;torvalds"),
        ("see #12 and gh-3", "see #&#8203;12 and gh-&#8203;3"),
        ("https://x.y", "https://&#8203;x.y"),
        ("www.x.y", "www&#8203;.x.y"),
        ("![i](u)", "!\\[i\\](u)"),
        ("`c`", "\\`c\\`"),
        ("1. one", "1\\. one"),
        ("0.47 by", "0.47 by"),
        ("- item", "\\- item"),
        ("=== x", "\\=== x"),
        ("a - b (c)!", "a - b (c)!"),
        (":smile: 3:4", ":&#8203;smile: 3:4"),
        ("line\nbreak", "line break"),
        ("$x$", "\\$x\\$"),
        ("\x1b[1m", "␛\\[1m"),
    ],
)
def test_escape(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_code_and_blocks_cannot_be_left() -> None:
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("a|b", table=True) == "`a\\|b`"
    assert block("x\n```\n</details>") == "````\nx\n```\n</details>\n````"


EVIL = "zq9 <script>x</script> ![i](http://e.x/p.png) [l](javascript:1) @someone #1 `|` ``` </details> $$ \n# h\n- l"


def test_no_text_of_an_input_becomes_markup() -> None:
    text = prose(render_markdown(samples.plant(samples.exploding(), EVIL)))
    assert "zq9" in text
    assert set(re.findall(r"<\s*/?\s*([a-z]+)", text)) <= {"details", "summary", "sub"}
    assert text.count("<details>") == text.count("</details>")
    assert not re.search(r"(?<!\\)\]\(|(?<!\\)\[[^]]*\]\(|@\w|(?<!&)#\d|://(?!&#8203;)", text)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert rows
    assert not [line for line in rows if "script" in line and "&lt;" not in line]


@given(st.text(alphabet="ab`|<>[]()!@#&*_~\\:/. \n\t-+1$", max_size=40))
def test_escaped_text_has_no_live_punctuation(text: str) -> None:
    shown = escape(text)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[`*_\[\]|<>]", shown)
    assert not re.search(r"@(?!&#8203;)|://(?!&#8203;)", shown)


def test_it_always_fits_into_an_issue() -> None:
    huge = samples.plant(samples.exploding(), "`|<é" * 3000)
    event = EventNote("exception", "x" * 2000, "log", 1, None)
    many = dataclasses.replace(huge, run=dataclasses.replace(huge.run, events=(event,) * 200), findings=huge.findings * 20)
    text = render_markdown(many)
    assert len(text) < LIMIT
    assert "see the HTML report" in text
    assert len(render_markdown(samples.large())) < LIMIT
    assert text.count("<details>") == text.count("</details>")


def test_a_summary_is_html_and_not_markdown() -> None:
    d = samples.exploding()
    odd = dataclasses.replace(d, findings=tuple(dataclasses.replace(f, title=say("a_b <i> @someone")) for f in d.findings))
    assert "<details><summary>Clues and causes: a&#x5f;b &lt;i&gt; @&#8203;someone (" in render_markdown(odd)


def test_the_chart_for_mermaid_has_our_words_and_finite_numbers_only() -> None:
    found = re.search(r"```mermaid\n(.*?)\n```", render_markdown(samples.exploding()), re.DOTALL)
    assert found
    lines = found[1].splitlines()
    assert lines[1:3] == ["xychart-beta", '    title "Loss: train (blue), validation (orange)"']
    assert lines[3].startswith('    x-axis "step" 50 --> 4')  # from the first validation up to the first NaN
    assert lines[4].startswith('    y-axis "log10 of Loss" ')
    rows = [re.fullmatch(r"    line \[(.*)\]", line) for line in lines[5:]]
    assert len(rows) == 2
    assert len({len(row[1].split(", ")) for row in rows if row}) == 1
    assert all(math.isfinite(float(v)) for row in rows if row for v in row[1].split(", "))


def test_no_chart_of_two_points_and_none_of_nan_alone() -> None:
    panel = panels(Exhibits(curves=(CurveExhibit("train/loss", (0.0, 1.0), (2.0, 1.0), 2),)))[0][0]
    assert mermaid.chart(panel, "Loss", "step") == ""
    steps = tuple(float(i) for i in range(20))
    panel = panels(Exhibits(curves=(CurveExhibit("train/loss", steps, (math.nan,) * 20, 20),)))[0][0]
    assert mermaid.chart(panel, "Loss", "step") == ""
