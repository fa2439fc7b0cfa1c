"""What is chosen for the first screen and for the checklist."""

import dataclasses
import re

import pytest

from postmortem.model.diagnosis import Change, Cost, Finding, FindingStatus, Onset, Severity, Standing
from postmortem.model.exhibits import Exhibits
from postmortem.model.sentence import say
from postmortem.render import checklist, story, templates
from postmortem.render.html import render_html
from postmortem.render.markdown import render_markdown
from tests.render import samples
from tests.render.test_terminal import shown


def test_groups_put_the_verdict_first_and_leave_nothing_out() -> None:
    d = samples.exploding()
    groups = checklist.groups(d)
    assert [title for title, _ in groups] == ["Present", "The check itself crashed", "Not measured", "Absent"]
    assert [f.mode for f in groups[0][1]] == ["exploding-gradients", "crash"]
    assert sum(len(findings) for _, findings in groups) == len(d.findings)


def test_others_are_sorted_by_severity_and_consequences_come_last() -> None:
    d = samples.exploding()

    def found(mode: str, severity: Severity, root: str | None = None) -> Finding:
        return Finding(mode, say("t"), FindingStatus.PRESENT, severity, 0.9, 0, say("s"), consequence_of=root)

    more = (found("loss-spike", Severity.MINOR), found("stalled", Severity.SERIOUS), found("weight-collapse", Severity.FATAL, "exploding-gradients"))
    d = dataclasses.replace(d, findings=(*(f for f in d.findings if f.mode != "crash"), *more))
    assert [f.mode for f in checklist.others(d)] == ["stalled", "loss-spike", "weight-collapse"]


def test_boxes() -> None:
    assert [checklist.box(s) for s in Standing] == ["box-ticked", "box-ticked", "box-open", "box-crossed", "box-crossed", "box-open"]


def test_diff_groups_by_file_and_leaves_out_what_changes_nothing() -> None:
    changes = (
        Change("learning_rate", "optim.lr", "c.yaml", 0.1, 0.01),
        Change("initialization", "", "model.py", None, None),
        Change("dropout", "", "", None, 0.1),
        Change("warmup", "w", "c.yaml", 10, None),
    )
    assert checklist.diff(changes) == [
        ("c.yaml", [("del", "optim.lr: 0.1"), ("ins", "optim.lr: 0.01"), ("del", "w: 10")]),
        ("on the command line or in the script", [("ins", "dropout: 0.1")]),
    ]


def test_a_clue_that_decides_twice_is_said_once() -> None:
    v = samples.exploding().verdict
    doubled = dataclasses.replace(v, decided_by=(v.decided_by[0], v.decided_by[1], v.decided_by[0]))
    assert story.deciding(doubled) == v.decided_by[:2]


def test_cost_leads_with_the_most_telling_figure() -> None:
    d = samples.exploding()

    def cost(*figures: float | None) -> list[str]:
        return story.cost(dataclasses.replace(d, verdict=dataclasses.replace(d.verdict, cost=Cost(*figures))))

    assert cost(690.0, 0.69, 1.9, 15.2) == ["15.2 GPU-hours", "1.9 h, 690 steps, 69% of the run, after it began"]
    assert cost(690.0, 0.69, None, None) == ["690 steps", "69% of the run, after it began"]
    assert cost(None, None, None, None) == []


def test_onset_in_the_unit_of_the_axis() -> None:
    assert story.onset_words(Onset(310.0, 3.1)) == "step 310, epoch 3.1"
    assert story.onset_words(Onset(12.0, 12.0), "epoch") == "epoch 12"
    assert story.onset_words(Onset(None, 2.0)) == "epoch 2"
    assert story.onset_words(None) == "not told by the log"


def test_a_possible_cause_is_not_called_the_cause() -> None:
    v = samples.exploding().verdict
    assert story.cause_label(v) == "Cause:"
    assert story.cause_label(dataclasses.replace(v, cause_confidence=0.55)) == "Possible cause:"


def test_the_tally_is_of_the_last_attempt() -> None:
    assert str(checklist.tally(samples.crashed())).startswith("19 failure modes were looked for: 1 present")


def test_every_section_of_the_contents_is_on_the_page() -> None:
    for diagnosis in (samples.healthy(), samples.inconclusive()):
        page = diagnosis.to_html()
        assert re.findall(r'<section id="([a-z]+)"', page) == [anchor for anchor, _ in story.contents(diagnosis)]


def test_what_was_not_found_has_no_section_and_is_said_once() -> None:
    run = dataclasses.replace(samples.healthy().run, checkpoints=(), events=())
    bare = dataclasses.replace(samples.healthy(), run=run, exhibits=Exhibits())
    assert {"checkpoints", "events", "weights"}.isdisjoint(anchor for anchor, _ in story.contents(bare))
    assert ("Checkpoints", "none was found") in story.about(bare)
    assert ("Warnings and errors in the log", "none was found") in story.about(bare)
    assert ("Checkpoints", "none was found") not in story.about(samples.exploding())


def test_templates_are_found_where_the_package_or_the_checkout_has_them() -> None:
    names = {p.name for p in templates.folder().iterdir()}
    assert {"report.html.j2", "report.css", "report.js"} <= names


def test_undefined_names_in_a_template_are_errors() -> None:
    import jinja2
    import pytest

    with pytest.raises(jinja2.UndefinedError):
        templates.environment().from_string("{{ nothing }}").render()
    assert templates.environment().from_string("{{ x }}").render(x="<b>\x1b") == "&lt;b&gt;␛"


@pytest.mark.parametrize(("name", "heading"), [("healthy", "What to try"), ("exploding", "What to change")])
def test_what_is_worth_a_try_is_no_thing_to_change(name: str, heading: str) -> None:
    """A healthy run may name a setting where sound runs have none."""
    diagnosis = samples.SAMPLES[name]()
    tried = dataclasses.replace(diagnosis, verdict=dataclasses.replace(diagnosis.verdict, fixes=samples.exploding().verdict.fixes))
    for text in (shown(tried), render_markdown(tried), render_html(tried)):
        assert heading in text
        assert ({"What to try", "What to change"} - {heading}).pop() not in text
