"""Pickles made to do harm: nothing happens, in bounded time and memory, and a report gets their names."""

import functools
import os
import resource
import struct
import subprocess
import sys
import textwrap
import time
import zipfile

import pytest
import torch

from postmortem.model.run import Status
from postmortem.sources.checkpoints import models, torch_zip
from postmortem.sources.checkpoints.joining import join
from postmortem.sources.pickles import read_pickle
from postmortem.sources.reader import Candidate
from tests.hostile.pickled import PAYLOADS, WHOLE, Calls, saved, short, tensor

HOSTILE = {**{name: (b"\x80\x04" + payload + b".", says) for name, (payload, says) in PAYLOADS.items() if says}, **WHOLE}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_dangerous_global_is_reported_by_name_and_nothing_happens(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data, expected = HOSTILE[name]
    found = read_pickle(data)
    assert expected in found.dangerous
    assert list(tmp_path.iterdir()) == []


def test_honest_files_raise_no_alarm(tmp_path):
    import argparse

    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.LSTM(2, 2))
    model.norm = functools.partial(torch.nn.LayerNorm, eps=1e-6)
    file = tmp_path / "model.pt"
    optimizer = torch.optim.AdamW(model.parameters())
    torch.save({"model": model, "args": argparse.Namespace(lr=0.1), "optimizer": optimizer, "bound": torch.nn.Linear(1, 1).forward}, file)
    found = torch_zip.read(candidate(file))
    assert found.checkpoints[0].refused == ()
    assert not found.source.refused


def candidate(file):
    with file.open("rb") as f:
        head = f.read(4096)
    return Candidate(file.parent, file.name, file.stat().st_size, head, frozenset(p.name for p in file.parent.iterdir()))


@pytest.mark.parametrize(
    "name", ["os.system", "INST", "OBJ", "NEWOBJ", "STACK_GLOBAL", "BUILD with a hostile state", "a key", "texts of protocol 0, remembered"]
)
def test_a_bare_hostile_pickle_is_refused_whatever_its_protocol(name, tmp_path):
    for ending in ("model.pt", "model.pkl"):
        file = tmp_path / ending
        file.write_bytes(HOSTILE[name][0])
        assert torch_zip.claims(candidate(file))
        found = torch_zip.read(candidate(file))
        assert found.source.refused, found.source.detail
        assert HOSTILE[name][1] in found.checkpoints[0].refused


def test_a_hostile_checkpoint_is_refused_by_name_and_its_tensors_are_read(tmp_path):
    file = tmp_path / "model.pt"
    torch.save({"model": torch.nn.Linear(3, 2).state_dict(), "surprise": Calls(os.system, f"touch {tmp_path}/pwned")}, file)
    found = torch_zip.read(candidate(file))
    assert found.source.refused
    assert found.checkpoints[0].refused == ("posix.system",)
    assert "posix.system" in str(found.source.detail)
    assert [t.name for t in found.checkpoints[0].tensors] == ["weight", "bias"]
    assert not (tmp_path / "pwned").exists()


