"""Malicious and damaged checkpoints."""

import functools
import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np

from tests.hostile.cases import Cases
from tests.hostile.pickled import PAYLOADS, STORAGE, Calls, saved, short, tensor, with_tensor

CHECKPOINTS = Cases()
case = CHECKPOINTS.case


def _payloads(names, run):
    run.joinpath("postmortem_evil.py").write_text("open('pwned', 'w')\n")
    for i, name in enumerate(names):
        payload, _ = PAYLOADS[name]
        run.joinpath(f"zip{i:02}.pt").write_bytes(saved(with_tensor(payload), STORAGE))
        run.joinpath(f"raw{i:02}.pkl").write_bytes(b"\x80\x02" + payload + b".")


_GROUP = 8  # payloads of a run
for _at in range(0, len(PAYLOADS), _GROUP):
    _names = list(PAYLOADS)[_at : _at + _GROUP]
    _says = [says for says in (PAYLOADS[name][1] for name in _names) if says]
    case(f"pickle: {_names[0]} …", *_says, tensors=len(_names), refused=True)(functools.partial(_payloads, _names))


@case("pickle: every protocol", "posix.system", refused=True)
def _protocols(run):
    for protocol in range(6):
        run.joinpath(f"p{protocol}.pkl").write_bytes(pickle.dumps(Calls(os.system, "touch pwned"), protocol))
        run.joinpath(f"z{protocol}.pt").write_bytes(saved(pickle.dumps({"a": Calls(os.system, "touch pwned")}, protocol)))


@case("pickle: training_args.bin and optimizer.pt", "os.system", refused=True)
def _trainer_files(run):
    folder = run / "checkpoint-10"
    folder.mkdir()
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "pytorch_model.bin", "rng_state.pth"):
        folder.joinpath(name).write_bytes(saved(b"\x80\x02}(\x8c\x05state" + PAYLOADS["os.system"][0] + b"u."))


@case("pickle: DCP metadata", "os.system", refused=True)
def _dcp(run):
    folder = run / "dcp"
    folder.mkdir()
    folder.joinpath(".metadata").write_bytes(b"\x80\x02ctorch.distributed.checkpoint.metadata\nMetadata\n0" + PAYLOADS["os.system"][0] + b".")
    folder.joinpath("__0_0.distcp").write_bytes(b"\0" * 64)


@case("pickle: one zip inside another")
def _nested(run):
    inner = saved(b"\x80\x02" + PAYLOADS["os.system"][0] + b".")
    for _ in range(5):
        inner = saved(b"\x80\x02}.", [("inner.pt", inner)])
    run.joinpath("nested.pt").write_bytes(inner)


BOMBS = {
    "deep lists": b"]" * 1_000_000 + b"a" * 999_999,
    "deep tuple as a key": b"})" + b"\x85" * 1_000_000 + b"Ns",
    "marks": b"(" * 1_000_000 + b"t",
    "memo index": b"Nr\xff\xff\xff\xff",
    "bytes of 2**63": b"\x8e" + struct.pack("<Q", 1 << 63) + b"x",
    "decimal of a million digits": b"I" + b"9" * 1_000_000 + b"\n",
    "doublings": b"]" + b"2\x86" * 100_000,
    "memo bomb": b"]q\x01" + b"".join(b"(" + b"h" + bytes([i]) + b"h" + bytes([i]) + b"lq" + bytes([i + 1]) for i in range(1, 100)),
    "unknown instruction": b"\xff\xfe",
    "frame of 2**64": b"\x95" + b"\xff" * 8 + b"N",
}


def _bomb(payload, run):
    run.joinpath("bomb.pt").write_bytes(saved(b"\x80\x02" + payload + b".", STORAGE))
    run.joinpath("raw.pkl").write_bytes(b"\x80\x04" + payload + b".")


for _name, _data in BOMBS.items():
    case(f"pickle bomb: {_name}", "bomb.pt", damaged=True)(functools.partial(_bomb, _data))

STRIDES = [((10**6, 10**6), (0, 0)), ((10**12,), (0,)), ((5,), (1,)), ((-4,), (1,)), ((2**61, 2**61), (1, 1))]


@case("tensor: stride 0 and 10^12 elements", "liar", damaged=True)
def _stride(run):
    for i, (shape, strides) in enumerate(STRIDES):
        run.joinpath(f"liar{i}.pt").write_bytes(saved(b"\x80\x02}\x8c\x01w" + tensor(shape=shape, strides=strides) + b"s.", STORAGE))


