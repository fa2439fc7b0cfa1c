"""Bytes of tensors: any stride, pieces, inline data, files that end too early."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.measure import kernels, reading
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.measure.tally import Tally
from postmortem.model.run import TensorRef
from tests.measure.raw import RawFile


@pytest.fixture
def base(tmp_path: Path) -> tuple[Path, np.ndarray]:
    values = np.arange(5000, dtype=np.float32)
    RawFile(tmp_path, "t.bin", pad=5).add("t", values)
    return tmp_path, values


def ref(shape: tuple[int, ...], strides: tuple[int, ...], start: int = 0, **more: object) -> TensorRef:
    return replace(TensorRef("t", "t.bin", 5 + 4 * start, "float32", shape, strides, 4 * int(np.prod(shape))), **more)


def expected(values: np.ndarray, tensor: TensorRef) -> np.ndarray:
    start = (tensor.offset - 5) // 4
    return np.lib.stride_tricks.as_strided(values[start:], tensor.shape, tuple(4 * s for s in tensor.strides)).reshape(-1)


@pytest.mark.parametrize(
    ("shape", "strides", "start"),
    [
        ((10, 20), (20, 1), 0), ((10, 20), (1, 10), 3), ((4, 5, 6), (30, 6, 1), 7), ((4, 5, 6), (1, 24, 4), 0), ((10,), (7,), 1), ((3, 4), (0, 1), 2),
        ((), (), 9), ((0, 3), (3, 1), 0), ((1, 5), (999, 1), 0), ((5, 1), (1, 77), 0), ((2, 3, 4), (100, 20, 2), 11), ((50, 60), (1, 50), 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("block", [7, 64, 1 << 18])
@pytest.mark.parametrize("span", [64, 300, 1 << 26])
def test_any_layout(
    base: tuple[Path, np.ndarray],
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    start: int,
    block: int,
    span: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, values = base
    monkeypatch.setattr(reading, "SPAN_BYTES", span)
    tensor = ref(shape, strides, start)
    with TensorFiles(root, block) as files:
        parts = [np.array(b) for b in files.blocks(tensor)]
    found = np.concatenate(parts) if parts else np.empty(0, np.float32)
    wanted = expected(values, tensor)
    assert all(len(p) <= block for p in parts)
    if span < 1 << 20:  # beyond the limit a permuted tensor comes in the order of the file
        assert sorted(found.tolist()) == sorted(wanted.tolist())
    else:
        assert found.tolist() == wanted.tolist()


def test_memory_is_bounded_for_a_sparse_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SPAN_BYTES", 4096)
    with (tmp_path / "t.bin").open("wb") as file:
        file.truncate(5 + 4 * 10_000_000)
    with TensorFiles(tmp_path, 256) as files:
        assert sum(len(b) for b in files.blocks(ref((10, 3), (1_000_000, 300_000)))) == 30


def test_pieces_follow_one_another(base: tuple[Path, np.ndarray]) -> None:
    root, values = base
    whole = TensorRef("t", "", 0, "float32", (4, 10), (10, 1), 160, pieces=(ref((2, 10), (10, 1), 100), ref((2, 10), (10, 1), 0)))
    with TensorFiles(root) as files:
        assert files.whole(whole).tolist() == [*values[100:120], *values[:20]]


def test_inline_bytes(tmp_path: Path) -> None:
    values = np.arange(100, dtype=np.float64)
    tensor = TensorRef("t", "", 0, "float64", (100,), (1,), 800, inline=values.tobytes())
    with TensorFiles(tmp_path, 30) as files:
        assert files.whole(tensor).tolist() == values.tolist()
        with pytest.raises(NotWholeError):
            files.whole(replace(tensor, inline=values.tobytes()[:-1]))


@pytest.mark.parametrize("bad", [
    {"offset": 5 + 4 * 4999, "shape": (2,), "strides": (1,)}, {"file": "none.bin"}, {"dtype": "object"}, {"dtype": "no such"}, {"dtype": "V4"}, {"dtype": "<U1"},
    {"shape": (10, 10), "strides": (10,)}, {"shape": (10,), "strides": (-1,)}, {"shape": (3,), "strides": (4000,)}, {"file": "."}, {"dtype": "datetime64[s]"},
])  # fmt: skip
def test_what_is_not_there_is_said(base: tuple[Path, np.ndarray], bad: dict[str, object]) -> None:
    with TensorFiles(base[0]) as files, pytest.raises(NotWholeError):
        files.whole(ref(**({"shape": (10,), "strides": (1,)} | bad)))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.bin")
    with TensorFiles(tmp_path) as files, pytest.raises(NotWholeError, match="regular"):
        files.whole(ref((10,), (1,)))


def test_a_file_that_shrinks_is_noticed(base: tuple[Path, np.ndarray]) -> None:
    root, _ = base
    with TensorFiles(root, 16) as files:
        blocks = files.blocks(ref((5000,), (1,)))
        next(blocks)
        (root / "t.bin").write_bytes(b"\0" * 100)
        with pytest.raises(NotWholeError):
            list(blocks)


def test_many_files_stay_within_the_limit_of_open_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OPEN_FILES", 3)
    refs = [RawFile(tmp_path, f"{i}.bin").add("t", np.full(40, i, np.float32)) for i in range(10)]
    with TensorFiles(tmp_path, 16) as files:
        streams = [files.blocks(r, slot) for slot, r in enumerate(refs)]
        for _ in range(2):
            assert [float(next(s)[0]) for s in streams] == list(range(10))
        assert len(files._open) <= 3


@given(st.integers(0, 2), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_reference_gives_numbers_or_an_error(base: tuple[Path, np.ndarray], rank: int, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(0, 40)) for _ in range(rank))
    strides = tuple(data.draw(st.integers(0, 60)) for _ in range(rank))
    tensor = ref(shape, strides, data.draw(st.integers(0, 5000)))
    with TensorFiles(base[0], 13) as files:
        try:
            found = files.whole(tensor)
        except NotWholeError:
            return
    assert found.tolist() == expected(base[1], tensor).tolist()


def test_an_expanded_tensor_does_not_go_on_for_ever(base: tuple[Path, np.ndarray]) -> None:
    with TensorFiles(base[0]) as files, pytest.raises(NotWholeError, match="places"):
        next(files.blocks(ref((1 << 40, 3), (0, 1))))


def test_blocks_can_be_handed_to_compiled_loops(base: tuple[Path, np.ndarray]) -> None:
    root, values = base
    inline = TensorRef("t", "", 0, "float32", (100,), (1,), 400, inline=values[:100].tobytes())
    for tensor in (inline, ref((10, 10), (1, 10)), ref((10, 10), (20, 1)), ref((10, 10), (10, 1))):
        with TensorFiles(root, 32) as files:
            tally = Tally("float32")
            for block in files.blocks(tensor):
                assert block.flags.writeable
                assert block.flags.c_contiguous
                tally.add(block, kernels)
            assert tally.count == 100
