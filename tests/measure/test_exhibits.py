import math
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from postmortem.measure.curves import curve_stats
from postmortem.measure.exhibits import BINS, MOST_COLUMNS, MOST_CURVES, MOST_LAYERS, MOST_ROWS, exhibits, marks
from postmortem.measure.gap import gap_stats
from postmortem.measure.schedule import schedule_stats
from postmortem.model.codec import decode, encode
from postmortem.model.curves import Chance, PaceStats
from postmortem.model.evidence import Evidence
from postmortem.model.exhibits import Exhibits
from postmortem.model.run import Attempt, Checkpoint, EventKind, LogEvent, Run, Series, Status
from postmortem.model.tensors import CheckpointStats, GradientStats, Histogram, ModelFacts, Role, TensorStats, UpdateStats, WeightSummary
from tests.measure.synthetic import descent, series, setting


def tensor(name: str, role: str = Role.WEIGHT, **more: object) -> TensorStats:
    plain = TensorStats(
        name,
        "float32",
        (4, 4),
        role,
        16,
        0,
        0,
        0,
        4,
        0,
        0.0,
        0.1,
        0.1,
        -0.3,
        0.3,
        (0.0,) * 9,
        0.0,
        Histogram(tuple(np.linspace(-1, 1, 201)), (1,) * 200),
    )
    return replace(plain, **more)  # type: ignore[arg-type]


def checkpoint(step: float | None, layers: int = 3, *, moved: bool = True, **more: object) -> CheckpointStats:
    names = [f"layer{i}.weight" for i in range(layers)]
    return CheckpointStats(
        f"step_{step}.pt",
        step,
        None,
        (*(tensor(n, **more) for n in names), tensor("layer0.bias", Role.BIAS)),
        gradients=tuple(GradientStats(n, "adam", 10.0**-i, None, 0.0, None, 0) for i, n in enumerate(names)),
        updates=tuple(UpdateStats(n, None, step, 0.1 * (i + 1), False, 1.0, None) for i, n in enumerate(names)) if moved else (),
    )


def evidence(every: tuple[Series, ...], checkpoints: tuple[CheckpointStats, ...] = (), **more: object) -> Evidence:
    plain = Evidence(
        curves=MappingProxyType({s.name: curve_stats(s) for s in every}), series=MappingProxyType({s.name: s for s in every}), gap=None, schedule=None,
        chance=Chance(math.log(10), 0.1, 10, "head"), pace=PaceStats(None, None, None, None, None), checkpoints=checkpoints, weights=WeightSummary(len(checkpoints)),
        model=ModelFacts(), saved=(), events=(), settings=(), sources=(), attempts=(), family="classifier", family_stated=False, framework="", outcome="unknown",
        axis="step", steps_per_epoch=None, first_step=0, last_step=100, last_epoch=None, planned_steps=None, planned_epochs=None,
    )  # fmt: skip
    return replace(plain, **more)  # type: ignore[arg-type]


def run(*every: Series) -> Run:
    return Run("r", Path(), series=every)


LOSS = series(descent(5000, noise=0.05))
CHECKPOINTS = (checkpoint(0, moved=False), checkpoint(50), checkpoint(100))


def test_curves_in_their_order_decimated_and_smoothed() -> None:
    every = (series([1e-3, 1e-4], "lr"), series([0.1, 0.5, 0.7], "other/zeta"), LOSS, series([0.5, 0.4, 0.6], "val/loss"))
    found = exhibits(run(*every), evidence(every))
    assert [c.name for c in found.curves] == ["train/loss", "val/loss", "lr", "other/zeta"]
    loss = found.curves[0]
    assert loss.points == 5000
    assert len(loss.steps) == len(loss.values) == len(loss.smooth) <= 2000
    assert max(loss.values) == LOSS.values.max()
    assert np.std(np.diff(loss.smooth)) < np.std(np.diff(loss.values)) / 10
    assert found.curves[2].smooth == ()


def test_a_smooth_curve_needs_no_second_line() -> None:
    clean = series(descent(300))
    assert exhibits(run(clean), evidence((clean,))).curves[0].smooth == ()


