"""Pictures for any data that a run can hold, and panels chosen as a reader would."""

import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from postmortem.model.exhibits import CurveExhibit, DepthExhibit, DistributionExhibit, Exhibits, HeatmapExhibit, Level, Mark
from postmortem.model.sentence import say
from postmortem.render import plots
from postmortem.render.heatmap import heatmap
from postmortem.render.layers import short_names
from postmortem.render.panels import gaps, lettered, panels
from postmortem.render.sparkline import sparkline
from tests.render import samples


def curve(name: str, values: list[float], attempt: int = 0) -> CurveExhibit:
    return CurveExhibit(name, tuple(float(i) for i in range(len(values))), tuple(values), len(values), attempt)


def draw(exhibits: Exhibits, frame: plots.Frame = plots.WIDE) -> str:
    main, rest = panels(exhibits)
    return str(plots.curves((*main, *rest), exhibits.marks, lettered(exhibits.marks), unit="step", frame=frame, prefix="x", label="l"))


def test_train_and_validation_share_a_panel_and_the_rest_is_stacked_in_order() -> None:
    main, rest = panels(samples.exploding().exhibits)
    assert [p.key for p in main] == ["loss", "accuracy", "lr", "grad_norm", "throughput"]
    assert {line.curve.name for line in main[0].lines} == {"train/loss", "val/loss"}
    assert [p.title for p in rest] == ["aux/kl"]


@pytest.mark.parametrize(
    ("key", "values", "scale"),
    [
        ("train/loss", [200.0, 1.0], "log"),
        ("train/loss", [2.0, 1.0], "linear"),
        ("train/loss", [0.0, 5.0], "linear"),
        ("lr", [1e-7, 1e-3], "linear"),
        ("other/reward_x", [-1.0, 1.0, 1.0, 1e9], "symlog"),
        ("train/loss", [math.nan, math.inf], "linear"),
    ],
)
def test_scale(key: str, values: list[float], scale: str) -> None:
    main, rest = panels(Exhibits(curves=(curve(key, values),)))
    assert (*main, *rest)[0].scale == scale


def test_earlier_attempts_are_drawn_as_such() -> None:
    main, _ = panels(Exhibits(curves=(curve("train/loss", [3.0, 2.0], 0), curve("train/loss", [2.0, 1.0], 1))))
    assert [(line.role, line.curve.attempt) for line in main[0].lines] == [("earlier", 0), ("train", 1)]


def test_gaps_name_what_is_not_finite() -> None:
    assert gaps(curve("x", [1.0, math.nan, math.inf, 1.0, -math.inf])) == ((1.0, 2.0, "NaN/inf"), (4.0, 4.0, "inf"))


def test_letters_are_for_the_telling_marks_in_order_of_step() -> None:
    found = lettered(samples.exploding().exhibits.marks)
    assert [(x.letter, x.mark.kind) for x in found] == [
        ("A", "spike"), ("B", "visible"), ("C", "best-validation"), ("D", "onset"), ("E", "bad-checkpoint"), ("F", "crash"),
    ]  # fmt: skip
    many = [Mark(float(i), "spike", say("s")) for i in range(40)] + [Mark(99.0, "onset", say("o"))]
    assert len(lettered(many)) == 12
    assert lettered(many)[-1].mark.kind == "onset"


@pytest.mark.parametrize("frame", [plots.WIDE, plots.NARROW, plots.HERO])
def test_picture_has_no_inline_style_no_metadata_and_text_as_text(frame: plots.Frame) -> None:
    picture = draw(samples.exploding().exhibits, frame)
    root = ET.fromstring(picture)
    assert {e.tag for e in root.iter()} <= {"svg", "g", "path", "text", "defs", "clipPath", "rect", "use"}
    assert not any("style" in e.attrib for e in root.iter())
    assert not any(value.startswith("#") and key != "href" for e in root.iter() for key, value in e.attrib.items())  # every colour is a class
    assert any((e.text or "").startswith("Gradient norm") for e in root.iter("text"))
    assert draw(samples.exploding().exhibits, frame) == picture


