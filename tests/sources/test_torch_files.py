"""Torch files of both formats, whole and broken, with `torch.load` as the oracle for every value."""

import io
import os
import pickle
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from postmortem.model.run import Status, TensorRef
from postmortem.sources import read_run
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.zip_directory import Window, read_directory
from postmortem.sources.reader import Candidate

pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated", "ignore:Couldn't retrieve source code")
FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def candidate(file, root=None):
    root = root or file.parent
    with file.open("rb") as f:
        head = f.read(4096)
    return Candidate(root, file.relative_to(root).as_posix(), file.stat().st_size, head, frozenset(p.name for p in file.parent.iterdir()))


def read(file, root=None):
    one = candidate(file, root)
    assert torch_zip.claims(one)
    found = torch_zip.read(one)
    assert found.source.path == one.path
    assert "unexpected" not in str(found.source.detail)  # the net below the reader caught nothing
    return found


def checkpoint(file, root=None):
    (one,) = read(file, root).checkpoints
    return one


def value_of(ref: TensorRef, root) -> torch.Tensor:
    """The tensor that a reference stands for, read with `pread` here and nowhere else."""
    dtype = getattr(torch, ref.dtype)
    if not ref.count:
        return torch.empty(ref.shape, dtype=dtype)
    span = (1 + sum((n - 1) * s for n, s in zip(ref.shape, ref.strides, strict=True))) * dtype.itemsize
    if ref.inline is not None:
        data = ref.inline
    else:
        fd = os.open(root / ref.file, os.O_RDONLY)
        data = os.pread(fd, span, ref.offset)
        os.close(fd)
    assert len(data) == span
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype).as_strided(ref.shape, ref.strides)


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.contiguous().view(-1).view(torch.uint8).equal(b.contiguous().view(-1).view(torch.uint8))


DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
    torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64,
]  # fmt: skip


def save(value, file, zipped):
    torch.save(value, file, _use_new_zipfile_serialization=zipped)


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_element_type(dtype, zipped, tmp_path):
    file = tmp_path / "m.pt"
    tensor = (torch.arange(12).reshape(3, 4) % 2 if dtype is torch.bool else torch.arange(12).reshape(3, 4)).to(dtype)
    save({"w": tensor}, file, zipped)
    one = checkpoint(file)
    assert one.format == ("torch-zip" if zipped else "torch-legacy")
    assert one.status is Status.READ
    (ref,) = one.tensors
    assert ref.file == "m.pt"
    assert ref.nbytes == 12 * dtype.itemsize
    assert same(value_of(ref, tmp_path), tensor)


@FORMATS
def test_views_strides_shared_storage_and_shapes(zipped, tmp_path):
    base = torch.randn(6, 8)
    value = {
        "base": base, "transposed": base.t(), "rows": base[1:5:2], "columns": base[:, 3], "inner": base[2:4, 1:7:3], "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 5), "expanded": torch.tensor([3.0]).expand(4, 5), "channels": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "permuted": torch.randn(2, 3, 4).permute(2, 0, 1), "last": base.flatten()[-1:],
    }  # fmt: skip
    file = tmp_path / "views.pth"
    save({"model": value}, file, zipped)
    one = checkpoint(file)
    assert [t.name for t in one.tensors] == list(value)
    for ref in one.tensors:
        assert same(value_of(ref, tmp_path), value[ref.name]), ref.name
        assert ref.strides == value[ref.name].stride() or not ref.count
    places = {ref.name: ref for ref in one.tensors}
    assert places["columns"].offset == places["base"].offset + 12
    assert one.status is Status.READ


@FORMATS
def test_a_pickled_module_opens_without_its_class(zipped, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2, bias=False))
            self.tied = self.body[2]
            self.register_buffer("positions", torch.arange(3.0))
            self.register_buffer("cache", torch.zeros(5), persistent=False)
            self.scale = nn.Parameter(torch.ones(()))

    globals()["Net"] = Net
    Net.__qualname__ = "Net"
    net = Net()
    net.body[0].requires_grad_(requires_grad=False)
    file = tmp_path / "whole.pt"
    save(net, file, zipped)
    del globals()["Net"]
    one = checkpoint(file)
    expected = {k: v for k, v in net.state_dict().items() if not k.startswith("tied")}
    assert {t.name for t in one.tensors} == set(expected)
    assert all(same(value_of(t, tmp_path), expected[t.name]) for t in one.tensors)
    assert one.trainable == {n: p.requires_grad for n, p in net.named_parameters()}
    assert one.refused == ()
    assert one.status is Status.READ


