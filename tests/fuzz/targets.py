"""What is fuzzed: each target hands bytes to a reader and holds it to its promises. Returns whether the parser got somewhere."""

import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

Check = Callable[[bytes], bool]


@dataclass(frozen=True)
class Target:
    """`modules` are instrumented for coverage; `check` raises when a promise is broken."""

    modules: tuple[str, ...]
    check: Check


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="postmortem-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))


def _read(data: bytes, name: str, module: str) -> bool:
    """Claim and read one file; the whole module's readers are asked."""
    from postmortem.model.run import Status
    from postmortem.sources.checkpoints.joining import join
    from postmortem.sources.reader import Candidate

    file = _folder() / name
    file.write_bytes(data)
    candidate = Candidate(file.parent, name, len(data), data[:4096], frozenset({name}))
    loaded = import_module(module)
    reached = False
    for reader in getattr(loaded, "READERS", None) or (loaded.READER,):
        reader.claims(candidate)
        found = reader.read(candidate)
        assert found.source.status in set(Status)
        assert found.source.status is Status.READ or found.source.detail is not None
        str(found.source.detail)
        for series in found.series:
            assert len(series.steps) == len(series.values)
            assert series.name
        for checkpoint in join(found.checkpoints):
            _held(checkpoint.tensors, len(data))
            reached = reached or bool(checkpoint.tensors)
        reached = reached or bool(found.series) or bool(found.settings) or bool(found.events)
    return reached


def _held(tensors: Sequence[object], size: int) -> None:
    """No tensor claims bytes that are not there."""
    from postmortem.model.run import TensorRef

    for ref in tensors:
        assert isinstance(ref, TensorRef)
        assert not ref.pieces
        if ref.inline is None:
            assert ref.offset >= 0
            assert ref.offset + ref.nbytes <= size
        else:
            assert len(ref.inline) <= 1 << 28
        assert all(n >= 0 for n in ref.shape)


def _pickle(data: bytes) -> bool:
    from postmortem.sources.pickles import read_pickle

    found = read_pickle(data)
    str(found.problem)
    return bool(found.value)


def _config(data: bytes) -> bool:
    return any([_read(data, f"config.{ending}", "postmortem.sources.config") for ending in ("yaml", "json")])  # noqa: C419


def _json(data: bytes) -> bool:
    rows = _read(data, "metrics.jsonl", "postmortem.sources.logs.jsonl")
    return _read(data, "history.json", "postmortem.sources.logs.json_rows") or rows


def _jsonblocks(data: bytes) -> bool:
    """What is read by column is what every line says by itself."""
    import math

    from postmortem.sources.logs.jsonblocks import columns

    found = columns(data)
    if found is None:
        return False
    rows = [json.loads(line) for line in data.strip().replace(b"-NaN", b"NaN").split(b"\n")]  # C prints a sign
    assert sorted(row for form in found for row in form.rows.tolist()) == list(range(len(rows)))
    for form in found:
        for row, cells in zip(form.rows.tolist(), form.values, strict=True):
            assert tuple(rows[row]) == form.keys
            for wanted, got in zip(rows[row].values(), cells, strict=True):
                assert float(wanted) == got or (math.isnan(wanted) and math.isnan(got))
    return True


