import json
import struct
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file as save_numpy
from safetensors.torch import load_file, save_file

from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.sources.checkpoints.safetensors import READERS
from postmortem.sources.reader import Candidate, Found


def found(path: Path) -> Found:
    """As a run finds it."""
    root = path if path.is_dir() else path.parent
    wanted = path.name if path.is_file() else "model.safetensors.index.json"
    file = root / wanted
    candidate = Candidate(root, wanted, file.stat().st_size, file.read_bytes()[:4096], frozenset(f.name for f in root.iterdir()))
    return next(r for r in READERS if r.claims(candidate)).read(candidate)


def checkpoint(path: Path) -> Checkpoint:
    (one,) = found(path).checkpoints
    return one


def raw(root: Path, ref: TensorRef) -> bytes:
    with (root / ref.file).open("rb") as file:
        file.seek(ref.offset)
        return file.read(ref.nbytes)


def write(path: Path, header: Any, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64, torch.complex64,
]  # fmt: skip


def test_every_element_type_as_the_library_writes_it(tmp_path: Path) -> None:
    tensors = {str(t): torch.arange(12).reshape(3, 4).to(t) for t in TYPES} | {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 5)}
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    one = checkpoint(tmp_path / "model.safetensors")
    assert (one.status, one.detail, one.truncated) == (Status.READ, None, False)
    assert [r.name for r in one.tensors] == sorted(tensors)
    for ref in one.tensors:
        tensor = tensors[ref.name]
        assert ref.dtype == str(tensor.dtype).removeprefix("torch.")
        assert ref.shape == tuple(tensor.shape)
        assert ref.strides == tensor.stride() or not tensor.numel()
        assert raw(tmp_path, ref) == (tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    assert one.facts["metadata.format"] == "pt"


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.lists(st.integers(0, 5), max_size=4), max_size=8)
)
@settings(max_examples=40, deadline=None)
def test_agrees_with_the_library(tmp_path_factory: pytest.TempPathFactory, shapes: dict[str, list[int]]) -> None:
    shapes.pop("__metadata__", None)
    root = tmp_path_factory.mktemp("run")
    arrays = {name: np.random.default_rng(0).normal(size=shape).astype("f4") for name, shape in shapes.items()}
    save_numpy(arrays, root / "a.safetensors")
    read_back = load_file(root / "a.safetensors")
    one = checkpoint(root / "a.safetensors")
    assert {r.name for r in one.tensors} == set(read_back)
    for ref in one.tensors:
        assert raw(root, ref) == read_back[ref.name].numpy().tobytes()
        assert ref.shape == tuple(read_back[ref.name].shape)


def test_a_truncated_file_gives_the_tensors_that_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "step_30.safetensors"
    save_file({f"t{n}": torch.full((1000,), float(n)) for n in range(10)}, path)
    path.write_bytes(path.read_bytes()[:-4400])
    one = checkpoint(path)
    assert (one.status, one.truncated, one.step) == (Status.PARTIAL, True, 30)
    assert [r.name for r in one.tensors] == [f"t{n}" for n in range(8)]
    assert str(one.detail) == "the file is cut: 4,400 bytes are missing, and with them 2 tensors"
    for length, truncated in ((4, True), (0, True), (50, True)):
        path.write_bytes(path.read_bytes()[:length])
        one = checkpoint(path)
        assert (one.status, one.truncated, one.tensors) == (Status.FAILED, truncated, ())