@FORMATS
@pytest.mark.parametrize("share", [0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97, 0.995])
def test_a_truncated_file_gives_its_whole_tensors_and_says_so(share, zipped, tmp_path):
    torch.manual_seed(0)
    value = {"model": {f"layers.{i}.weight": torch.randn(40, 40) for i in range(20)}, "epoch": 4}
    whole = tmp_path / "whole.pt"
    save(value, whole, zipped)
    data = whole.read_bytes()
    file = tmp_path / "cut.pt"
    file.write_bytes(data[: int(len(data) * share)])
    one = checkpoint(file)
    assert one.truncated
    assert one.status in (Status.PARTIAL, Status.FAILED)
    assert one.detail is not None
    assert one.status is Status.PARTIAL
    assert one.epoch == 4
    assert len(one.tensors) >= int(20 * share) - 2
    for ref in one.tensors:
        assert same(value_of(ref, tmp_path), value["model"][ref.name])
    if len(one.tensors) < 20:
        assert "missing" in str(one.detail)


@pytest.mark.parametrize("size", range(1, 4000, 101))
def test_a_file_cut_anywhere_is_read_as_far_as_it_goes(size, tmp_path):
    file = tmp_path / "cut.pt"
    out = io.BytesIO()
    torch.save({"w": torch.randn(400)}, out)
    file.write_bytes(out.getvalue()[: min(size, len(out.getvalue()) - 1)])
    one = checkpoint(file)
    assert one.truncated or one.status is Status.FAILED
    assert one.detail is not None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pt", b"", "empty"),
        ("a.ckpt", b"<!DOCTYPE html><html>404</html>", "web page"),
        ("pytorch_model.bin", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 12\n", "Git LFS"),
        ("a.pth", b"epoch 1 loss 0.1\n", "text file"),
        ("a.pt", b"class Net(nn.Module):\n    pass\n", "text file"),
        ("a.pt", b"(function() {\n  var a;\n})();\n", "text file"),
        ("a.pt", b"{'lr': 0.1}\n", "text file"),
        ("a.pt", b"\0" * 5000, "zero bytes"),
        ("a.pt", os.urandom(300)[1:] + b"\xfe\x00", "no checkpoint"),
    ],
)
def test_what_is_called_a_checkpoint_and_is_none(name, content, says, tmp_path):
    file = tmp_path / name
    file.write_bytes((b"\xfe" + content) if says == "no checkpoint" else content)
    found = read(file)
    assert found.source.status is Status.FAILED
    assert says in str(found.source.detail)
    assert found.checkpoints[0].status is Status.FAILED
    assert found.checkpoints[0].tensors == ()


def test_other_peoples_files_are_not_claimed(tmp_path):
    for name, content in {
        "train.bin": b"\x01\x02" * 100,
        "model_00019560.bin": b"\x66\x1e\x35\x01" * 100,
        "words.pkl": b"class of\nmine\n",
        "data.pkl": b"some text",
        "notes.txt": b"\x80",
        "events.bin": b"PK",
        "model.zip": b"PK\x03\x04",
    }.items():
        file = tmp_path / name
        file.write_bytes(content)
        assert not torch_zip.claims(candidate(file)), name


def test_states_of_random_number_generators_are_left_out_politely(tmp_path):
    for name in ("rng_state.pth", "rng_state_3.pth", "random_states_0.pkl"):
        file = tmp_path / name
        torch.save({"cpu": torch.get_rng_state()}, file)
        found = read(file)
        assert found.source.status is Status.SKIPPED
        assert found.checkpoints == ()


