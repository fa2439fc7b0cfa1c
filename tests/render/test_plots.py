"""Pictures for any data that a run can hold, and panels chosen as a reader would."""

import json
import math
from xml.etree import ElementTree as ET

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from postmortem.model.exhibits import CurveExhibit, DepthExhibit, DistributionExhibit, Exhibits, HeatmapExhibit, Level, Mark
from postmortem.model.sentence import say
from postmortem.render import lettering, plots
from postmortem.render.heatmap import heatmap
from postmortem.render.layers import density, short_names
from postmortem.render.panels import gaps, lettered, panels
from postmortem.render.sparkline import sparkline
from postmortem.render.ticks import ticks
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


values = st.lists(st.floats(), min_size=2, max_size=12)


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(values, values, st.floats(allow_nan=False, allow_infinity=False))
@example([5e-324, 5e-324], [5e-324, -0.5], 1.2)
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


def test_a_few_per_cent_do_not_look_like_decades() -> None:
    shades = {cell.shade for _, row in heatmap(HeatmapExhibit("rms", ("a", "b"), ("1", "2"), ((0.070, 0.071), (0.072, 0.073)))).rows for cell in row}
    assert len(shades) <= 2
    far = heatmap(HeatmapExhibit("rms", ("a", "b"), ("1", "2"), ((0.001, 0.01), (0.1, 1.0))))
    assert {cell.shade for _, row in far.rows for cell in row} >= {"h0", "h7"}


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
    far = CurveExhibit("x", (2.0, 6.0), (1.0, 8.0), 2)
    assert sparkline(far, 0, 8, log=False, width=8) == "  ▁▃▅▇█"  # a line between points, nothing before the first
    assert sparkline(CurveExhibit("x", (0.0, 2.0, 3.0), (1.0, math.nan, 2.0), 3), 0, 4, log=False, width=4) == "▁ ×█"  # none up to a NaN


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([0.0, 6e-4, 1.2e-3], ["0", "0.0006", "0.0012"]),
        ([1.05, 1.1, 1.15], ["1.05", "1.10", "1.15"]),
        ([0.0, 1.5e-5, 3e-5], ["0", "1.5e−5", "3.0e−5"]),
        ([-0.2, 0.0, 0.2], ["−0.2", "0", "0.2"]),
        ([0.0, 2e6], ["0", "2e6"]),
        ([20_000.0, 40_000.0], ["20,000", "40,000"]),
        ([0.0, 0.0], ["0", "0"]),
        ([math.inf, 1.0], ["inf", "1"]),
    ],
)
def test_ticks_of_an_axis_have_one_notation(values: list[float], shown: list[str]) -> None:
    assert ticks(values) == shown


def test_the_name_of_a_level_stands_where_no_curve_runs() -> None:
    room, size = (400.0, 100.0), (80.0, 10.0)
    assert lettering.beside(50, size, room, []) == lettering.Placing(396, 53, "right", above=True)
    over = [(0.0, 58.0), (400.0, 58.0)]
    assert lettering.beside(50, size, room, [over]).above is False
    late = [[(200.0, y), (400.0, y)] for y in (58.0, 42.0)]
    assert lettering.beside(50, size, room, late) == lettering.Placing(4, 53, "left", above=True)
    assert lettering.beside(98, size, room, []).above is False  # no room above


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30), st.floats(0.01, 100))
def test_a_density_has_its_peak_at_1_and_ends_at_0(counts: list[int], width: float) -> None:
    exhibit = DistributionExhibit("l", "1", "weight", tuple(i * width for i in range(len(counts) + 1)), tuple(counts))
    xs, ys = density(exhibit, 0.0, len(counts) * width, bins=40)
    assert len(xs) == len(ys) == 42
    assert ys[0] == ys[-1] == 0
    assert max(ys) == pytest.approx(1.0 if sum(counts) else 0.0)
    assert xs == sorted(xs)


def test_many_narrow_bins_near_zero_are_no_spike() -> None:
    edges = (-1.0, -0.5, -0.001, 0.001, 0.5, 1.0)
    _, ys = density(DistributionExhibit("l", "1", "weight", edges, (500, 499, 2, 499, 500)), -1.0, 1.0, bins=40)
    assert max(ys[2:-2]) < 1.05 * min(ys[2:-2])  # a flat distribution is drawn flat


def test_a_level_of_both_curves_is_drawn_once() -> None:
    same = say("chance level, {level:.4g}", level=2.3)
    both = Exhibits(
        curves=(curve("train/loss", [3.0, 2.0]), curve("val/loss", [3.0, 2.0])), levels=(Level("train/loss", 2.3, same), Level("val/loss", 2.3, same))
    )
    assert len(panels(both)[0][0].levels) == 1


def test_the_reader_finds_the_lines_and_scales_of_a_picture() -> None:
    root = ET.fromstring(draw(samples.exploding().exhibits))
    ruler = json.loads(root.attrib["data-ruler"])
    named = {e.attrib["data-series"] for e in root.iter() if "data-series" in e.attrib}
    assert {key for panel in ruler["panels"] for key, _ in panel[6]} == named
    assert ruler["panels"][0][4:6] == ["log", "Loss"]
    top, bottom, low, high = ruler["panels"][0][:4]
    assert top < bottom
    assert low < high
    assert any("data-moves" in e.attrib for e in root.iter())
