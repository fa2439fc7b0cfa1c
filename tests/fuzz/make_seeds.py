"""Writes the seeds: small honest and hostile files of each format.

python -m tests.fuzz.make_seeds
"""

import io
import json
import pickle
import sqlite3
import struct
import tempfile
import warnings
from collections import OrderedDict
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.distributed.checkpoint as dcp

from tests.fuzz.targets import CUT
from tests.hostile import checkpoints, logs
from tests.sources.wire import event, framed, record, row, scalar

SEEDS = Path(__file__).with_name("seeds")


def distributed() -> dict[str, bytes]:
    """A checkpoint that torch.distributed.checkpoint wrote."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"w": torch.ones(2, 2), "step": 3}, checkpoint_id=folder, no_dist=True)
        return {"torch": CUT.join(Path(folder, name).read_bytes() for name in (".metadata", "__0_0.distcp"))}


def keras() -> dict[str, bytes]:
    """Weights as Keras 3 and as its predecessor name them, and what points elsewhere; in the newest and in the oldest layout of HDF5."""
    out = {}
    for version in ("latest", "earliest"):
        file = io.BytesIO()
        with h5py.File(file, "w", libver=version) as store:
            store["layers/dense/vars/0"] = np.ones((2, 3), "f4")
            store["layers/dense/vars/1"] = np.ones(3, ">f2")
            store.create_dataset("layers/dense_1/vars/0", data=np.ones((4, 4), "f8"), chunks=(2, 2), compression="gzip")
            store["optimizer/vars/0"] = np.int64(3)
            store["layers/link"] = h5py.SoftLink("/layers/dense")
            store["layers/far"] = h5py.ExternalLink("other.h5", "/x")
            store.attrs["layer_names"] = [b"dense"]
            store.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": []}}'
        out[version] = file.getvalue()
    return out


def store() -> dict[str, bytes]:
    """An MLflow store of small pages, by itself, with a write-ahead log and with a journal that names a further file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "mlflow.db")
        connection = sqlite3.connect(path, isolation_level=None)
        connection.executescript(
            "PRAGMA page_size = 512;"
            + logs.SCHEMA
            + "INSERT INTO runs VALUES ('r', 'FINISHED', 1, 2, 'active'); INSERT INTO params VALUES ('lr', '0.1', 'r');"
        )
        connection.executemany("INSERT INTO metrics VALUES ('loss', ?, ?, 'r', ?, 0)", [(1 / (i + 1), 1000 * i, i) for i in range(12)])
        plain = path.read_bytes()
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO metrics VALUES ('loss', 0.01, 99, 'r', 99, 0)")
        logged = CUT.join((path.read_bytes(), path.with_name("mlflow.db-wal").read_bytes()))
        connection.close()
    return {"plain": plain, "wal": logged, "journal": CUT.join((plain, b"", plain[:512] + b"/tmp/x" + bytes(16) + bytes.fromhex("d9d505f920a163d7")))}