def test_names_from_a_log_are_neither_markup_nor_mathematics() -> None:
    evil = "other/$\\frac{1}{x$<b>&amp;\x1b"
    picture = draw(Exhibits(curves=(curve(evil, [1.0, 2.0]),), levels=(Level(evil, 1.0, say("{x}", x="$\\bad{")),)))
    texts = [e.text for e in ET.fromstring(picture).iter("text")]
    assert "$\\frac{1}{x$<b>&amp;␛" in texts
    assert "$\\bad{" in texts


values = st.lists(st.floats(), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(values, values, st.floats(allow_nan=False, allow_infinity=False))
def test_any_values_can_be_drawn(loss: list[float], norm: list[float], step: float) -> None:
    exhibits = Exhibits(
        curves=(curve("train/loss", loss), curve("grad_norm", norm)),
        marks=(Mark(step, "onset", say("o")),),
        levels=(Level("train/loss", loss[0], say("level")),),
    )
    ET.fromstring(draw(exhibits, plots.NARROW))


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.one_of(st.none(), st.floats()), min_size=1, max_size=8))
def test_any_depth_can_be_drawn(figures: list[float | None]) -> None:
    layers = tuple(f"l.{i}" for i in range(len(figures)))
    ET.fromstring(str(plots.depth([DepthExhibit("gradient-rms", "x", layers, "1", tuple(figures))], "d", "l", tallest=800.0)))


@pytest.mark.parametrize("counts", [(0, 5, 0), (1, 1, 1), (10**12, 0, 1)])
@pytest.mark.parametrize("edges", [(-1.0, 0.0, 1.0, 2.0), (0.0, 1e-30, 1e-29, 1e30), (1.0, 1.0, 1.0, 1.0)])
def test_any_histogram_can_be_drawn(counts: tuple[int, ...], edges: tuple[float, ...]) -> None:
    exhibit = DistributionExhibit("layer", "1", "weight", edges, counts)
    ET.fromstring(str(plots.distributions([("layer", (exhibit,))], "r", "l")))


def test_short_names_keep_what_differs() -> None:
    assert short_names(["model.layers.0.fc.weight", "model.layers.1.fc.weight"]) == ["0", "1"]
    assert short_names(["conv.weight", "head.bias"]) == ["conv.weight", "head.bias"]
    assert short_names(["a.b", "a.b"]) == ["b", "b"]
    assert all(len(name) <= 24 for name in short_names(["x" * 50, "y" * 50]))


def test_heatmap_cells_have_numbers_and_shades() -> None:
    shown = heatmap(HeatmapExhibit("rms", ("a", "b"), ("1", "2"), ((1e-4, None), (math.nan, 1.0))))
    assert [[(c.text, c.shade) for c in cells] for _, cells in shown.rows] == [[("1.0e-4", "h0"), ("–", "hx")], [("NaN", "hn"), ("1.0", "h7")]]
    assert (shown.low, shown.high, shown.broken) == ("1.0e-4", "1.0", True)
    assert str(shown.alternative) == "From 1e-4 (a, 1) to 1 (b, 2). Cells that are NaN or infinite: 1."


@pytest.mark.parametrize("cells", [((None,),), ((0.0,),), ((math.inf,),), ((5.0,),), ((-1.0,),)])
@pytest.mark.parametrize("quantity", ["rms", "zero-share", "<b>"])
def test_heatmap_of_little(cells: tuple[tuple[float | None, ...], ...], quantity: str) -> None:
    assert len(heatmap(HeatmapExhibit(quantity, ("a",), ("1",), cells)).rows) == 1


def test_large_heatmap_is_a_picture_with_every_cell_and_the_rows_that_stand_out() -> None:
    rows = tuple((float(i + 1), 1.0) for i in range(999))
    shown = heatmap(HeatmapExhibit("rms", tuple(f"l{i}" for i in range(1000)), ("1", "2"), (*rows, (math.nan, 1.0))))
    assert shown.picture is not None
    area = sum(int(run.split("h")[1].split("v")[0]) for e in ET.fromstring(str(shown.picture)) for run in e.attrib["d"].split("M")[1:])
    assert area == 2000
    assert "l999" in [name for name, _ in shown.rows]
    assert len(shown.rows) < 30


def test_sparkline() -> None:
    assert sparkline(curve("x", [1.0, 2.0, math.nan, 8.0]), 0, 4, log=False, width=4) == "▁▂×█"
    assert sparkline(curve("x", [5.0, 5.0]), 0, 2, log=True, width=2) == "▄▄"