def test_nan_stays_and_hidden_nan_shows() -> None:
    broken = series([2.0, 1.5, math.nan, math.inf])
    values = exhibits(run(broken), evidence((broken,))).curves[0].values
    assert values[:2] == (2.0, 1.5)
    assert math.isnan(values[2])
    assert values[3] == math.inf
    hidden = series([2.3, 2.0, 1.8, 0.0, 0.0, 0.0])
    assert all(math.isnan(v) for v in exhibits(run(hidden), evidence((hidden,))).curves[0].values[3:])


def test_no_more_curves_than_a_page_bears() -> None:
    every = tuple(series([1.0, 2.0], f"other/{i:03}") for i in range(60))
    assert len(exhibits(run(*every), evidence(every)).curves) == MOST_CURVES


def test_levels() -> None:
    accuracy, percent, norm = series([0.1, 0.6], "train/accuracy"), series([10.0, 60.0], "val/accuracy"), series([1.0, 2.0], "grad_norm")
    found = exhibits(run(), evidence((LOSS, accuracy, percent, norm), settings=(setting("gradient_clip_norm", 1.0),))).levels
    assert {(v.curve, round(v.value, 3)) for v in found} == {
        ("train/loss", 2.303),
        ("train/accuracy", 0.1),
        ("val/accuracy", 10.0),
        ("grad_norm", 1.0),
    }
    assert exhibits(run(), evidence((LOSS,), chance=Chance(None, None, None, ""))).levels == ()


def test_accuracies_of_one_plot_have_one_unit() -> None:
    bar, printed, loss = series([40.0, 97.6], "train/accuracy"), series([0.4, 0.976], "val/accuracy"), series([60.0, 2.4], "train/loss")
    drawn = exhibits(run(bar, printed, loss), evidence((bar, printed, loss)))
    assert {c.name: c.values for c in drawn.curves} == {
        "train/loss": (60.0, 2.4),
        "train/accuracy": pytest.approx((0.4, 0.976)),
        "val/accuracy": (0.4, 0.976),
    }
    assert {v.curve: v.value for v in drawn.levels if v.curve.endswith("accuracy")} == {"train/accuracy": 0.1, "val/accuracy": 0.1}
    both = series([40.0, 97.6], "val/accuracy")
    assert exhibits(run(bar, both), evidence((bar, both))).curves[0].values == (40.0, 97.6)  # nothing to agree with


def test_heatmaps_of_layers_by_checkpoints() -> None:
    found = {h.quantity: h for h in exhibits(run(), evidence((), CHECKPOINTS)).heatmaps}
    change = found["relative-change"]
    assert change.layers == ("layer0.weight", "layer1.weight", "layer2.weight")
    assert change.columns == ("0", "50", "100")
    assert change.values[1] == (None, 0.2, 0.2)
    assert found["gradient-rms"].values[2] == (0.01, 0.01, 0.01)
    assert found["rms"].values[0] == (0.1, 0.1, 0.1)
    assert found["zero-share"].values[0] == (0.25, 0.25, 0.25)
    assert "non-finite" not in found  # nothing to see
    broken = {h.quantity: h for h in exhibits(run(), evidence((), (*CHECKPOINTS, checkpoint(150, nan=3)))).heatmaps}
    assert broken["non-finite"].values[0] == (0.0, 0.0, 0.0, 3.0)


def test_many_layers_and_checkpoints_are_thinned_evenly() -> None:
    many = tuple(checkpoint(float(i), 300) for i in range(100))
    found = exhibits(run(), evidence((), many))
    assert all(len(h.layers) == MOST_LAYERS and len(h.columns) == MOST_COLUMNS for h in found.heatmaps)
    assert (found.heatmaps[0].layers[0], found.heatmaps[0].layers[-1]) == ("layer0.weight", "layer299.weight")
    assert (found.heatmaps[0].columns[0], found.heatmaps[0].columns[-1]) == ("0", "99")
    huge = exhibits(run(), evidence((), (checkpoint(1.0, 1500),)))
    assert len(huge.tensors) == MOST_ROWS


def test_a_broken_tensor_is_never_left_out_of_the_table() -> None:
    last = checkpoint(1.0, 3000)
    broken = replace(last, tensors=tuple(replace(t, nan=1) if t.name == "layer1234.weight" else t for t in last.tensors))
    assert "layer1234.weight" in {r.name for r in exhibits(run(), evidence((), (broken,))).tensors}