def test_a_compressed_archive_is_unpacked_into_memory(tmp_path):
    plain, file = tmp_path / "plain.pt", tmp_path / "packed.pt"
    tensor = torch.arange(1000.0).reshape(10, 100)
    torch.save({"w": tensor.t()}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    (ref,) = checkpoint(file).tensors
    assert ref.inline is not None
    assert ref.strides == (10, 1)
    assert same(value_of(ref, tmp_path), tensor.t())


def test_a_big_endian_file_is_swapped(tmp_path):
    plain, file = tmp_path / "plain.pt", tmp_path / "big.pt"
    values = {"f": torch.arange(5.0), "c": torch.tensor([1 + 2j]), "b": torch.tensor([1, 2], dtype=torch.uint8)}
    torch.save(values, plain)
    swapped = {"f": values["f"].numpy().byteswap().tobytes(), "c": values["c"].numpy().byteswap().tobytes(), "b": b"\1\2"}
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w") as target:
        for name in source.namelist():
            key = name.rpartition("/")[2]
            data = b"big" if key == "byteorder" else swapped["fcb"[int(key)]] if "/data/" in name else source.read(name)
            target.writestr(name, data)
    for ref in checkpoint(file).tensors:
        assert same(value_of(ref, tmp_path), values[ref.name])


def test_offsets_come_from_the_local_headers(tmp_path):
    file = tmp_path / "m.pt"
    torch.save({"w": torch.arange(100.0)}, file)
    (ref,) = checkpoint(file).tensors
    with file.open("rb") as f:
        members = read_directory(Window(f.fileno(), 0, file.stat().st_size)).members
    member = members["m/data/0"]
    assert member.data == -1  # the directory does not know it
    assert ref.offset > member.header + 30 + len("m/data/0")  # torch pads the local header only
    assert same(value_of(ref, tmp_path), torch.arange(100.0))


def test_any_top_folder_and_none(tmp_path):
    plain = tmp_path / "plain.pt"
    torch.save({"w": torch.ones(3)}, plain)
    for top in ("", "archive/", "a/b/c/"):
        file = tmp_path / "moved.pt"
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(file, "w") as target:
            for name in source.namelist():
                target.writestr(top + name.removeprefix("plain/"), source.read(name))
        assert same(value_of(checkpoint(file).tensors[0], tmp_path), torch.ones(3))


def test_overlapping_members_are_refused(tmp_path):
    file = tmp_path / "m.pt"
    torch.save({"a": torch.zeros(4), "b": torch.ones(4)}, file)
    data = bytearray(file.read_bytes())
    first, second = (data.rfind(b"m/data/%d" % i) for i in (0, 1))  # in the central directory
    data[second - 4 : second] = data[first - 4 : first]  # both at the first one's header
    file.write_bytes(data)
    one = checkpoint(file)
    assert len(one.tensors) < 2
    assert "overlaps" in str(one.detail)


def test_every_flipped_byte_of_the_headers_is_survived(tmp_path):
    file = tmp_path / "m.pt"
    torch.save({"w": torch.ones(2), "epoch": 1}, file)
    data = file.read_bytes()
    start = data.find(b"PK\x01\x02")
    for at in [*range(80), *range(start, len(data))]:
        file.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        assert "unexpected" not in str(torch_zip.read(candidate(file)).source.detail)


def test_pickles_of_tensors_and_arrays_without_torch_save(tmp_path):
    file = tmp_path / "model.pkl"
    value = {"state_dict": {"w": torch.arange(6.0).reshape(2, 3).t(), "b": torch.ones(2, dtype=torch.bfloat16)}, "step": 12}
    file.write_bytes(pickle.dumps(value))
    one = checkpoint(file)
    assert one.step == 12
    for ref in one.tensors:
        assert same(value_of(ref, tmp_path), value["state_dict"][ref.name])
    arrays = tmp_path / "params.pkl"
    arrays.write_bytes(pickle.dumps({"params": {"dense": {"kernel": torch.ones(2, 3).numpy(), "bias": torch.zeros(3).numpy()}}}))
    assert {t.name: t.shape for t in checkpoint(arrays).tensors} == {"params.dense.kernel": (2, 3), "params.dense.bias": (3,)} or {
        t.name: t.shape for t in checkpoint(arrays).tensors
    } == {"kernel": (2, 3), "bias": (3,)}


def test_a_pickled_data_set_is_no_checkpoint(tmp_path):
    file = tmp_path / "data.pkl"
    file.write_bytes(pickle.dumps({"x_train": torch.ones(5, 3).numpy(), "y_train": torch.ones(5).numpy()}))
    found = read(file)
    assert found.checkpoints == ()
    assert found.source.status is Status.SKIPPED


def test_a_file_of_many_tensors_and_one_of_many_bytes_are_quick(tmp_path):
    import time

    many, large = tmp_path / "many.pt", tmp_path / "large.pt"
    torch.save({f"layers.{i}.weight": torch.zeros(2) for i in range(20_000)}, many)
    torch.save({"w": torch.zeros(25_000_000)}, large)
    start = time.process_time()
    assert len(checkpoint(many).tensors) == 20_000
    assert time.process_time() - start < 8
    start = time.process_time()
    assert checkpoint(large).tensors[0].count == 25_000_000
    assert time.process_time() - start < 0.2


def test_a_legacy_file_with_views_of_one_storage(tmp_path):
    file = tmp_path / "old.pth"
    flat = torch.arange(20.0)
    value = {"a": flat[:8].view(2, 4), "b": flat[8:], "n": torch.arange(3)}
    save(value, file, zipped=False)
    one = checkpoint(file)
    for ref in one.tensors:
        assert same(value_of(ref, tmp_path), value[ref.name])


@given(st.binary(max_size=300), st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.", b"("]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_result(tmp_path, data, head):
    file = tmp_path / "any.pt"
    file.write_bytes(head + data)
    read(file)


@given(at=st.integers(0, 100_000), bits=st.integers(1, 255), zipped=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_flipped_byte_gives_a_result(tmp_path, at, bits, zipped):
    out = io.BytesIO()
    value = {
        "model": {"w": torch.arange(6.0), "b": torch.ones(2)},
        "optimizer": {"state": {0: {"step": 1, "exp_avg": torch.ones(6)}}, "param_groups": [{"lr": 0.1, "params": [0]}]},
    }
    torch.save(value, out, _use_new_zipfile_serialization=zipped)
    data = bytearray(out.getvalue())
    data[at % len(data)] ^= bits
    file = tmp_path / "flipped.pt"
    file.write_bytes(data)
    read(file)


def test_a_storage_before_the_pickle_in_a_file_without_directory(tmp_path):
    file = tmp_path / "m.pt"
    torch.save({"w": torch.ones(2)}, file)
    data = file.read_bytes()
    start, end = data.find(b"PK\x03\x04", data.find(b"byteorder")), data.find(b"PK\x01\x02")
    file.write_bytes(data[start:end] + data[:start])
    (ref,) = checkpoint(file).tensors
    assert same(value_of(ref, tmp_path), torch.ones(2))


def test_the_path_is_relative_to_the_run(tmp_path):
    folder = tmp_path / "checkpoints" / "deep"
    folder.mkdir(parents=True)
    torch.save({"w": torch.ones(1)}, folder / "step_000450.pt")
    one = checkpoint(folder / "step_000450.pt", tmp_path)
    assert one.path == "checkpoints/deep/step_000450.pt"
    assert one.tensors[0].file == one.path
    assert one.files == (one.path,)
    assert one.step == 450


@FORMATS
def test_what_torch_saved_under_the_name_of_another_format_is_read(tmp_path, zipped) -> None:
    """DeepCTR-Torch's callback calls its files `.h5`, as the one for Keras does that it was written after."""
    file = tmp_path / "DeepFM_6.h5"
    torch.save(nn.Linear(3, 2).state_dict(), file, _use_new_zipfile_serialization=zipped)
    run = read_run([tmp_path])
    assert [(c.path, c.status, [t.name for t in c.tensors]) for c in run.checkpoints] == [("DeepFM_6.h5", Status.READ, ["weight", "bias"])]