def _several(data: bytes, names: Sequence[str], cut: bytes) -> bool:
    """A run of several files: the parts of `data` between `cut`, in the order of `names`."""
    from postmortem.sources import read_run

    with tempfile.TemporaryDirectory(dir=_folder()) as folder:
        sizes = 0
        for name, part in zip(names, data.split(cut), strict=False):
            file = Path(folder, name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(part)
            sizes += len(part)
        run = read_run([Path(folder)])
    for source in run.sources:
        str(source.detail)
        assert "Error" not in str(source.detail), source.detail
    for checkpoint in run.checkpoints:
        assert sum(0 if t.inline is not None else t.nbytes for t in checkpoint.tensors if not t.pieces) <= 100 * sizes + 1
    return bool(run.checkpoints or run.series)


CUT = b"\0--cut--\0"


def _dcp(data: bytes) -> bool:
    return _several(data, ("ckpt/.metadata", "ckpt/__0_0.distcp"), CUT)


def _shards(data: bytes) -> bool:
    """The files of a DeepSpeed and of a Megatron checkpoint."""
    deepspeed = [f"global_step1/{name}" for name in ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt")]
    return _several(data, deepspeed, CUT) | _several(
        data, ("iter_0000001/mp_rank_00/model_optim_rng.pt", "iter_0000001/mp_rank_01/model_optim_rng.pt"), CUT
    )


def _survives(job: Callable[[], object]) -> bool:
    """Whether a job ends in a process of its own within 0.3 s. The HDF5 library does not always: it crashes, and walks in circles."""
    child = os.fork()
    if not child:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, 0.3)
        with contextlib.suppress(Exception):
            job()
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def _hdf5(data: bytes) -> bool:
    """The reader with what its child process does done in this one, so that its code is instrumented. Files on which the library dies end there."""
    import h5py

    from postmortem.sources.checkpoints import hdf5, hdf5_child

    def ask(jobs: Sequence[hdf5.Job]) -> Iterator[tuple[dict[str, Any], bytes]]:
        for job in jobs:
            blob = bytearray()
            asked = {"path": job.path, "start": job.start, "size": job.size, "packed": job.packed}
            if not _survives(lambda asked=asked: hdf5_child._list(h5py, asked, bytearray())):  # type: ignore[misc]
                return
            try:
                answer = hdf5_child._list(h5py, asked, blob)
            except Exception as error:  # as the child does
                answer, blob = {"error": f"{type(error).__name__}: {error}"[:300]}, bytearray()
            yield json.loads(json.dumps(answer)), bytes(blob)

    hdf5._ask = ask
    hdf5._cache.clear()
    return _read(data, "model.weights.h5", f"{_SAVED}.keras_h5")


def _sqlite(data: bytes) -> bool:
    """A store with its journals beside it."""
    return _several(data, ("mlflow.db", "mlflow.db-wal", "mlflow.db-journal"), CUT)


def _redact(data: bytes) -> bool:
    from postmortem.redact import Pseudonyms, clean

    text = data.decode("utf-8", "replace")
    secret = "hf_" + "a1B2c3D4" * 4
    out = clean(f"{text} token {secret} {text}", Pseudonyms())
    assert secret not in out
    again = clean(out, Pseudonyms())
    assert len(again) <= 4 * len(out) + 1000
    return out != f"{text} token *** {text}"


def _kernels(data: bytes) -> bool:
    """The compiled loops do what plain ones do. Run with NUMBA_BOUNDSCHECK=1, an empty NUMBA_CACHE_DIR and no other target."""
    import numpy as np

    from postmortem.measure import kernels
    from postmortem.measure.tally import KEYS, Plain
    from postmortem.sources.logs import tfevents

    whole = data[: len(data) // 4 * 4]
    one, two = np.zeros(KEYS, np.int64), np.zeros(KEYS, np.int64)
    values = np.frombuffer(whole, np.float32).copy()
    with np.errstate(all="ignore"):
        compiled, plain = kernels.count_float32(values, one, 0.0, 0.0), Plain.count_float32(values, two, 0.0, 0.0)
        kernels.movement(values, values[::-1].copy(), None)
    assert np.array_equal(one, two)
    assert compiled[2:] == plain[2:]
    keys = np.frombuffer(whole, np.uint16).copy()
    kernels.count_keys(keys, one)
    Plain.count_keys(keys, two)
    assert np.array_equal(one, two)
    table = np.arange(1 << 16, dtype=np.float32)
    assert np.array_equal(kernels.decode(keys, table), table[keys])
    told = []
    for above in (0, 1 << 40):
        tfevents.COMPILED_ABOVE = above
        told.append(_read(data, "events.out.tfevents.1700000000.host", f"{_LOGS}.tfevents"))
    assert told[0] == told[1]
    return told[0]


def _reader(name: str, module: str, *more: str) -> Target:
    return Target((module, *more), lambda data: _read(data, name, module))


_LOGS = "postmortem.sources.logs"
_SAVED = "postmortem.sources.checkpoints"
TARGETS: dict[str, Target] = {
    "pickle": Target(("postmortem.sources.pickles",), _pickle),
    "zip": _reader("model.pt", f"{_SAVED}.torch_zip", "postmortem.sources.pickles", _SAVED),
    "safetensors": _reader("model.safetensors", f"{_SAVED}.safetensors", f"{_SAVED}.safetensors_header"),
    "npz": _reader("model.npz", f"{_SAVED}.npz", f"{_SAVED}.zip_directory"),
    "events": _reader("events.out.tfevents.1700000000.host", f"{_LOGS}.tfevents", f"{_LOGS}.tfevents_scan", f"{_LOGS}.tfevents_values", f"{_LOGS}.protobuf"),
    "kernels": Target((f"{_LOGS}.tfevents", f"{_LOGS}.tfevents_scan", f"{_LOGS}.tfevents_values"), _kernels),
    "wandb": _reader("run-abc.wandb", f"{_LOGS}.wandb", f"{_LOGS}.wandb_history", f"{_LOGS}.wandb_records", f"{_LOGS}.protobuf"),
    "text": _reader("train.log", f"{_LOGS}.text", f"{_LOGS}.crash", f"{_LOGS}.crash_rules", f"{_LOGS}.aftermath"),
    "csv": _reader("metrics.csv", f"{_LOGS}.csv", f"{_LOGS}.csvblocks", f"{_LOGS}.csvwriters", f"{_LOGS}.numbers"),
    "json": Target((f"{_LOGS}.jsonl", f"{_LOGS}.json_rows", f"{_LOGS}.jsonrows", "postmortem.sources.documents"), _json),
    "jsonblocks": Target((f"{_LOGS}.jsonblocks", f"{_LOGS}.numbers"), _jsonblocks),
    "hdf5": Target((f"{_SAVED}.hdf5", f"{_SAVED}.hdf5_child", f"{_SAVED}.keras_h5", f"{_SAVED}.keras_names", f"{_SAVED}.keras_optimizer"), _hdf5),
    "sqlite": Target((f"{_LOGS}.mlflow_sqlite", f"{_LOGS}.mlflow_files"), _sqlite),
    "dcp": Target((_SAVED, "postmortem.sources.pickles"), _dcp),
    "shards": Target((_SAVED, "postmortem.sources.pickles"), _shards),
    "config": Target(("postmortem.sources.config", "postmortem.sources.documents"), _config),
    "redact": Target(("postmortem.redact",), _redact),
}  # fmt: skip
