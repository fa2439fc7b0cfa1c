import io
import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.sources.checkpoints.npz import READER, header
from postmortem.sources.reader import Candidate, Found


def found(path: Path) -> Found:
    candidate = Candidate(path.parent, path.name, path.stat().st_size, path.read_bytes()[:4096])
    assert READER.claims(candidate)
    return READER.read(candidate)


def checkpoint(path: Path) -> Checkpoint:
    (one,) = found(path).checkpoints
    return one


def values(root: Path, ref: TensorRef) -> np.ndarray:
    data = ref.inline if ref.inline is not None else (root / ref.file).read_bytes()[ref.offset : ref.offset + ref.nbytes]
    flat = np.frombuffer(data, ref.dtype)
    return np.lib.stride_tricks.as_strided(flat, ref.shape, tuple(s * flat.itemsize for s in ref.strides))


TYPES = ["f2", "f4", "f8", ">f4", ">i8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "c8", "c16"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_as_numpy_writes_them(tmp_path: Path, save: object) -> None:
    held = {f"encoder_l1_{t.strip('>?')}{i}": np.arange(12).reshape(3, 4).astype(t) for i, t in enumerate(TYPES)}
    held |= {
        "scalar": np.float32(3),
        "empty": np.zeros((0, 5)),
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "many/parts": np.ones((1,) * 20),
    }
    save(tmp_path / "model.iter500.npz", **held)  # type: ignore[operator]
    one = checkpoint(tmp_path / "model.iter500.npz")
    assert (one.status, one.detail, one.step) == (Status.READ, None, 500.0)
    assert [r.name for r in one.tensors] == list(held)
    for ref in one.tensors:
        assert ref.shape == held[ref.name].shape
        assert np.array_equal(values(tmp_path, ref), held[ref.name])
        assert ref.dtype == held[ref.name].dtype.newbyteorder("=").name


def test_pickled_objects_are_not_opened(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (Path(tmp_path / "touched"),)  # type: ignore[return-value]

    np.savez(tmp_path / "a.npz", good=np.ones(3), bad=np.array([Evil()], object))
    one = checkpoint(tmp_path / "a.npz")
    assert ([r.name for r in one.tensors], one.status) == (["good"], Status.PARTIAL)
    assert "bad" in str(one.detail)
    np.save(tmp_path / "b.npy", np.array([Evil()], object))
    assert found(tmp_path / "b.npy").source.status is Status.SKIPPED
    assert not (tmp_path / "touched").exists()


def test_evaluations_of_a_policy_are_a_curve(tmp_path: Path) -> None:
    np.savez(tmp_path / "evaluations.npz", timesteps=np.arange(3) * 100, results=np.arange(15.0).reshape(3, 5), ep_lengths=np.ones((3, 5)))
    got = found(tmp_path / "evaluations.npz")
    one, lengths = got.series
    assert (got.checkpoints, one.name, lengths.name) == ((), "val/reward", "other/ep_lengths")
    assert lengths.values.tolist() == [1, 1, 1]
    assert (one.steps.tolist(), one.values.tolist()) == ([0, 100, 200], [2, 7, 12])


def test_results_are_no_checkpoint(tmp_path: Path) -> None:
    np.savez(tmp_path / "predictions.npz", y_pred=np.ones(3), y_true=np.ones(3))
    got = found(tmp_path / "predictions.npz")
    assert (got.checkpoints, got.source.status) == ((), Status.SKIPPED)
    np.save(tmp_path / "embeddings.npy", np.ones((5, 4)))
    assert "5×4 float64" in str(found(tmp_path / "embeddings.npy").source.detail)


def test_cut_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.ones(1000), b=np.ones(1000))
    data = path.read_bytes()
    for length in (0, 3, 40, 8_000, len(data) - 10):
        path.write_bytes(data[:length])
        one = checkpoint(path)
        assert (one.status, one.truncated) == (Status.FAILED, True)
    np.save(tmp_path / "a.npy", np.ones(100))
    cut = (tmp_path / "a.npy").read_bytes()
    for length in (500, 60, 8):
        (tmp_path / "a.npy").write_bytes(cut[:length])
        assert found(tmp_path / "a.npy").source.status is Status.FAILED


def written(text: str, version: int = 1) -> bytes:
    data = text.encode("latin-1")
    return b"\x93NUMPY" + bytes([version, 0]) + (struct.pack("<H", len(data)) if version == 1 else struct.pack("<I", len(data))) + data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (written("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"), "odd"),
        (written("{'descr': '<f4', 'fortran_order': False, 'shape': (__import__('os').abort(),), }\n"), "odd"),
        (written("{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }\n"), "odd"),
        (written("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }\n"), "odd"),
        (written("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"), "object"),
        (written("{'descr': '|S5', 'fortran_order': False, 'shape': (1,), }\n"), "odd"),
        (written("{" * 60_000), "odd"),
        (b"\x93NUMPY\x09\x00" + bytes(20), "odd"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(20), "odd"),
        (b"\x93NUMPY\x01\x00\x70\x00{", "cut"),
        (b"\x93NUM", "cut"),
        (b"PK\x03\x04", "odd"),
    ],
)
def test_headers_that_are_not_numpys(data: bytes, reason: str) -> None:
    assert header(data) == reason