GOOD = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({"dtype": "F32", "shape": [3], "data_offsets": [8, 16]}, 1),  # bytes do not fit the shape
        ({"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}, 1),  # overlaps
        ({"dtype": "F32", "shape": [-2], "data_offsets": [8, 16]}, 1),
        ({"dtype": "F32", "shape": [2], "data_offsets": [16, 8]}, 1),
        ({"dtype": "F32", "shape": [2], "data_offsets": [1 << 63, (1 << 63) + 8]}, 1),
        ({"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [8, 16]}, 1),
        ({"dtype": "F32", "shape": [0] * 100_000, "data_offsets": [8, 8]}, 1),
        ({"dtype": "F32", "shape": [2.0], "data_offsets": [8, 16]}, 1),
        ({"dtype": "F32", "shape": [True, 2], "data_offsets": [8, 16]}, 1),
        ({"dtype": "F32", "shape": "2", "data_offsets": [8, 16]}, 1),
        ({"dtype": "F32", "shape": [2]}, 1),
        ({"dtype": 3, "shape": [2], "data_offsets": [8, 16]}, 1),
        (None, 1),
        ([], 1),
        ({"dtype": "F32", "shape": [2], "data_offsets": [1 << 40, (1 << 40) + 8]}, 1),
    ],
)
def test_a_refused_entry_leaves_the_others(tmp_path: Path, entry: Any, kept: int) -> None:
    path = write(tmp_path / "a.safetensors", {"good": GOOD, "bad": entry}, bytes(16))
    one = checkpoint(path)
    assert [r.name for r in one.tensors] == ["good"][:kept]
    assert one.status is Status.PARTIAL
    assert one.detail is not None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (struct.pack("<Q", 1 << 63) + b"{}", "would be"),
        (struct.pack("<Q", 100_000_001) + b"{}", "would be"),
        (struct.pack("<Q", 1 << 20) + b"{}", "ends within its header"),
        (b'\x02\0\0\0\0\0\0\0{"', "not JSON"),
        (b"\x02\0\0\0\0\0\0\0[]", "not a JSON object"),
        (b"\x04\0\0\0\0\0\0\0\0\0\0\0", "zero bytes"),
        (b"<!doctype html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
        (b"", "empty"),
    ],
)
def test_files_without_a_usable_header(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    one = checkpoint(path)
    assert one.status is Status.FAILED
    assert why in str(one.detail)


def test_names_that_stand_twice_are_refused(tmp_path: Path) -> None:
    entry = json.dumps(GOOD)
    for text, name in (
        (f'{{"w": {entry}, "w": {entry}}}', "w"),
        (f'{{"w": {entry}, "\\u0077": {entry}}}', "w"),
        (f'{{"w": {entry}, "w": 3}}', "w"),
        ('{"w": {"dtype": "I8", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', "dtype"),
        ('{"w": {"dtype": "I8", "shape": [2], "shape": [8], "data_offsets": [0, 8]}}', "shape"),
        (f'{{"__metadata__": {{"a": "1", "a": "2"}}, "w": {entry}}}', "a"),
        (f'{{"__metadata__": {{}}, "w": {entry}, "__metadata__": {{}}}}', "__metadata__"),
        (f'{{"v": {{"w": 1, "w": 2}}, "w": {entry}}}', "w"),
    ):
        one = checkpoint(write(tmp_path / "a.safetensors", text.encode(), bytes(8)))
        assert (one.status, str(one.detail)) == (Status.FAILED, f"its header names {name} twice")


def test_bytes_behind_the_last_tensor_are_told(tmp_path: Path) -> None:
    one = checkpoint(write(tmp_path / "a.safetensors", {"w": GOOD}, bytes(20)))
    assert (len(one.tensors), one.status, one.truncated) == (1, Status.PARTIAL, False)


def test_packed_types_are_not_measured_and_no_damage(tmp_path: Path) -> None:
    one = checkpoint(write(tmp_path / "a.safetensors", {"w": GOOD, "q": {"dtype": "F4", "shape": [8], "data_offsets": [8, 12]}}, bytes(12)))
    assert (one.status, len(one.tensors)) == (Status.READ, 1)
    assert "packed element type" in str(one.detail)


def test_hostile_headers_take_little(tmp_path: Path) -> None:
    for text in (b"[" * 5_000_000, b'{"a":' * 1_000_000, b'{"a":[' + b"{}," * 3_000_000, b'{"a":' + b"9" * 5_000_000, b'"' + b"\\" * 5_000_000):
        tracemalloc.start()
        before = time.process_time()
        assert checkpoint(write(tmp_path / "a.safetensors", text)).status is Status.FAILED
        assert time.process_time() - before < 5
        assert tracemalloc.get_traced_memory()[1] < 400e6
        tracemalloc.stop()


def test_many_tensors(tmp_path: Path) -> None:
    n = 100_000
    header = {f"layers.{i}.weight": {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]} for i in range(n)}
    path = write(tmp_path / "a.safetensors", header, bytes(4 * n))
    before = time.process_time()
    assert len(checkpoint(path).tensors) == n
    assert time.process_time() - before < 5


def shards(root: Path) -> dict[str, Any]:
    root.mkdir(exist_ok=True)
    save_file({"a": torch.ones(4), "b": torch.ones(2)}, root / "model-00001-of-00002.safetensors")
    save_file({"c": torch.ones(3)}, root / "model-00002-of-00002.safetensors")
    index = {"metadata": {"total_size": 36}, "weight_map": {n: f"model-0000{i}-of-00002.safetensors" for n, i in (("a", 1), ("b", 1), ("c", 2))}}
    (root / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


def test_shards_are_one_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "checkpoint-120"
    shards(run)
    got = found(run)
    (one,) = got.checkpoints
    assert (one.status, one.step, [r.name for r in one.tensors]) == (Status.READ, None, ["a", "b", "c"])
    assert got.consumed == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert one.size == sum(f.stat().st_size for f in run.iterdir())


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    shards(tmp_path)
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    one = checkpoint(tmp_path)
    assert (one.status, [r.name for r in one.tensors]) == (Status.PARTIAL, ["a", "b"])
    assert "shard-missing" in str(one.detail)
    assert one.facts["missing_shards"] == "model-00002-of-00002.safetensors"


def test_shards_elsewhere_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    index = shards(run)
    (run / "model-00002-of-00002.safetensors").rename(tmp_path / "out.safetensors")
    for name in ("../out.safetensors", str(tmp_path / "out.safetensors"), "..", "", "a\0b", "sub/x.safetensors"):
        index["weight_map"]["c"] = name
        (run / "model.safetensors.index.json").write_text(json.dumps(index))
        got = found(run)
        assert got.source.refused
        assert [r.name for r in got.checkpoints[0].tensors] == ["a", "b"]
    (run / "link.safetensors").symlink_to(tmp_path / "out.safetensors")
    index["weight_map"]["c"] = "link.safetensors"
    (run / "model.safetensors.index.json").write_text(json.dumps(index))
    assert [r.name for r in found(run).checkpoints[0].tensors] == ["a", "b"]


def test_a_damaged_shard_and_a_damaged_index(tmp_path: Path) -> None:
    shards(tmp_path)
    second = tmp_path / "model-00002-of-00002.safetensors"
    second.write_bytes(second.read_bytes()[:-1])
    one = checkpoint(tmp_path)
    assert (one.status, one.truncated, len(one.tensors)) == (Status.PARTIAL, True, 2)
    for text in ("{", "[]", "{}", '{"weight_map": {"a": 3}}', "[" * 100_000):
        (tmp_path / "model.safetensors.index.json").write_text(text)
        assert found(tmp_path).source.status is Status.FAILED


def test_an_adapter_says_so(tmp_path: Path) -> None:
    save_file({"base_model.model.q.lora_A.weight": torch.ones(2, 4)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": ["q"]}))
    facts = checkpoint(tmp_path / "adapter_model.safetensors").facts
    assert (facts["adapter"], facts["adapter.r"], facts["adapter.peft_type"]) == (True, 8, "LORA")
    (tmp_path / "adapter_config.json").write_text("[")
    assert checkpoint(tmp_path / "adapter_model.safetensors").facts["adapter"] is True


@given(st.one_of(st.binary(max_size=300), st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["F32", "BF16", "F4"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "dtype", "shape", "data_offsets", "__metadata__"]), inner, max_size=4),
    max_leaves=20,
)))  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    path = tmp_path_factory.mktemp("run") / "a.safetensors"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write(path, content, bytes(64))
    got = found(path)
    size = path.stat().st_size
    assert got.source.status in Status
    for ref in got.checkpoints[0].tensors:
        assert 0 <= ref.offset <= ref.offset + ref.nbytes <= size