# --- zip files ----------------------------------------------------------------------------------------------------------


@case("zip: deflated bomb as data.pkl", "bomb.pt", damaged=True)
def _zip_bomb(run):
    run.joinpath("bomb.pt").write_bytes(saved(b"\x80\x02]" + b"N0" * (132 << 20), compression=zipfile.ZIP_DEFLATED))


@case("zip: deflated bomb as a storage", "bomb.pt", damaged=True)
def _storage_bomb(run):
    data = saved(
        b"\x80\x02}\x8c\x01w" + tensor(count=1 << 28, shape=(1 << 28,), strides=(1,)) + b"s.",
        [("data/0", bytes(1 << 28))],
        compression=zipfile.ZIP_DEFLATED,
    )
    run.joinpath("bomb.pt").write_bytes(data)


@case("zip: overlapping members", "overlaps another one", damaged=True)
def _overlap(run):
    data = bytearray(saved(with_tensor(b"N"), [*STORAGE, ("data/1", b"\0" * 16)]))
    at = data.rfind(b"PK\x01\x02")  # the last entry of the directory: let it start where another one does
    first = data.find(b"PK\x03\x04", 4)
    data[at + 42 : at + 46] = struct.pack("<I", first)
    run.joinpath("overlap.pt").write_bytes(bytes(data))


@case("zip: encrypted member")
def _encrypted(run):
    data = bytearray(saved(with_tensor(b"N"), STORAGE))
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = 0
        while (start := data.find(magic, start)) >= 0:
            data[start + at] |= 1
            start += 4
    run.joinpath("encrypted.pt").write_bytes(bytes(data))


@case("zip: names that lead out")
def _leads_out(run):
    for i, name in enumerate(("../../etc", "/etc", "..", "C:\\windows")):
        run.joinpath(f"out{i}.pt").write_bytes(saved(with_tensor(b"N"), STORAGE, name=name))


@case("zip: nested and wrong directories", damaged=True)
def _directories(run):
    good = saved(with_tensor(b"N"), STORAGE)
    run.joinpath("wrong.pt").write_bytes(good[:-6] + b"\xff\xff\xff\x7f\0\0")
    run.joinpath("two.pt").write_bytes(good + good)
    run.joinpath("comment.pt").write_bytes(good[:-2] + struct.pack("<H", 22) + good[-22:])
    run.joinpath("many.pt").write_bytes(good[:-14] + b"\xff\xff\xff\xff" + good[-10:])
    run.joinpath("zip64.pt").write_bytes(good[:-22] + b"PK\x06\x06" + struct.pack("<Q", 1 << 62) + bytes(44) + b"PK\x06\x07" + bytes(16) + good[-22:])


