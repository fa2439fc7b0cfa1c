"""The inert interpreter against Python's own pickler, and against damage."""

import collections
import datetime as dt
import enum
import pathlib
import pickle
import pickletools
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.sources.pickles import Limits, dangerous, machine, read_pickle
from postmortem.sources.pickles.records import Array, Named, OddKey, Omitted, Record, Storage, Tensor

PROTOCOLS = range(6)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 300), 1 << 300)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-1000, 1000), inner)
    ),
    max_leaves=30,
)


class Colour(enum.Enum):
    RED = "red"


class Options:
    def __init__(self):
        self.lr = 0.1
        self.nested = {"a": [1, 2]}


class Slotted:
    __slots__ = ("a", "b")


@given(plain, st.sampled_from(PROTOCOLS))
@settings(max_examples=200, deadline=None)
def test_plain_data_come_out_as_python_would_read_them(value, protocol):
    found = read_pickle(pickle.dumps(value, protocol))
    assert found.problem is None
    assert found.value == value
    assert found.dangerous == ()
    assert found.end == len(pickle.dumps(value, protocol))


def test_every_opcode_of_the_standard_table_has_a_method():
    for info in pickletools.opcodes:
        if info.name != "STOP":
            assert callable(getattr(machine._Machine, machine._METHODS[ord(info.code)]))
            assert machine._METHODS[ord(info.code)] != "op_unknown", info.name
    assert machine._METHODS.count("op_unknown") == 256 - len(pickletools.opcodes) + 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_become_records_with_their_attributes(protocol):
    found = read_pickle(pickle.dumps(Options(), protocol))
    record = found.value
    assert isinstance(record, Record)
    assert record.kind.endswith("test_pickles.Options")
    assert record.state == {"lr": 0.1, "nested": {"a": [1, 2]}}
    assert found.dangerous == ()


