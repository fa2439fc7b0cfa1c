"""How tensors moved between checkpoints, against the definitions in long double."""

import math
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.tally import Plain
from postmortem.measure.updates import Movement
from tests.measure.raw import checkpoint, run_of

RNG = np.random.default_rng(9)
MAGNITUDES = [("float32", 1.0), ("float32", 1e-23), ("float32", 3e19), ("float32", 1e-42), ("float16", 1e-3), ("float64", 1e-100), ("float64", 1e120),
              ("float64", 1e-250), ("float64", 1e200), ("float64", 1e305)]  # fmt: skip


def norm(values: np.ndarray) -> np.longdouble:
    return np.sqrt((values.astype(np.longdouble) ** 2).sum())


@pytest.mark.parametrize("way", ["held", "counted", "compiled"])
@pytest.mark.parametrize(("dtype", "size"), MAGNITUDES)
def test_every_figure_of_a_movement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, size: float, way: str) -> None:
    monkeypatch.setattr(trajectory, "DIRECT", 1 << 17 if way == "held" else 0)
    monkeypatch.setattr(checkpoints, "COMPILED_FROM", 0 if way == "compiled" else 1 << 60)
    states = [(RNG.standard_normal((40, 50)) * size).astype(dtype)]
    states += [(states[0] * 1.25).astype(dtype), (states[0] + RNG.standard_normal((40, 50)) * size).astype(dtype)]
    states.append(states[-1].copy())
    run = run_of(tmp_path, *(checkpoint(tmp_path, f"{i}", {"w.weight": w}, step=10.0 + 5 * i) for i, w in enumerate(states)))
    updates = [s.updates[0] for s in measure_checkpoints(run)[0][1:]]
    wide = [w.astype(np.longdouble) for w in states]
    for i, found in enumerate(updates):
        a, b = wide[i], wide[i + 1]
        assert (found.name, found.from_step, found.to_step, found.steps) == ("w.weight", 10 + 5 * i, 15 + 5 * i, 5)
        assert found.identical == bool((a == b).all())
        assert found.relative_change == pytest.approx(float(norm(b - a) / norm(a)), rel=1e-6)
        assert found.rms == pytest.approx(float(norm(b - a) / math.sqrt(2000)), rel=1e-6, abs=0)
        assert found.norm_ratio == pytest.approx(float(norm(b) / norm(a)), rel=1e-6)
        assert found.change_per_step == pytest.approx(found.relative_change / 5)
        assert found.growth_per_step == pytest.approx(math.log(norm(b) / norm(a)) / 5, abs=1e-7)
    assert [u.cosine for u in (updates[0], updates[2])] == [None, None]  # nothing before; nothing moved
    turn = ((wide[2] - wide[1]) * (wide[1] - wide[0])).sum() / norm(wide[2] - wide[1]) / norm(wide[1] - wide[0])
    assert updates[1].cosine == pytest.approx(float(turn), abs=1e-6)


def test_what_is_nothing_or_not_finite() -> None:
    def of(a: list[float], b: list[float]) -> tuple[float, float, float]:
        found = Movement()
        with np.errstate(all="ignore"):
            found.add(np.array(a, np.float32), np.array(b, np.float32), None, Plain())
        return found.relative_change, found.norm_ratio, found.rms

    assert of([0, 0], [0, 0]) == (0, 1, 0)
    assert of([0, 0], [3, 4]) == (math.inf, math.inf, pytest.approx(5 / math.sqrt(2)))
    assert of([3, 4], [0, 0]) == (1, 0, pytest.approx(5 / math.sqrt(2)))
    assert all(math.isnan(v) for v in of([1, math.nan], [1, 2]))
    assert of([1, 2], [1, math.inf]) == (math.inf, math.inf, math.inf)
    assert math.isnan(of([], [])[2])


@pytest.mark.parametrize("sizes", [(1e200, 1.0), (1.0, 1e200), (1e-250, 1.0), (0.0, 1e-250), (1e-250, 1e200), (1e200, math.inf)])
def test_blocks_of_any_magnitudes_add_up(sizes: tuple[float, float]) -> None:
    blocks = [(size * RNG.standard_normal(9), size * RNG.standard_normal(9), size * RNG.standard_normal(9)) for size in sizes]
    one, parts = Movement(), [Movement(), Movement()]
    with np.errstate(all="ignore"):
        for (a, b, z), part in zip(blocks, parts, strict=True):
            one.add(a, b, z, Plain())
            part.add(a, b, z, Plain())
        parts[0].merge(parts[1])
        a, b = (np.concatenate([blocks[0][i], blocks[1][i]]) for i in (0, 1))
        expected = (
            float(norm(b - a.astype(np.longdouble)) / norm(a)),
            float(norm(b) / norm(a)),
            float(norm(b - a.astype(np.longdouble)) / math.sqrt(18)),
        )
    for found in (one, parts[0]):
        assert (found.relative_change, found.norm_ratio, found.rms) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_only_decay_shrinks_all_elements_alike(tmp_path: Path) -> None:
    w = RNG.standard_normal((20, 30)).astype(np.float32)
    noise = RNG.standard_normal((20, 30)).astype(np.float32)
    for after, expected in (
        (w * np.float32(0.9), True),
        (w * np.float32(1.1), False),
        (w * np.float32(0.9) + noise * np.float32(0.05), False),
        (w, False),
    ):
        run = run_of(tmp_path, *(checkpoint(tmp_path, f"{i}", {"w.weight": x}, step=i) for i, x in enumerate((w, after))))
        assert measure_checkpoints(run)[0][1].updates[0].only_shrank == expected