def test_distributions_keep_their_counts() -> None:
    found = exhibits(run(), evidence((), CHECKPOINTS)).distributions
    assert {d.checkpoint for d in found} == {"0", "100"}
    assert {d.layer for d in found} == {"layer0.weight", "layer1.weight", "layer2.weight"}
    for d in found:
        assert len(d.edges) == len(d.counts) + 1 <= BINS + 1
        assert sum(d.counts) == 200
        assert (d.edges[0], d.edges[-1]) == (-1, 1)


def test_depth_and_rows() -> None:
    found = exhibits(run(), evidence((), CHECKPOINTS))
    gradient = [d for d in found.depths if d.quantity == "gradient-rms"]
    assert [(d.checkpoint, d.source) for d in gradient] == [("0", "adam"), ("100", "adam")]
    assert gradient[-1].values == (1.0, 0.1, 0.01)
    assert [d.checkpoint for d in found.depths if d.quantity == "relative-change"] == ["50", "100"]
    row = next(r for r in found.tensors if r.name == "layer1.weight")
    assert (row.relative_change, row.gradient_rms, row.zero_share, row.non_finite) == (0.2, 0.1, 0.25, 0)
    assert next(r for r in found.tensors if r.name == "layer0.bias").gradient_rms is None


def test_marks() -> None:
    y = descent(200, noise=0.01)
    y[120] = 9
    every = (series(y), series([1.0, 0.5, 0.7], "val/loss", steps=[50, 100, 150]), series(np.r_[np.linspace(0, 1, 20), np.ones(180)], "lr"))
    found = marks(
        evidence(
            every,
            (replace(checkpoint(150.0), tensors=(tensor("w", nan=1),)),),
            saved=(
                Checkpoint("a.pt", "torch-zip", Status.READ, step=50),
                Checkpoint("step_150.0.pt", "torch-zip", Status.READ, step=150),
                Checkpoint("c.pt", "torch-zip", Status.FAILED, step=180),
                Checkpoint("d.pt", "torch-zip", Status.READ),
            ),
            events=(LogEvent(EventKind.RESUMED, "Resuming", "log", step=70),),
            attempts=(Attempt(40, 199, resumed_from=40),),
            schedule=schedule_stats(every[2], ()),
            outcome="crashed",
            last_step=199,
        ),
        onset=118,
        visible_from=110,
    )
    assert {(m.step, m.kind) for m in found} == {
        (118, "onset"), (110, "visible"), (120, "spike"), (40, "resume"), (70, "resume"), (50, "checkpoint"), (150, "bad-checkpoint"), (180, "bad-checkpoint"),
        (100, "best-validation"), (199, "crash"), (19, "lr-phase"),
    }  # fmt: skip
    assert [m.step for m in found] == sorted(m.step for m in found)


def test_where_the_loss_turned_and_where_validation_left_it() -> None:
    at = np.arange(200)
    rising = series(np.where(at < 120, 3 - at / 60, 1 + (at - 120) / 20) + 0.01 * (-1.0) ** at)
    stats = curve_stats(rising)
    assert stats.turn_step is not None
    assert abs(stats.turn_step - 120) <= 5
    found = {m.kind: m.step for m in marks(evidence((rising,)))}
    assert found["turn"] == stats.turn_step
    assert "turn" not in {m.kind for m in marks(evidence((rising,)), onset=stats.turn_step)}
    train = series(3 - at / 80)
    for apart in (0.0, 0.02):
        ends = np.array([3 - s / 80 + apart * max(s - 100, 0) for s in range(10, 200, 10)])
        gap = gap_stats(train, series(ends, "val/loss", steps=list(range(10, 200, 10))))
        assert ("gap" in {m.kind for m in marks(evidence((train,), gap=gap))}) == (apart > 0)


def test_marks_without_anything() -> None:
    assert marks(evidence(())) == ()
    assert exhibits(run(), evidence(())) == Exhibits()


def test_exhibits_travel_in_json() -> None:
    found = exhibits(run(LOSS), evidence((LOSS,), CHECKPOINTS), marks(evidence((LOSS,)), onset=3))
    assert decode(Exhibits, encode(found)) == found


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_curves(n: int) -> None:
    tiny = series(np.ones(n))
    assert len(exhibits(run(tiny), evidence((tiny,))).curves[0].values) == n