def test_slots_come_as_a_pair_of_states():
    slotted = Slotted()
    slotted.a = 3
    assert read_pickle(pickle.dumps(slotted, 2)).value.state == (None, {"a": 3})


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_containers_of_the_standard_library(protocol):
    def back(value):
        return read_pickle(pickle.dumps(value, protocol)).value

    assert back(collections.OrderedDict(a=1, b=2)) == {"a": 1, "b": 2}
    assert back(collections.defaultdict(list, {"a": [1]})) == {"a": [1]}
    assert back(collections.Counter("aab")) == {"a": 2, "b": 1}
    assert sorted(back({1, 2, 3}).items) == [1, 2, 3]
    assert sorted(back(frozenset({1, 2})).items) == [1, 2]
    assert back(1 + 2j) == 1 + 2j
    assert back(pathlib.PurePosixPath("/a/b")) == "/a/b"
    assert back(Colour.RED).args == ("red",)
    assert back(dt.date(2020, 1, 2)).kind == "datetime.date"


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", ">f4"]
)
def test_numpy_arrays_keep_their_bytes(protocol, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    found = read_pickle(pickle.dumps(array, protocol)).value
    assert isinstance(found, Array)
    assert found.shape == (2, 3)
    read = np.frombuffer(found.data, np.dtype(found.dtype).newbyteorder(found.order)).reshape(found.shape, order="F" if found.fortran else "C")
    assert np.array_equal(read, array)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_scalars_become_numbers(protocol):
    for scalar in (np.float64(0.1), np.float32(0.5), np.int64(-3), np.bool_(True), np.float16(2.0), np.uint8(200)):
        assert read_pickle(pickle.dumps({"best": scalar}, protocol)).value == {"best": scalar.item()}


def test_fortran_order_and_object_arrays():
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    found = read_pickle(pickle.dumps(array)).value
    assert found.fortran
    assert np.array_equal(np.frombuffer(found.data).reshape(found.shape, order="F"), array)
    objects = read_pickle(pickle.dumps(np.array(["a", None], dtype=object))).value
    assert objects.items == ["a", None]


def test_a_tensor_of_plain_pickle_keeps_its_storage_as_a_blob():
    found = read_pickle(pickle.dumps({"w": torch.arange(4.0)})).value["w"]
    assert isinstance(found, Tensor)
    assert found.shape == (4,)
    assert isinstance(found.storage, Storage)
    assert found.storage.blob


def test_keys_that_are_no_scalars_are_kept_aside_and_counted():
    found = read_pickle(pickle.dumps({(1, 2): "pair", "a": 1}))
    assert found.odd_keys == 1
    odd = next(k for k in found.value if isinstance(k, OddKey))
    assert odd.value == (1, 2)
    assert found.value[odd] == "pair"
    assert found.value["a"] == 1


def test_a_truncated_pickle_gives_what_was_there():
    value = {"model": {f"layer{i}.weight": [float(i)] * 3 for i in range(50)}, "epoch": 3}
    whole = pickle.dumps(value, 2)
    half = read_pickle(whole[: len(whole) // 2])
    assert half.problem is not None
    assert isinstance(half.value, dict)
    layers = half.value["model"]
    assert 5 < len(layers) < 50
    for name, numbers in list(layers.items())[:-1]:
        assert numbers == value["model"][name]


def test_every_cut_and_every_flipped_byte_is_survived():
    data = pickle.dumps({"a": [1, 2.5, "x", None, (1, 2)], "b": Options(), "c": np.arange(3), "d": collections.OrderedDict(x=1)}, 4)
    for at in range(len(data)):
        assert read_pickle(data[:at]).problem is not None
    for at in range(len(data)):
        for flip in (1, 0x80, 0xFF):
            read_pickle(data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :])


@given(st.binary(max_size=400))
@settings(max_examples=500, deadline=None)
def test_any_bytes_give_a_result(data):
    read_pickle(data)


opcodes = st.sampled_from([info.code.encode("latin-1") for info in pickletools.opcodes])


@given(st.lists(opcodes | st.binary(min_size=1, max_size=4) | st.just(b"cos\nsystem\n") | st.just(b"\x8c\x01a") | st.just(b"K\x01"), max_size=80))
@settings(max_examples=500, deadline=None)
def test_any_sequence_of_instructions_gives_a_result(parts):
    read_pickle(b"".join(parts) + b".")


@given(plain)
@settings(max_examples=100, deadline=None)
def test_bytes_after_the_end_are_not_looked_at(value):
    data = pickle.dumps(value, 4)
    assert read_pickle(data + b"garbage").end == len(data)
    assert read_pickle(memoryview(data)).value == value


def test_the_integer_of_ten_thousand_digits_is_left_out():
    found = read_pickle(pickle.dumps({"n": 1 << 40_000, "m": 7}, 2))
    assert isinstance(found.value["n"], Omitted)
    assert found.value["m"] == 7
    assert found.omitted == 1
    assert isinstance(read_pickle(b"I" + b"9" * 5000 + b"\n.").value, Omitted)


def test_python_2_text_and_bytes():
    assert read_pickle(b"S'a\\x41\\n'\n.").value == "aA\n"
    assert read_pickle(b"S'\\8\\101'\n.").value == "8A"
    assert read_pickle(b"U\x02\xff\x41.").value == "\xffA"
    assert read_pickle(b"T\x03\x00\x00\x00abc.").value == "abc"
    assert read_pickle(b"Va\\u00e4\n.").value == "aä"
    assert read_pickle(b"I01\n.").value is True
    assert read_pickle(b"L12L\n.").value == 12
    assert read_pickle(b"(lp0\nI1\na.").value == [1]
    assert read_pickle(b"c__builtin__\nset\n.").value.full == "builtins.set"


def test_limits_stop_the_machine_with_a_reason():
    many = pickle.dumps(list(range(100_000)), 2)
    assert "instructions" in str(read_pickle(many, limits=Limits(work=50_000)).problem)
    assert "stack" in str(read_pickle(b"(" * 100_000 + b".", limits=Limits(stack=10_000)).problem)
    memo = b"".join(b"Nr" + struct.pack("<I", i) + b"0" for i in range(20_000)) + b"N."
    assert "remembers" in str(read_pickle(memo, limits=Limits(memo=5_000)).problem)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._utils", "_rebuild_tensor_v2"), ("collections", "OrderedDict"), ("argparse", "Namespace"), ("torch.nn.modules.linear", "Linear"),
        ("builtins", "set"), ("functools", "partial"), ("numpy.core.multiarray", "scalar"), ("pathlib", "PosixPath"), ("datetime", "timedelta"),
        ("torch.optim.lr_scheduler", "LambdaLR"), ("transformers.training_args", "TrainingArguments"), ("__main__", "Net"), ("_codecs", "encode"),
        ("torch.nn.modules.module", "Module.eval_steps"), ("ultralytics.nn.tasks", "DetectionModel"), ("omegaconf.dictconfig", "DictConfig"),
        ("torch.storage", "_load_from_bytes"), ("copyreg", "_reconstructor"), ("types", "SimpleNamespace"), ("threading", "Lock"), ("model.system", "Net"),
        ("os", "PathLike"), ("logging", "getLogger"), ("numpy.random._pickle", "__randomstate_ctor"), ("torch.jit._pickle", "build_intlist"),
    ],
)  # fmt: skip
def test_what_honest_checkpoints_name_is_no_danger(module, name):
    assert not dangerous(module, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"), ("posix", "system"), ("nt", "system"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "__import__"),
        ("subprocess", "Popen"), ("runpy", "run_path"), ("socket", "socket"), ("ctypes", "CDLL"), ("shutil", "rmtree"), ("webbrowser", "open"),
        ("pickle", "loads"), ("_pickle", "loads"), ("torch", "load"), ("torch.hub", "load"), ("torch.serialization", "load"), ("importlib", "import_module"),
        ("sys", "exit"), ("code", "interact"), ("pty", "spawn"), ("numpy.testing._private.utils", "runstring"), ("operator", "attrgetter"),
        ("operator", "methodcaller"), ("random", "_os.system"), ("torch", "os.system"), ("anything", "__builtins__"), ("builtins", "open"),
        ("codecs", "open"), ("marshal", "loads"), ("types", "FunctionType"), ("pip._internal", "main"), ("bdb", "Bdb"), ("timeit", "timeit"),
        ("copyreg.extension", "7"), ("torch._utils", "os"), ("dill._dill", "_import_module"), ("multiprocessing.util", "spawnv_passfds"),
    ],
)  # fmt: skip
def test_what_runs_code_or_reaches_out_is(module, name):
    assert dangerous(module, name)


def test_named_and_records_have_short_reprs():
    assert repr(Named("a", "b")) == "Named('a', 'b')"