@case("zip: truncated", "cut.pt", tensors=1, damaged=True)
def _cut(run):
    pickled = b"\x80\x02}(\x8c\x06weight" + tensor() + b"\x8c\x05other" + tensor(b"1", 1 << 16, (256, 256), (256, 1)) + b"u."
    data = saved(pickled, [*STORAGE, ("data/1", b"\1" * (1 << 18))])
    run.joinpath("cut.pt").write_bytes(data[: len(data) // 2])


# --- safetensors --------------------------------------------------------------------------------------------------------


def safetensors(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(start, end, shape=(4,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@case("safetensors: a header of 2^63 bytes", "huge.safetensors", damaged=True)
def _huge_header(run):
    run.joinpath("huge.safetensors").write_bytes(safetensors({}, length=1 << 63))
    run.joinpath("huge2.safetensors").write_bytes(safetensors({}, length=(1 << 64) - 1))
    run.joinpath("hundred.safetensors").write_bytes(safetensors({}, length=100 << 20))


@case("safetensors: overlapping and out of range", "over.safetensors", "range.safetensors", tensors=1, damaged=True)
def _ranges(run):
    run.joinpath("over.safetensors").write_bytes(safetensors({"a": entry(0, 16), "b": entry(8, 24), "c": entry(24, 40)}, bytes(40)))
    run.joinpath("range.safetensors").write_bytes(
        safetensors({"good": entry(0, 16), "far": entry(1 << 40, (1 << 40) + 16), "back": entry(16, 0)}, bytes(32))
    )


@case("safetensors: duplicate keys and wrong sizes", "twice.safetensors", damaged=True)
def _twice(run):
    one = json.dumps(entry(0, 16))
    run.joinpath("twice.safetensors").write_bytes(safetensors(f'{{"a":{one},"a":{one},"b":{json.dumps(entry(16, 32))}}}'.encode(), bytes(32)))
    run.joinpath("size.safetensors").write_bytes(
        safetensors({"a": entry(0, 12), "b": entry(12, 28, (2**62, 4)), "c": entry(28, 44, (-4,))}, bytes(44))
    )


# Numbers that Python's `int` refuses or that are no decimal digits, where names of tensors have a number.
_DIGITS = ("\u00b2", "\u0663", "\u2460", "9" * 5000, "0" * 5000, "1e999", "-1", "\U0001d7d8")
_NUMBERED = (
    "a.{}", "weight_ih_l{}", "layers.{}.weight", "blocks.{}", "lstm.bias_hh_l{}_reverse", "{}.weight", "layer{}/kernel:{}",
    "encoder.layer.{}.attention.self.query.weight", "dense_{}/vars/{}",
)  # fmt: skip


@case("safetensors: names with odd numbers", "metrics.jsonl", tensors=2 * len(_DIGITS))
def _odd_numbers(run):
    names = [form.replace("{}", digits) for form in _NUMBERED for digits in _DIGITS]
    for step in (1, 2):
        header = {name: entry(8 * i, 8 * i + 8, (2,)) for i, name in enumerate(names)}
        for stem in (f"step_{step}", f"checkpoint-{'9' * (200 + step)}"):
            run.joinpath(f"{stem}.safetensors").write_bytes(safetensors(header, struct.pack("<f", step) * (2 * len(names))))
    rows = [{"step": n, **{name[:300]: n for name in names}} for n in range(20)]
    run.joinpath("metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


_CROWD = "postmortem.sources.checkpoints.crowds.MOST_TENSORS"
_LONG = {"tensors": 20_000, "slow": "twenty thousand tensors, as many as are taken of one file"}


@case("safetensors: 6,000 numbered tensors", "only the first", tensors=2_000, smaller={_CROWD: 2_000})
def _some(run, count=6_000):
    header = {f"parts.{i}": entry(8 * i, 8 * i + 8, (2,)) for i in range(count)}
    run.joinpath("crowd.safetensors").write_bytes(safetensors(header, struct.pack("<f", 1.5) * (2 * count)))


@case("torch: 6,000 numbered tensors", "only the first", tensors=2_000, smaller={_CROWD: 2_000})
def _some_of_torch(run, count=6_000):
    names = b"".join(short(b"parts.%d" % n) + tensor(count=4, shape=(2,), strides=(1,)) for n in range(count))
    run.joinpath("crowd.pt").write_bytes(saved(b"\x80\x02}(" + names + b"u.", STORAGE))


@case("safetensors: 60,000 numbered tensors", "only the first", **_LONG)
def _crowd(run):
    _some(run, 60_000)


@case("torch: 60,000 numbered tensors", "only the first", **_LONG)
def _crowd_of_torch(run):
    _some_of_torch(run, 60_000)


@case("safetensors: 10^6 tensors")
def _million(run):
    text = "{" + ",".join(f'"t{i}":{{"dtype":"F32","shape":[1],"data_offsets":[{4 * i},{4 * i + 4}]}}' for i in range(1_000_000)) + "}"
    run.joinpath("million.safetensors").write_bytes(safetensors(text.encode(), bytes(4_000_000)))


@case("safetensors: nested and foreign headers", damaged=True)
def _foreign(run):
    run.joinpath("deep.safetensors").write_bytes(safetensors(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))
    run.joinpath("digits.safetensors").write_bytes(
        safetensors(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}', bytes(4))
    )
    run.joinpath("nan.safetensors").write_bytes(safetensors(b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[NaN,1e999]}}', bytes(4)))
    run.joinpath("list.safetensors").write_bytes(safetensors(b"[1,2,3]"))


@case("safetensors: truncated", "cut.safetensors", tensors=1, damaged=True)
def _cut_safetensors(run):
    run.joinpath("cut.safetensors").write_bytes(safetensors({"a": entry(0, 16), "b": entry(16, 4112, (1024,))}, bytes(100)))


@case("index: shards outside of the run", "outside", damaged=True)
def _index(run):
    run.parent.joinpath("outside.safetensors").write_bytes(safetensors({"a": entry(0, 16)}, bytes(16)))
    folder = run / "checkpoint-5"
    folder.mkdir()
    for name, ending in (("model.safetensors.index.json", "safetensors"), ("pytorch_model.bin.index.json", "bin")):
        shards = (f"../../outside.{ending}", "/etc/passwd", "a/../../../../etc/hosts", "\0", "x" * 5000, "file:///etc/passwd", "..")
        folder.joinpath(name).write_text(json.dumps({"metadata": {"total_size": 1e999}, "weight_map": {f"w{i}": s for i, s in enumerate(shards)}}))


# --- HDF5 and numpy -----------------------------------------------------------------------------------------------------


@case("hdf5: links to other files", "model.weights.h5", tensors=1, refused=True)
def _hdf5(run):
    outside = run.parent / "secret.h5"
    with h5py.File(outside, "w") as file:
        file["data"] = np.arange(4.0)
    run.parent.joinpath("raw.bin").write_bytes(bytes(32))
    with h5py.File(run / "model.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), "f4")
        group = file["layers/dense/vars"]
        group["1"] = h5py.ExternalLink(str(outside), "/data")
        group["5"] = h5py.ExternalLink("/etc/passwd", "/")
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource(str(outside), "data", (4,))
        group.create_virtual_dataset("3", layout)
        group.create_dataset("4", (4,), "f8", external=[(str(run.parent / "raw.bin"), 0, 32)])
        group["loop"] = file["layers"]


@case("hdf5: damaged", "broken.h5", damaged=True)
def _broken_hdf5(run):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for i in range(20):
            file[f"layers/d{i}/vars/0"] = np.ones((8, 8), "f4")
    data = bytearray(buffer.getvalue())
    run.joinpath("broken.h5").write_bytes(data[: len(data) // 3])
    for i in range(96, len(data), 97):
        data[i] ^= 0xFF
    run.joinpath("noise.weights.h5").write_bytes(data)


@case("hdf5: compressed chunks of 10^9 zeros", "bomb.weights.h5")
def _hdf5_bomb(run):
    with h5py.File(run / "bomb.weights.h5", "w") as file:
        for i in range(4):
            data = file.create_dataset(f"layers/d{i}/vars/0", (1 << 26,), "f4", chunks=(1 << 22,), compression="gzip")
            data[: 1 << 22] = 0


@case("npz: objects, bombs and liars")
def _npz(run):
    np.savez(run / "objects.npz", a=np.array([Calls(os.system, "touch pwned")], dtype=object), b=np.ones((3, 3), np.float32))
    with zipfile.ZipFile(run / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (67108864,), }"
        head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
        archive.writestr("a.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + bytes(1 << 28))
    with zipfile.ZipFile(run / "evil.npz", "w") as archive:
        head = b"{'descr': __import__('os').system('touch pwned'), 'fortran_order': False, 'shape': (1,), }\n"
        archive.writestr("weight.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + bytes(4))


@case("keras: configuration with a lambda")
def _keras(run):
    config = {
        "class_name": "Functional",
        "config": {"layers": [{"class_name": "Lambda", "config": {"function": ["4wEAAAAA", None, None], "name": "evil"}}]},
    }
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), "f4")
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", buffer.getvalue())
        archive.writestr("../../../evil.py", "1")


@case("legacy: torch 0.x files made to lie", damaged=True)
def _legacy(run):
    magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    run.joinpath("legacy.pt").write_bytes(
        magic + b"\x80\x02" + PAYLOADS["os.system"][0] + b".\x80\x02](X\x01\x00\x00\x000e." + struct.pack("<q", 1 << 60)
    )
    run.joinpath("tar.pt").write_bytes(b"sys_info" + bytes(92) + b"0000644\0" + bytes(400) + zlib.compress(bytes(1000)))


@case("hdf5: the library walks in circles", "gave up on it", damaged=True, slow="the seven seconds that it may walk; in test_keras.py it may less")
def _circles(run):
    """Found by `python -m tests.fuzz hdf5`: opening it never ends."""
    shutil.copy(Path(__file__).with_name("data") / "circles.h5", run / "model.weights.h5")