NUMBERS = b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(30_000))
BOMBS = {
    "memo index of four billion": b"Nr\xff\xff\xff\xff.",
    "a billion memo indices away": b"Np999999999999999\n.",
    "million-deep list": b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "million-deep tuple": b")" + b"\x85" * 1_000_000 + b".",
    "million-deep tuple as a key": b"})" + b"\x85" * 1_000_000 + b"Ns.",
    "million-deep frozenset key": b"}" + b"(" * 300_000 + b"\x91" * 300_000 + b"Ns.",
    "million marks": b"(" * 1_000_000 + b".",
    "million-deep records": b"cm\nN\n" + b")R" * 500_000 + b".",
    "million-deep states": b"cm\nN\n)R" + b"cm\nN\n)R" * 100_000 + b"b" * 100_000 + b".",
    "ten doublings a hundred times": b"]" + b"2\x86" * 100_000 + b".",
    "list that holds itself": b"]q\x00h\x00a.",
    "dict that holds itself": b"}q\x00U\x01ah\x00s.",
    "bytes of 2**63": b"\x8e" + struct.pack("<Q", 1 << 63) + b"x.",
    "text of 4 GB": b"X\xff\xff\xff\xffx.",
    "text of minus one": b"T\xff\xff\xff\xffx.",
    "integer of 2 GB": b"\x8b\xff\xff\xff\x7fx.",
    "integer of minus one": b"\x8b\xff\xff\xff\xffx.",
    "bytearray of 2**64": b"\x96" + b"\xff" * 8 + b"x.",
    "frame of 2**64": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "decimal of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "out-of-band buffer": b"\x97.",
    "buffer made read-only": b"\x98.",
    "stack underflow": b"R.",
    "pop of nothing": b"0.",
    "unknown memo": b"h\x07.",
    "setitems on a number": b"K\x01(K\x01K\x02u.",
    "build of a number": b"K\x01K\x02b.",
    "call of a list": b"])R.",
    "one list in a million dictionaries": b"](" + b"\x8c\x01aK\x01\x86" * 30_000 + b"eq\x000ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R0" * 30_000 + b".",
    "one text encoded a million times": b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"q\x000c_codecs\nencode\nq\x01U\x06latin1q\x02(" + b"h\x01h\x00h\x02\x86R" * 30_000 + b"l.",
    "a hundred thousand colliding keys": b"}(" + b"".join(b"\x8a\x0a" + (i * ((1 << 61) - 1)).to_bytes(10, "little", signed=True) + b"N" for i in range(100_000)) + b"u.",
    "a million dictionaries of two arguments": b"](" + b"\x8c\x01aK\x01\x86" * 30_000 + b"eq\x000ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00]\x86R0" * 30_000 + b".",
    "one text in a million arrays": b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"q\x000cnumpy.core.multiarray\n_reconstruct\nq\x010(K\x01)cnumpy\ndtype\nU\x02u1\x85R\x89h\x00tq\x020("
    + b"h\x01NNN\x87Rh\x02b" * 20_000 + b"l.",
    "one text joined to paths": b"X\x00\x00\x10\x00" + b"a" * (1 << 20) + b"q\x000cpathlib\nPosixPath\nq\x01(" + b"h\x00" * 100 + b"tq\x020(" + b"h\x01h\x02R" * 10_000 + b"l.",
    "one tuple for a million objects": b"ccopy_reg\n__newobj__\nq\x01(cm\nN\n" + b"N" * 30_000 + b"tq\x020(" + b"h\x01h\x02R" * 30_000 + b"l.",
    "states that add up": b"}(" + NUMBERS + b"uq\x000cm\nN\n)R" + b"}b" + b"h\x00b" * 100_000 + b".",
    "a million names": b"".join(b"cm\nn%d\n0" % i for i in range(400_000)) + b"N.",
    "object as its own state": b"cm\nN\n)Rq\x00h\x00b.",
    "reconstructors of each other": b"ccopy_reg\n__newobj__\nq\x00" + b"(h\x00" * 1000 + b"tR" * 1000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_cost_bounded_time_and_memory(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = read_pickle(BOMBS[name])
    del found
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # kB


AGAIN = ("million-deep list", "million-deep states")  # of those that take long


@pytest.mark.parametrize("name", [n for n in BOMBS if "million" not in n or n in AGAIN])
def test_bombs_in_a_checkpoint_do_not_stop_its_reader(name, tmp_path):
    file = tmp_path / "model.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", BOMBS[name])
        archive.writestr("model/data/0", b"\0" * 64)
    start = time.process_time()
    found = torch_zip.read(candidate(file))
    join(found.checkpoints)
    assert time.process_time() - start < 25
    assert found.source.status in set(Status)


def tensor_pickle(count, offset, shape, strides):
    """A state dict of one tensor "w" whose storage "0" claims `count` floats."""
    return b"\x80\x02}\x8c\x01w" + tensor(b"0", count, shape, strides, offset) + b"s."


@pytest.mark.parametrize(
    ("count", "offset", "shape", "strides"),
    [
        (4, 0, (10**6, 10**6), (0, 0)),
        (4, 0, (10**12,), (0,)),
        (4, 0, (5,), (1,)),
        (10**15, 0, (10**15,), (1,)),
        (4, 2, (4,), (1,)),
        (4, -1, (4,), (1,)),
        (4, 0, (4,), (-1,)),
        (4, 0, (-4,), (1,)),
        (4, 0, (2, 2), (1,)),
        (4, 0, (2**61, 2**61), (1, 1)),
        (4, 0, (2,), (2**61,)),
        (2**61, 2**61, (1,), (1,)),
    ],
)
def test_a_tensor_never_claims_more_than_its_storage_holds(count, offset, shape, strides, tmp_path):
    file = tmp_path / "m.pt"
    file.write_bytes(saved(tensor_pickle(count, offset, shape, strides), [("data/0", b"\0" * 16)]))
    found = torch_zip.read(candidate(file))
    assert all(not c.tensors for c in found.checkpoints)
    assert found.source.status is not Status.READ
    assert found.source.detail is not None


def test_the_same_tensor_within_its_storage_is_read(tmp_path):
    file = tmp_path / "m.pt"
    file.write_bytes(saved(tensor_pickle(4, 0, (2, 2), (2, 1)), [("data/0", b"\0" * 16)]))
    found = torch_zip.read(candidate(file))
    assert [t.shape for t in found.checkpoints[0].tensors] == [(2, 2)]
    assert found.source.status is Status.READ


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n((\x8c\x07storagectorch\nFloatStorage\n\x8c\x010\x8c\x03cpuK\x04tQK\x00K\x04\x85K\x01\x85\x89}tRq\x00"
LONG = b"X" + struct.pack("<I", 1 << 20) + b"k" * (1 << 20)


def numbered(count):
    return b"".join(short(b"p%d" % i) + b"h\x00" for i in range(count))


def slots(count):
    """As many parameters, each with the same dictionary of as many slots."""
    shared = b"".join(b"J" + struct.pack("<i", i) + b"h\x01" for i in range(count))
    return TENSOR + b"0}(\x8c\x05state}(" + numbered(count) + b"uq\x010}(" + shared + b"u\x8c\x0cparam_groups]u."


def modules(children, count):
    """Modules that have the same dictionary of parameters."""
    below = b"".join(short(b"m%d" % i) + b"cm\nN\n)R}(\x8c\x0b_parametersh\x01\x8c\x08_modules}ub" for i in range(count))
    return TENSOR + b"0}(" + numbered(children) + b"uq\x010cm\nN\n)R}(\x8c\x0b_parametersh\x01\x8c\x08_modules}(" + below + b"uub."


CONTENTS = {
    "every parameter has the same 2,000 slots": (slots(2_000), 30_000),
    "every parameter has the same 20,000 slots": (slots(20_000), 300_000),
    "500 modules with the same 2,000 parameters": (modules(2_000, 500), 20_000),
    "5,000 modules with the same 20,000 parameters": (modules(20_000, 5_000), 100_000),
    "every group has the same 20,000 parameters": (b"](" + b"K\x01" * 20_000 + b"eq\x010}\x8c\x06paramsh\x01sq\x020}(\x8c\x05state}\x8c\x0cparam_groups](" + b"h\x02" * 20_000 + b"eu.", 1000000),
    "names of a megabyte below each other": (TENSOR + b"0}" + (LONG + b"q\x05") + b"}(" + b"h\x05}\x8c\x01ah\x00sus.", 1),
    "one megabyte key in 5,000 dictionaries": (TENSOR + b"0" + LONG + b"q\x050}(" + b"".join(
        b"J" + struct.pack("<i", i) + b"}h\x05}h\x05h\x00ss" for i in range(5_000)) + b"u.", 5000),
    "a configuration of doubled lists": (b"}\x8c\x06config](" + b"K\x01" * 5 + b"e" + b"2\x86" * 10_000 + b"s.", 0),
    "a scheduler of doubled dictionaries": (b"}(\x8c\x0alast_epochK\x01\x8c\x08base_lrs](" + b"}\x8c\x01b\x86" + b"2\x86" * 10_000 + b"eu.", 0),
}  # fmt: skip


MOST_TENSORS = {"500 modules with the same 2,000 parameters": 30_000}  # as few as that, where it is a tenth of the other
IN_FULL = pytest.mark.slow("ten seconds each up to the bounds as they are; a tenth of it is in the ordinary run")


@pytest.mark.parametrize("name", [pytest.param(n, marks=IN_FULL) if "same 20,000" in n and "group" not in n else n for n in CONTENTS])
def test_contents_that_multiply_themselves_are_bounded(name, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "_MOST_TENSORS", MOST_TENSORS.get(name, models._MOST_TENSORS))
    file = tmp_path / "m.pt"
    file.write_bytes(saved(b"\x80\x02" + CONTENTS[name][0], [("data/0", b"\0" * 16)]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = torch_zip.read(candidate(file))
    joined = join(found.checkpoints)
    assert time.process_time() - start < 25
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_500_000  # kB
    # it did multiply: the bounds were reached, not an error before them
    optimizer = joined[0].optimizer if joined else None
    size = len(joined[0].tensors) if joined else 0
    size += sum(len(s.slots) for s in optimizer.states) + sum(len(g.params) for g in optimizer.groups) if optimizer else 0
    assert size >= CONTENTS[name][1]


AUDIT = """
    import sys
    import postmortem.sources.checkpoints.torch_zip as torch_zip
    from pathlib import Path
    from postmortem.sources.reader import Candidate
    import numpy, tempfile
    from postmortem.sources.checkpoints.joining import join

    folder = Path(sys.argv[1])
    candidates = []
    for file in sorted(folder.iterdir()):
        head = file.read_bytes()[:4096]
        candidates.append(Candidate(folder, file.name, file.stat().st_size, head, frozenset()))
    torch_zip.read(candidates[-1])  # warm: what the reader itself imports late
    "".encode("raw_unicode_escape")  # a codec of Python that protocol 0 asks for
    seen = []
    def hook(event, args):
        if event in ("exec", "compile", "import", "os.system", "subprocess.Popen", "os.exec", "os.fork", "os.spawn", "os.posix_spawn",
                     "socket.__new__", "socket.connect", "ctypes.dlopen", "marshal.loads", "pickle.find_class", "code.__new__", "shutil.rmtree",
                     "os.remove", "os.rename", "os.mkdir", "builtins.input", "os.putenv"):
            seen.append((event, str(args)[:200]))
        if event == "open" and (not str(args[0]).startswith(str(folder)) or (args[1] and set(str(args[1])) & set("wax+"))):
            seen.append((event, str(args)[:200]))
    sys.addaudithook(hook)
    if len(sys.argv) > 2:
        exec("1 + 1")
    for candidate in candidates:
        for one in torch_zip.read(candidate).checkpoints:
            str(one.detail)
    print(len(candidates), seen)
    assert not seen, seen
    assert "torch" not in sys.modules
"""


def _audit(folder, *more):
    code = textwrap.dedent(AUDIT)
    return subprocess.run([sys.executable, "-c", code, str(folder), *more], capture_output=True, text=True, timeout=300, check=False)


def test_reading_hostile_files_runs_opens_and_imports_nothing(tmp_path):
    for i, (data, _) in enumerate(HOSTILE.values()):
        (tmp_path / f"raw{i:02}.pt").write_bytes(data if data[:1] == b"\x80" else b"\x80\x02" + data)
        (tmp_path / f"zip{i:02}.pt").write_bytes(saved(data))
        whole = saved(data, [("data/0", b"\0" * 64)])
        (tmp_path / f"zut{i:02}.pt").write_bytes(whole[: len(whole) * 2 // 3])
    done = _audit(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(str(3 * len(HOSTILE)))


def test_the_audit_would_see_it(tmp_path):
    (tmp_path / "a.pt").write_bytes(saved(b"N."))
    done = _audit(tmp_path, "with a canary")
    assert done.returncode != 0
    assert "exec" in done.stdout
