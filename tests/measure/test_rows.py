"""Rows of large tensors, told from some of their columns, against comparing them whole."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.rows import ALIKE, CONFIRMED, PROBED, RowFacts, RowSample, row_facts, still_rows
from tests.measure.raw import checkpoint, run_of

RNG = np.random.default_rng(11)


def sample(values: np.ndarray, *, outputs_last: bool, block: int, columns: int = PROBED) -> RowSample:
    made = RowSample.of(values.shape, values.dtype, outputs_last=outputs_last, columns=columns)
    assert made is not None
    flat = values.reshape(-1)
    for start in range(0, len(flat), block):
        made.add(flat[start : start + block])
    return made


def sampled_facts(values: np.ndarray, *, outputs_last: bool, block: int) -> RowFacts:
    return sample(values, outputs_last=outputs_last, block=block).facts(
        lambda raw: raw, float(np.abs(values).max()), lambda n: sample(values, outputs_last=outputs_last, block=block, columns=n)
    )


@given(st.integers(1, 40), st.integers(1, 90), st.integers(1, 400), st.booleans(), st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_a_sample_holds_whole_columns_wherever_blocks_end(units: int, inner: int, block: int, last: bool, columns: int) -> None:
    values = np.arange(units * inner, dtype=np.float32).reshape((inner, units) if last else (units, inner))
    kept = sample(values, outputs_last=last, block=block, columns=columns).kept
    rows = values if last else values.T
    assert kept.shape[1] == units
    assert 1 <= len(kept) <= min(columns, inner)
    places = [int(np.flatnonzero(rows[:, 0] == k[0])[0]) for k in kept]
    assert len(set(places)) == len(places)
    assert np.array_equal(kept, rows[places])
    if columns >= inner:
        assert sorted(places) == list(range(inner))


def slow(matrix: np.ndarray) -> tuple[float, float]:
    """Shares of dead and of twin rows, pair by pair."""
    tolerance = ALIKE * np.abs(matrix).max()
    dead = [not row.any() for row in matrix]
    twins = [
        not dead[i] and any(j != i and not dead[j] and np.abs(matrix[i] - matrix[j]).max() <= tolerance for j in range(len(matrix)))
        for i in range(len(matrix))
    ]
    return float(np.mean(dead)), float(np.mean(twins))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("inner", [5, 300, 2000])
def test_twins_and_the_dead(last: bool, inner: int) -> None:
    matrix = RNG.standard_normal((60, inner)).astype(np.float32)
    matrix[[3, 40]] = 0
    matrix[17] = matrix[50]
    matrix[[20, 21, 22]] = matrix[5]
    dead, twins = slow(matrix)
    values = np.ascontiguousarray(matrix.T) if last else matrix
    found = sampled_facts(values, outputs_last=last, block=777)
    assert (found.dead, found.identical, found.all_alike) == (dead, twins, False)
    assert row_facts(values.reshape(-1), values.shape, outputs_last=last) == found


def test_rows_that_differ_only_where_nothing_was_kept_at_first() -> None:
    matrix = np.zeros((50, 4096), np.float32)
    matrix[:, :8] = matrix[:, 2048:2056] = 1  # the same in every column of a first sample
    matrix[:, 8:200] = RNG.standard_normal((50, 192))
    assert len(sample(matrix, outputs_last=False, block=1000).kept) == PROBED
    assert len(sample(matrix, outputs_last=False, block=1000, columns=CONFIRMED).kept) == CONFIRMED
    assert sampled_facts(matrix, outputs_last=False, block=1000) == RowFacts(0.0, 0.0, all_alike=False)


@pytest.mark.parametrize("along", [0, 1])
def test_symmetry_that_was_never_broken(along: int) -> None:
    one = RNG.standard_normal((1, 700) if along == 0 else (90, 1)).astype(np.float32)
    matrix = np.ascontiguousarray(np.broadcast_to(one, (90, 700)))
    assert sampled_facts(matrix, outputs_last=False, block=5000).all_alike
    matrix[7, 300] += 1
    assert not row_facts(matrix.reshape(-1), matrix.shape, outputs_last=False).all_alike


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_words_that_never_came_do_not_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, dtype: type) -> None:
    if large:
        monkeypatch.setattr(trajectory, "DIRECT", 0)
        monkeypatch.setattr(checkpoints, "LEAST_BLOCK", 999)
        monkeypatch.setattr(checkpoints, "BUFFERS", 0)
    before = RNG.standard_normal((100, 48)).astype(dtype)
    after = before.copy()
    after[:75] += dtype(0.5)
    tensors = ({"emb.weight": before, "fc.weight": before, "fc.bias": before[0]}, {"emb.weight": after, "fc.weight": before, "fc.bias": after[0]})
    stats, _, _ = measure_checkpoints(run_of(tmp_path, *(checkpoint(tmp_path, f"{i}", t, step=10 * i) for i, t in enumerate(tensors, 1))))
    moved = {u.name: u for u in stats[1].updates}
    assert (moved["emb.weight"].still_rows, moved["fc.weight"].still_rows, moved["fc.bias"].still_rows) == (0.25, 1.0, None)
    norm = np.linalg.norm(before.astype(np.float64))
    assert moved["emb.weight"].change_per_step == pytest.approx(np.linalg.norm(after.astype(np.float64) - before) / norm / 10, rel=1e-6)
    assert moved["emb.weight"].growth_per_step == pytest.approx(np.log(np.linalg.norm(after.astype(np.float64)) / norm) / 10, rel=1e-6)


def test_a_nan_changes_nothing_about_bits() -> None:
    values = np.full((4, 3), np.nan, np.float32)
    assert still_rows(values, values.copy()) == 1.0
    assert still_rows(values, values.astype(np.float64)) is None
    assert still_rows(values, values[:, :2]) is None
    assert still_rows(values[:0], values[:0]) is None
