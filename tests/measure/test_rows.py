"""Rows of large tensors, told from some of their columns, against comparing them whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.reading import TensorFiles, rows_of
from postmortem.measure.rows import ALIKE, FEW, MANY, PROBED, SIEVED_FROM, RowFacts, RowSample, read_rows, row_facts, still_rows
from tests.measure.raw import RawFile, checkpoint, run_of

RNG = np.random.default_rng(11)


def sample(values: np.ndarray, *, outputs_last: bool, block: int, columns: int = PROBED) -> RowSample:
    made = RowSample.of(values.shape, values.dtype, outputs_last=outputs_last, columns=columns)
    assert made is not None
    flat = values.reshape(-1)
    for start in range(0, len(flat), block):
        made.add(flat[start : start + block])
    return made


def sampled_facts(values: np.ndarray, *, outputs_last: bool, block: int) -> RowFacts:
    matrix = values if outputs_last else values.T
    return sample(values, outputs_last=outputs_last, block=block).facts(
        lambda raw: raw, float(np.abs(values).max()), int(np.count_nonzero(values == 0)), lambda rows: matrix[:, rows].T
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


@given(st.integers(0, 2**32 - 1), st.integers(2, 90), st.integers(33, 120))
@settings(max_examples=60, deadline=None)
def test_rows_of_one_number_each_are_told_apart_by_where_it_stands(seed: int, rows: int, inner: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = np.zeros((rows, inner), np.float32)
    matrix[np.arange(rows), rng.integers(0, inner, rows)] = 0.5
    found = row_facts(matrix.reshape(-1), matrix.shape, outputs_last=False)
    assert found is not None
    assert (found.dead, found.identical) == slow(matrix)


def test_of_thousands_of_rows_those_that_have_no_equal_are_left_out_first() -> None:
    matrix = RNG.standard_normal((SIEVED_FROM + 900, 20)).astype(np.float32)
    matrix[[5, 900, 4000]] = matrix[8000]
    matrix[17] = matrix[3] * np.float32(1 + 1e-6)
    matrix[40:60] = 0
    found = row_facts(matrix.reshape(-1), matrix.shape, outputs_last=False)
    assert found == RowFacts(20 / len(matrix), 6 / len(matrix), all_alike=False, repeated=1)


def test_rows_that_differ_only_where_nothing_was_kept_at_first() -> None:
    matrix = np.zeros((50, 4096), np.float32)
    matrix[:, :8] = matrix[:, 2048:2056] = 1  # the same in every column of a first sample
    matrix[:, 8:200] = RNG.standard_normal((50, 192))
    assert len(sample(matrix, outputs_last=False, block=1000).kept) == PROBED
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


@pytest.mark.parametrize("kind", ["distinct", "twins", "the same", "dead", "few dead"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_rows_that_repeat_cost_no_second_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, dtype: type) -> None:
    matrix = RNG.standard_normal((20_000, 64)).astype(dtype)
    if kind == "twins":
        matrix[10_000:] = matrix[:10_000]
    elif kind == "the same":
        matrix[:] = matrix[0]
    elif kind != "distinct":
        matrix[:: 10 if kind == "dead" else 5000] = 0
    read = []
    fill = TensorFiles._fill
    monkeypatch.setattr(TensorFiles, "_fill", lambda files, ref, view, offset: (read.append(len(view)), fill(files, ref, view, offset)))
    stats, _, _ = measure_checkpoints(run_of(tmp_path, checkpoint(tmp_path, "1", {"fc.weight": matrix}, step=1)))
    found = stats[0].tensors[0]
    expected = {"twins": (0.0, 1.0), "the same": (0.0, 1.0), "dead": (0.1, 0.0), "few dead": (0.0002, 0.0)}.get(kind, (0.0, 0.0))
    assert (found.dead_rows, found.identical_rows) == pytest.approx(expected)
    assert matrix.nbytes <= sum(read) <= matrix.nbytes + 2 * FEW[0] * matrix[0].nbytes


@pytest.mark.parametrize("last", [False, True])
def test_candidates_that_do_not_hold_are_judged_by_some_of_them(last: bool) -> None:
    rows, inner, differ = 24_000, 192, 0.3
    matrix = RNG.standard_normal((rows, inner)).astype(np.float32)
    matrix[rows // 2 :] = matrix[: rows // 2]
    changed = np.flatnonzero(RNG.random(rows // 2) < differ)
    matrix[changed, inner // 2 - 1] += 1  # a column that the sample does not hold
    asked = []

    def read(some: np.ndarray) -> np.ndarray:
        asked.append(len(some))
        return matrix[some]

    made = sample(np.ascontiguousarray(matrix.T) if last else matrix, outputs_last=last, block=1 << 18)
    found = made.facts(lambda raw: raw, float(np.abs(matrix).max()), 0, read)
    assert found.identical == pytest.approx(1 - 2 * len(changed) / rows, abs=0.03)  # 4 standard deviations
    assert FEW[0] <= max(asked) <= MANY[0] < rows
    assert sum(asked) <= FEW[0] + MANY[0]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("form", ["file", "inline", "pieces"])
def test_rows_alone(tmp_path: Path, last: bool, form: str) -> None:
    values = RNG.standard_normal((50, 30)).astype(np.float32)
    ref = RawFile(tmp_path, "file").add("w", values)
    if form == "inline":
        ref = replace(ref, inline=values.tobytes())
    elif form == "pieces":
        ref = replace(ref, pieces=(rows_of(ref, 0, 17), rows_of(ref, 17, 50)))
    rows = np.array([0, 3, 4, 16, 17, 29])
    with TensorFiles(tmp_path, block=41) as files:
        found = read_rows(files, ref, rows, outputs_last=last)
    assert np.array_equal(found, (values.T if last else values)[rows])


def slow_repeat(values: np.ndarray) -> int:
    """The longest stretch of rows that stands there once more without overlapping itself, by trying all."""
    n = len(values)
    return max(
        k
        for d in range(1, n)
        for i in range(n - d)
        for k in range(min(d, n - d - i) + 1)
        if np.array_equal(values[i : i + k], values[i + d : i + d + k])
    )


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(("heads", "width", "same"), [(4, 8, (0, 2)), (4, 8, (2, 3)), (3, 16, (0, 1)), (4, 8, None)])
def test_a_head_that_another_one_equals(large: bool, heads: int, width: int, same: tuple[int, int] | None) -> None:
    values = RNG.standard_normal((heads * width, 64)).astype(np.float32)
    if same is not None:
        one, other = (slice(h * width, (h + 1) * width) for h in same)
        values[one] = values[other]
    values[1] = values[heads * width - 1]  # a pair of rows is no head
    facts = sampled_facts(values, outputs_last=False, block=1000) if large else row_facts(values.reshape(-1), values.shape, outputs_last=False)
    assert facts is not None
    assert facts.repeated == slow_repeat(values)
    assert facts.repeated >= width - 2 if same is not None else facts.repeated == 1


def test_a_stretch_does_not_overlap_itself() -> None:
    values = np.tile(RNG.standard_normal((1, 20)).astype(np.float32), (12, 1))
    facts = row_facts(values.reshape(-1), values.shape, outputs_last=False)
    assert facts is not None
    assert facts.all_alike
    assert facts.repeated <= 6


@given(st.integers(0, 2**32 - 1), st.integers(2, 20), st.integers(1, 30), st.sampled_from([1e-30, 1.0, 1e30]), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_the_mean_cosine_is_that_over_all_pairs(seed: int, rows: int, inner: int, scale: float, common: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = ((common * rng.standard_normal(inner) + rng.standard_normal((rows, inner))) * scale).astype(np.float32)
    matrix[rng.random(rows) < 0.2] = 0
    units = [row.astype(np.float64) / np.linalg.norm(row.astype(np.float64)) for row in matrix if row.any()]
    pairs = [float(units[i] @ units[j]) for i in range(len(units)) for j in range(i)]
    found = row_facts(matrix.reshape(-1), matrix.shape, outputs_last=False)
    assert found is not None
    assert found.cosine == (pytest.approx(np.mean(pairs), abs=1e-6) if pairs else None)


@pytest.mark.parametrize("common", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("rows", [300, 9000])
def test_some_columns_tell_whether_all_rows_point_one_way(common: float, rows: int) -> None:
    matrix = (common * RNG.standard_normal(200) + RNG.standard_normal((rows, 200))).astype(np.float32)
    matrix[5] = 0
    whole = row_facts(matrix.reshape(-1), matrix.shape, outputs_last=False)
    found = sampled_facts(matrix, outputs_last=False, block=5000)
    assert whole is not None
    assert whole.cosine == pytest.approx(common**2 / (1 + common**2), abs=0.1)
    assert found.cosine == pytest.approx(whole.cosine, abs=0.01 if not common else 0.25)
    planted = matrix.copy()
    planted[7] = planted[9]
    assert sampled_facts(planted, outputs_last=False, block=5000).cosine == pytest.approx(found.cosine, abs=0.01)


def test_what_is_not_finite_has_no_direction() -> None:
    found = row_facts(np.array([1, 2, np.nan, 4], np.float32), (2, 2), outputs_last=False)
    assert found is not None
    assert found.cosine is None