def seeds() -> dict[str, dict[str, bytes]]:
    npz = io.BytesIO()
    np.savez_compressed(npz, weight=np.ones((3, 2), np.float32), step=np.int64(3))
    npy = io.BytesIO()
    np.savez(npy, **{"a.kernel": np.ones((2, 2), np.float16)})
    state = OrderedDict(weight=np.ones((2, 2), np.float32), epoch=3)
    events = [event(i, scalar(b"loss", 1.0 / (i + 1))) for i in range(4)]
    return {
        "pickle": {
            **{f"plain{p}": pickle.dumps({"a": [1, 2.5, None, (True, b"x", "é")], "s": {1, 2}}, p) for p in range(6)},
            "array": pickle.dumps(state, 4), "tensor": checkpoints.with_tensor(b"N"),
            **{f"evil{i}": b"\x80\x02" + data + b"." for i, (data, _) in enumerate(checkpoints.PAYLOADS.values())},
        },
        "zip": {
            "tensor": checkpoints.saved(checkpoints.with_tensor(b"N"), checkpoints.STORAGE), "evil": checkpoints.saved(checkpoints.with_tensor(checkpoints.PAYLOADS["os.system"][0]), checkpoints.STORAGE),
            "bare": b"\x80\x02" + checkpoints.PAYLOADS["os.system"][0] + b".", "optimizer": checkpoints.saved(pickle.dumps({"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1, "params": [0]}]}, 2)),
        },
        "safetensors": {
            "two": checkpoints.safetensors({"a.weight": checkpoints.entry(0, 16), "b": checkpoints.entry(16, 24, (4,), "BF16")}, bytes(24)),
            "over": checkpoints.safetensors({"a": checkpoints.entry(0, 16), "b": checkpoints.entry(8, 24)}, bytes(24)), "long": checkpoints.safetensors({}, length=1 << 62),
        },
        "npz": {"packed": npz.getvalue(), "plain": npy.getvalue()},
        "events": {"four": record(struct.pack("<Bd", 9, 1.0) + b"\x1a\x0dbrain.Event:2") + b"".join(events), "cut": b"".join(events)[:-7]},
        "kernels": {"four": b"".join(events), "cut": b"".join(events)[:-7], "floats": np.array([0.0, -0.0, np.nan, np.inf, 1e-45, 3e38, 1.5], np.float32).tobytes()},
        "wandb": {"rows": framed(*(row(i, loss=1.0 / (i + 1), train__acc=0.5) for i in range(6)))},
        "text": {
            "plain": b"".join(b"epoch %d step %d loss: %.3f lr=1e-3 acc 12%%\n" % (i, i * 10, 1 / (i + 1)) for i in range(6)),
            "dict": b"{'loss': 1.5, 'learning_rate': 1e-4, 'epoch': 0.1}\n{'loss': 1.4, 'epoch': 0.2}\n",
            "bar": b"\r10%|# | 1/10 [00:01<00:09, 1.0it/s, loss=2.3]\r20%|## | 2/10 [00:02<00:08, 1.0it/s, loss=2.2]\n",
            "table": b"epoch | loss | acc\n----- | ---- | ---\n1 | 2.0 | 0.1\n2 | 1.5 | 0.2\n",
            "crash": b'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    main()\ntorch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n',
            "args": b"Namespace(lr=0.1, name='x', betas=(0.9, 0.999))\nslurmstepd: error: *** JOB 1 CANCELLED AT 2024-01-01T00:00:00 DUE TO TIME LIMIT ***\n",
        },
        "csv": {"lightning": b"epoch,step,train_loss,val_loss\n0,1,2.5,\n0,1,,2.4\n1,2,2.0,\n", "semicolon": b"step;loss\n1;0,5\n2;0,4\n", "quoted": b'"step","a ""b"""\n1,2\n2,nan\n'},
        "json": {
            "lines": b'{"step": 1, "loss": 2.0}\n{"step": 2, "loss": NaN, "x": {"y": [1]}}\n', "history": json.dumps({"loss": [3, 2, 1], "val_loss": [3, 2.5, 2]}).encode(),
            "array": json.dumps([{"epoch": 1, "loss": 1}, {"epoch": 2, "loss": 0.5}]).encode(),
        },
        "jsonblocks": {
            "numbers": b"".join(b'{"step": %d, "loss": %.3f, "acc": NaN}\n' % (i, 1 / (i + 1)) for i in range(4)),
            "mixed": b'{"a": 1, "b": 2}\n{"a": 2, "val": 3}\n' * 2,
            "tight": b'{"a":1,"b":-2e-3}\n{"a":2,"b":Infinity}\n',
        },
        "hdf5": keras(), "sqlite": store(),
        "dcp": {"whole": CUT.join((b"\x80\x02" + checkpoints.PAYLOADS["os.system"][0] + b".", checkpoints.saved(checkpoints.with_tensor(b"N"), checkpoints.STORAGE))), **distributed()},
        "shards": {
            "two": CUT.join([checkpoints.saved(checkpoints.with_tensor(b"N"), checkpoints.STORAGE)] * 2),
            "evil": CUT.join([checkpoints.saved(checkpoints.with_tensor(checkpoints.PAYLOADS["eval"][0]), checkpoints.STORAGE)] * 2),
        },
        "config": {
            "yaml": b"optim:\n  lr: 1e-3\n  betas: [0.9, 0.999]\nbatch_size: 32\nx: !!python/tuple [1]\n", "json": json.dumps({"learning_rate": 0.1, "model": {"hidden_size": 8}}).encode(),
            "alias": b"a: &a {lr: 0.1}\nb: {<<: *a, c: *a}\n", "evil": b"!!python/object/apply:os.system ['x']\n",
        },
        "redact": {
            **{name: value.encode() for name, value in logs.SECRETS.items()}, "login": b"https://user:pass@example.org/x api_key='abcdef123' alice@node-1: a@b.org 10.0.0.1",
            "home": b"/home/alice/x C:\\Users\\bob\\y events.out.tfevents.1700000000.host.1.0",
        },
    }  # fmt: skip


def main() -> None:
    for target, files in seeds().items():
        folder = SEEDS / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)


if __name__ == "__main__":
    main()