def test_headers_take_no_time() -> None:
    for shape in ("1" * 60_000, "1, " * 20_000, "(" * 60_000, " " * 60_000):
        before = time.process_time()
        assert header(written(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}x,), }}")) == "odd"
        assert time.process_time() - before < 5


@pytest.mark.parametrize("shape", [(), (3,), (3, 4), (10**9, 10**9, 10**9), tuple(range(1, 33))])
def test_headers_that_are(shape: tuple[int, ...]) -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": shape})
    one = header(out.getvalue())
    assert not isinstance(one, str)
    assert (one.shape, one.dtype, one.start) == (shape, "float32", len(out.getvalue()))


def test_shapes_that_claim_more_than_there_is(tmp_path: Path) -> None:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9)})
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as archive:
            archive.writestr("a.npy", out.getvalue() + bytes(100))
            archive.writestr("../b.npy", (written("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n")) + bytes(8))
        one = checkpoint(tmp_path / "a.npz")
        assert [r.name for r in one.tensors] == ["../b"]
        assert one.truncated


def test_a_bomb(tmp_path: Path) -> None:
    """A deflated member may unpack to a thousand times its size; nothing beyond the limit is held."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<f4", "fortran_order": False, "shape": (80 << 20,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("good.npy", written("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n") + bytes(8))
        with archive.open("a.npy", "w") as member:
            member.write(out.getvalue())
            for _ in range(320):
                member.write(bytes(1 << 20))
    before = time.process_time()
    assert [r.name for r in checkpoint(tmp_path / "a.npz").tensors] == ["good"]
    assert time.process_time() - before < 5


@given(arrays.arrays(st.sampled_from(TYPES), arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)), st.booleans(), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_array(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, fortran: bool, packed: bool) -> None:
    root = tmp_path_factory.mktemp("run")
    array = np.asfortranarray(array) if fortran else array
    (np.savez_compressed if packed else np.savez)(root / "a.npz", w=array)
    (ref,) = checkpoint(root / "a.npz").tensors
    assert np.array_equal(values(root, ref).astype(array.dtype), array, equal_nan=array.dtype.kind in "fc")


@given(st.binary(max_size=400), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 255)), max_size=6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, edits: list[tuple[int, int]], packed: bool) -> None:
    root = tmp_path_factory.mktemp("run")
    path = root / "a.npz"
    (np.savez_compressed if packed else np.savez)(path, a=np.ones(9), b=np.arange(5))
    whole = bytearray(path.read_bytes())
    for at, value in edits:
        if at < len(whole):
            whole[at] = value
    for content in (data, bytes(whole)):
        path.write_bytes(content)
        got = found(path)
        for one in got.checkpoints:
            for ref in one.tensors:
                assert ref.inline is not None or 0 <= ref.offset <= ref.offset + ref.nbytes <= len(content)
