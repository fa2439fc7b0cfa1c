"""Inputs thought up by an attacker who reads the code: numbers that are none, names that are not text, counters without sense, lies within sound frames."""

import io
import json
import math
import pickle
import sqlite3
import struct
import tarfile
import zipfile
from contextlib import closing

import h5py
import numpy as np

from tests.hostile.cases import Cases
from tests.hostile.checkpoints import entry, safetensors
from tests.hostile.logs import EVIL, SCHEMA
from tests.hostile.pickled import STORAGE, saved, short, tensor
from tests.sources.wire import event, fixed, framed, item, num, record, row, scalar, sub, varint

ATTACKS = Cases()
case = ATTACKS.case
# str.isdigit says yes to all of them, int to the first three
DIGITS = ("٣", "३", "３", "²", "①", "Ⅷ", "৴")


@case("digits of other scripts, in names and texts")
def _digits(run):
    good = safetensors({"w": entry(0, 16)}, bytes(16))
    for n, digit in enumerate(DIGITS):
        folder = run / f"checkpoint-{digit}"
        folder.mkdir()
        folder.joinpath("model.safetensors").write_bytes(good)
        for name in (
            f"step_{digit}.safetensors",
            f"epoch={digit}-step={digit}.safetensors",
            f"iter_{digit}.{digit}",
            f"x.o{digit}",
            f"model-0000{digit}-of-0000{digit}.safetensors",
        ):
            run.joinpath(name).write_bytes(good)
        shard = run / f"iter_000000{n}" / f"mp_rank_{digit}"
        shard.mkdir(parents=True)
        shard.joinpath("model_optim_rng.pt").write_bytes(saved(b"\x80\x02}."))
        run.joinpath(f"zero_pp_rank_{digit}_mp_rank_0{digit}_optim_states.pt").write_bytes(saved(b"\x80\x02}."))
    lines = [
        f"step {d} val_loss {d}.{d} epoch {d}/{d} [{d}/{d}] rank{d}: 2024-0{d}-1{d} {d}{d}:{d}{d}:00 ETA {d}:{d}{d} {d}% lr={d}e-{d}" for d in DIGITS
    ]
    run.joinpath("odd.log").write_text("\n".join(lines * 20) + "\n")
    run.joinpath("odd.csv").write_text("step,val_loss,²\n" + "\n".join(f"{d},{d},{d}" for d in DIGITS * 5) + "\n")
    run.joinpath("odd.yaml").write_text("\n".join(f"k{i}: {d}\nlr{d}: 1_{d}\n{d}: {d}e{d}" for i, d in enumerate(DIGITS)))
    run.joinpath("slurm-²①.out").write_text("\n".join(lines))


@case("counters without sense")
def _counters(run):
    absurd = ("1e308", "-1e308", "1e400", "-5", "nan", "inf", "0", "9" * 400, "9223372036854775808", "1e-320", "0x10", "1_000", "5e-324")
    text = []
    for one in absurd:
        for other in absurd:
            text += [
                f"epoch {one}/{other} step {other}/{one} val_loss {one} lr {other}",
                f"[{one}/{other}] test_loss: {other} ({one}) acc {one}%",
                f"iteration {one} | consumed samples: {other} | val loss: {one} | number of nan iterations: {other}",
                f"{one}/{other} [====>.....] - ETA: {one}s - val_loss: {other}",
                f"Epoch {one}: {other}%|███| {one}/{other} [{one}:{other}<{one}, {other}it/s, test_loss={one}]",
            ]
    run.joinpath("absurd.log").write_text("\n".join(text) + "\n")
    rows = [
        {"step": s, "epoch": e, "val_loss": v, "timestamp": s}
        for s in (1e308, -1, 0, 2**63, 10**300)
        for e in (1e308, -1, 2**70)
        for v in (1e308, -1e308, 0)
    ]
    run.joinpath("metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    run.joinpath("progress.csv").write_text("step,epoch,val_loss,time\n" + "\n".join(f"{a},{b},{a},{b}" for a in absurd for b in absurd) + "\n")
    history = [{"step": s, "loss": s, "epoch": s, "learning_rate": s} for s in (1e308, -1e308, 0, -1, 2**63, None, "x", [1], {"a": 1}, True)]
    state = {"max_steps": -1, "num_train_epochs": 1e308, "global_step": "9", "log_history": [*history, None, 3, [], "x"], "train_batch_size": [1]}
    folder = run / "checkpoint-9"
    folder.mkdir()
    folder.joinpath("trainer_state.json").write_text(json.dumps(state))
    folder.joinpath("scheduler.pt").write_bytes(
        saved(pickle.dumps({"last_epoch": -(10**400), "base_lrs": [math.nan, 10**400], "_last_lr": ["x"]}, 2))
    )


LONE = "\ud800\udfff\udcff"


@case("halves of surrogate pairs")
def _surrogates(run):
    escaped = json.dumps({"lr": 0.5, f"name{LONE}": LONE, "list": [LONE] * 3})
    assert "\\ud800" in escaped
    run.joinpath("config.json").write_text(escaped)
    run.joinpath("metrics.jsonl").write_text("".join(json.dumps({"step": i, f"val_{LONE}": i, LONE: LONE}) + "\n" for i in range(30)))
    run.joinpath("history.json").write_text(json.dumps({f"val_loss{LONE}": [1, 2, 3], "x": LONE}))
    header = {"__metadata__": {LONE: LONE}, f"layer{LONE}.weight": entry(0, 16), "b": entry(16, 32)}
    run.joinpath("lone.safetensors").write_bytes(safetensors(header, bytes(32)))
    name = LONE.encode("utf-8", "surrogatepass")
    pickled = b"\x80\x02}(X" + struct.pack("<I", len(name)) + name + tensor() + short(b"ok") + tensor() + b"u."
    run.joinpath("lone.pt").write_bytes(saved(pickled, STORAGE))
    run.joinpath("lone.yaml").write_text('lr: 0.5\n"\\uD800": "\\uDFFF"\n')
    run.joinpath("events.out.tfevents.1700000000.host.1.0").write_bytes(
        record(b"\x1a\x0dbrain.Event:2") + b"".join(event(i, scalar(name, 1.0), scalar(b"\xff\xfe", 1.0), scalar(b"a\0b", 2.0)) for i in range(5))
    )
    folder = run / "wandb" / "run-1-abc"
    folder.mkdir(parents=True)
    folder.joinpath("run-abc.wandb").write_bytes(framed(*(row(i, **{f"val{LONE}".encode("utf-8", "replace").decode(): 1.0}) for i in range(9))))
    run.joinpath("lone.log").write_bytes(b"".join(b"step %d val_loss %d " % (i, i) + name + b"\n" for i in range(30)))


@case("events: lies within records whose checksums hold", "events.out.tfevents")
def _lies(run):
    huge = (1 << 63) - 1
    values = [
        b"\x0a" + varint(huge) + b"x",  # a tag longer than anything
        b"\x0a" + varint((1 << 64) - 1),
        sub(1, b"t") + sub(8, num(1, 1) + sub(4, b"")),
        sub(1, b"t") + sub(8, num(1, 7) + sub(8, b"x") * 50_000),
        sub(1, b"t") + sub(8, num(1, 3) + sub(7, b"\xff" * 60_000)),
        sub(1, b"h")
        + sub(
            5,
            fixed(1, struct.pack("<d", math.nan))
            + sub(6, struct.pack("<3d", math.nan, math.inf, 1e308))
            + sub(7, struct.pack("<3d", -1, 1e308, math.nan)),
        ),
        sub(1, b"t") + b"\x13" * 100,  # groups
        sub(1, b"t")
        + sub(9, sub(1, sub(1, b"hparams") + sub(2, sub(3, sub(1, sub(1, b"k" * 5000) + sub(2, fixed(2, struct.pack("<d", math.nan)))) * 100)))),
        sub(1, b"t") + sub(9, sub(1, sub(1, EVIL["html"].encode()) + sub(2, b"\xff" * 100))) + sub(8, num(1, 7) + sub(8, b"{" * 100_000)),
        sub(1, b"t") + sub(8, num(1, 7) + sub(8, b"| a | b |\n|---|---|\n" + b"| x | y |\n" * 50_000)),
    ]
    data = b"".join(record(fixed(1, struct.pack("<d", 1.0)) + sub(5, sub(1, one))) for one in values)
    data += b"".join(record(fixed(1, struct.pack("<d", wall)) + num(2, step & ((1 << 64) - 1)) + sub(5, sub(1, scalar(b"val/loss", value))))
                     for wall in (math.nan, math.inf, 1e300, -1.0) for step in (-1, 1 << 62, -(1 << 63)) for value in (math.nan, 3e38))  # fmt: skip
    run.joinpath("events.out.tfevents.1700000000.host.1.0").write_bytes(record(b"\x1a\x0dbrain.Event:2") + data)


@case("events: tags that collide in a table of hashes")
def _collide(run):
    """FNV-1a, folded, modulo 2¹⁸: texts of one slot, found by trying."""
    found, n = [], 0
    while len(found) < 400 and n < 4_000_000:
        block = np.arange(n, n + 500_000)
        n += 500_000
        code = np.full(len(block), 14695981039346656037, np.uint64)
        for shift in range(6):
            letter = (block // 10**shift % 10 + 48).astype(np.uint64)
            code = (code ^ letter) * np.uint64(1099511628211)
        code ^= code >> np.uint64(29)
        found += block[(code & np.uint64(0x3FF)) == 7].tolist()
    tags = [b"".join(bytes([48 + number // 10**shift % 10]) for shift in range(6)) for number in found[:3_000]]
    body = b"".join(event(1, scalar(tag, 1.0)) for tag in tags)
    run.joinpath("events.out.tfevents.1700000000.host.1.0").write_bytes(record(b"\x1a\x0dbrain.Event:2") + body * (1 + (6 << 20) // len(body)))


@case("wandb: patterns, depths and fragments out of order")
def _wandb(run):
    folder = run / "wandb" / "run-1-abc"
    folder.mkdir(parents=True)
    patterns = [sub(12, sub(3, b"*a" * 400 + b"b%d" % n) + sub(4, b"_step")) for n in range(100)]
    long = [row(i, **{"a" * 990 + str(k): 1.0 for k in range(20)}) for i in range(200)]
    deep = [
        sub(2, sub(1, sub(1, b"deep") + sub(16, b"[" * 100_000))),
        sub(2, sub(1, b"".join(sub(2, b"n%d" % k) for k in range(5_000)) + sub(16, b"1"))),
    ]
    texts = [
        sub(2, item("x", value))
        for value in ("NaN", LONE[:0], {"_type": "histogram", "values": [1] * 20_000, "bins": [math.inf] * 20_001}, {"_type": ["x"]})
    ]
    data = framed(*patterns, *long, *deep, *texts)
    folder.joinpath("run-abc.wandb").write_bytes(data)
    shuffled = bytearray(data)
    for at in range(7, len(shuffled) - 32768, 32768):
        shuffled[at + 6] = (shuffled[at + 6] % 7) + 1
    folder.joinpath("run-def.wandb").write_bytes(bytes(shuffled))


@case("sqlite: tables that are not what they seem")
def _sqlite(run):
    for name, script in {
        "norowid.db": SCHEMA.replace("is_nan INT)", 'is_nan INT, PRIMARY KEY ("key", step)) WITHOUT ROWID'),
        "trigger.db": SCHEMA + "CREATE TRIGGER t AFTER INSERT ON metrics BEGIN INSERT INTO metrics VALUES ('x', 1, 1, 'r', 1, 0); END;",
        "index.db": SCHEMA + "CREATE INDEX i ON metrics(length(printf('%.*c', 10000000, 'x')));",
        "check.db": SCHEMA.replace("value REAL", "value REAL CHECK (length(hex(zeroblob(1000000))) > 0)"),
        "names.db": SCHEMA + 'CREATE TABLE "<script>alert(1)</script>" (x);',
    }.items():
        with closing(sqlite3.connect(run / name, isolation_level=None)) as store:
            store.executescript(script + "INSERT INTO runs VALUES ('r', x'ff00', 'x', -9e999, 'active');")
            odd = (b"\xff\0", None, 5, 1e308, "\0", EVIL["html"], -(1 << 63))
            for i, one in enumerate(odd):
                try:
                    store.execute("INSERT INTO metrics VALUES (?, ?, ?, 'r', ?, ?)", (str(one)[:50], one, one, i, one))
                except (sqlite3.Error, OverflowError):
                    continue
            store.execute(
                "INSERT INTO metrics(rowid, \"key\", run_uuid) VALUES (9223372036854775807, 'val_loss', 'r')"
            ) if name == "names.db" else None


@case("yaml: tags, directives and keys of all kinds")
def _yaml(run):
    files = {
        "binary.yaml": "a: !!binary "
        + "A" * 100_000
        + "\nb: !!set {x, y}\nc: !!omap [a: 1]\nd: !!timestamp 99999-99-99\ne: !!float abc\nf: !!int 0x\n",
        "tags.yaml": "%TAG !e! tag:evil.example,2000:\n" * 2 + "---\n!e!x {lr: 1}\n",
        "keys.yaml": "? [a, b]\n: c\n? {x: y}\n: z\n? !!python/tuple [1]\n: 1\nnull: 1\ntrue: 2\n1.5: 3\n.nan: 4\n",
        "documents.yaml": "---\na: 1\n" * 100_000,
        "anchors.yaml": "".join(f"k{i}: &a{i} {i}\n" for i in range(50_000)) + "z: [" + ",".join(f"*a{i}" for i in range(50_000)) + "]\n",
        "integer.yaml": "lr: " + "1_" * 200_000 + "1\nbatch_size: 0b" + "1" * 100_000 + "\nsteps: 1:2:3:4:5\nx: 1e99999999999\n",
        "merge.yaml": "a: &a {lr: 1, <<: &b {x: 2}}\nc: {<<: [*a, *b, 3, x], <<: *a}\n<<: *a\n",
        "escape.yaml": 'a: "\\U0010FFFF\\x00\\x1b[31m"\nb: "\\UFFFFFFFF"\n',
    }
    for name, text in files.items():
        run.joinpath(name).write_text(text)
    run.joinpath("evil.toml").write_text("a.b.c = 1\n" * 2 + "[" * 1000 + "\nx = " + "[" * 10_000 + "\n")


@case("csv: quotes without an end, columns without a number")
def _csv(run):
    run.joinpath("quote.csv").write_text('step,val_loss,"note\n' + '1,2,"x\n' * 20_000)
    run.joinpath("wide.csv").write_text(",".join(f"c{i}" for i in range(100_000)) + "\n" + ",".join("1" for _ in range(100_000)) + "\n")
    run.joinpath("twice.csv").write_text("step,step,val_loss,val_loss,,\n" + "1,2,3,4,5,6\n" * 50)
    run.joinpath("commas.csv").write_text("," * 1_000_000 + "\n" + "," * 1_000_000)
    run.joinpath("blank.csv").write_text("step,val_acc\n" + "\n" * 1_000_000 + "1,2\n")
    run.joinpath("formula.csv").write_text(
        "step,=cmd|'/c calc'!A0,@SUM(1),+1,-1,val_loss\n" + "".join(f"{i},{i},{i},{i},{i},{i}\n" for i in range(20))
    )
    run.joinpath("nul.csv").write_bytes(b"step,val_loss\n\0001,\0002\n" * 1000)
    run.joinpath("text.tsv").write_text("step\tval_loss\n" + "".join(f"{i}\t{'x' * (i % 50)}{i}\n" for i in range(5_000)))


@case("safetensors: headers of odd types", damaged=True)
def _header(run):
    for n, header in enumerate((
        {"a": entry(0, 16), "__metadata__": [1, 2]}, {"a": {"dtype": ["F32"], "shape": [4], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": [4.0], "data_offsets": [0, 16]}}, {"a": {"dtype": "F32", "shape": [True, "4"], "data_offsets": [0, 16]}},
        {"a": {"dtype": "F32", "shape": {"x": 1}, "data_offsets": {"0": 1}}}, {"a": None, "b": 3, "c": "x", "d": []},
        {"": entry(0, 16)}, {"a" * 100_000: entry(0, 16)}, {"a": {"dtype": "F32", "shape": [0, 2**62, 2**62], "data_offsets": [0, 0]}},
        {"a": {"dtype": "F4", "shape": [2**63], "data_offsets": [0, 2**63]}}, {"a": {"dtype": "F32", "shape": [1] * 5_000, "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [-1, -4], "data_offsets": [0, 16]}}, {"a": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}},
    )):  # fmt: skip
        run.joinpath(f"odd{n}.safetensors").write_bytes(safetensors(header, bytes(16)))
    run.joinpath("bom.safetensors").write_bytes(safetensors(b"\xef\xbb\xbf" + json.dumps({"a": entry(0, 16)}).encode(), bytes(16)))
    run.joinpath("nul.safetensors").write_bytes(safetensors(json.dumps({"a": entry(0, 16)}).encode() + bytes(100), bytes(16)))


@case("pickle: states that no optimizer has", damaged=True)
def _states(run):
    def state(groups, states):
        return {"optimizer_state_dict": {"param_groups": groups, "state": states}, "epoch": 10**400, "global_step": -1, "loss": "x"}

    huge, cycle = 10**4000, []
    cycle.append(cycle)
    odd = [
        state([{"lr": "x", "betas": (math.nan,), "params": [10**12, -1, None, "p"]}], {-1: 3, None: [], 10**12: {"step": huge}}),
        state([{"lr": huge, "betas": 3, "eps": [], "params": list(range(100_000))}], {i: {} for i in range(10_000)}),
        state({"lr": 1}, []), state([[], None, 3, {}], None), {"state_dict": cycle, "args": cycle, "hyper_parameters": {"lr": cycle}},
        {("a", 1): 1, 2.5: 2, None: 3, b"\xff": 4, huge: 5}, {"model": {LONE: 1, "x" * 5_000_000: 2}}, [1, [2, [3]]] * 1000, {"epoch": math.nan, "step": math.inf},
    ]  # fmt: skip
    for n, one in enumerate(odd):
        run.joinpath(f"odd{n}.pt").write_bytes(saved(pickle.dumps(one, 4)))
    names = b"".join(short(b"layers.%d.weight" % n) + tensor() for n in range(5_000))
    run.joinpath("crowd.pt").write_bytes(saved(b"\x80\x02}(" + names + b"u.", STORAGE))
    bad = b"".join(short(b"t%d" % n) + tensor(offset=offset, count=count, shape=shape, strides=(1,) * len(shape))
                   for n, (offset, count, shape) in enumerate(((-1, 4, (2,)), (1 << 62, 4, (2,)), (0, -4, (2,)), (0, 1 << 62, (1 << 62,)), (3, 4, (4,)), (0, 4, (0,) * 500))))  # fmt: skip
    run.joinpath("bad.pt").write_bytes(saved(b"\x80\x02}(" + bad + b"u.", STORAGE))


@case("hdf5: data sets that are made of others", damaged=True)
def _virtual(run):
    with h5py.File(run / "virtual.weights.h5", "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), "f4")
        group = file["layers/dense/vars"]
        layout = h5py.VirtualLayout((1 << 40,), "f4")
        layout[:4] = h5py.VirtualSource(".", "/layers/dense/vars/1", (1 << 40,))[:4]
        group.create_virtual_dataset("1", layout)
        group["2"] = h5py.SoftLink("/layers/dense/vars/2")
        group["3"] = np.array([EVIL["html"]] * 3, dtype=h5py.string_dtype())
        group.create_dataset("4", (1 << 50,), "f4", chunks=(1 << 20,))
        group.create_dataset("5", (0, 5), "f8", maxshape=(None, 5))
        group["6"] = np.zeros(3, dtype=[("a", "f4"), ("b", "i8", (2,))])
        group.create_dataset("7", (), dtype=h5py.ref_dtype, data=group.ref)
        group.attrs["x"] = np.zeros(8000)
        file.attrs["model_config"] = '{"class_name":' + "[" * 5_000
        file.attrs["keras_version"] = EVIL["html"]
        inside = file
        for n in range(500):
            inside = inside.create_group(f"g{n}")


@case("npz: headers of other types")
def _npz(run):
    def npy(head, data=bytes(64)):
        head = head.encode() + b" " * (63 - (len(head) + 10) % 64) + b"\n"
        return b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + data

    with zipfile.ZipFile(run / "odd.npz", "w") as archive:
        for n, (kind, shape) in enumerate((
            ("'<f4'", "(-1,)"), ("'<f4'", "(2**62, 4)"), ("'<f4'", "(4611686018427387904, 4)"), ("[('a', '<f4')]", "(4,)"), ("'|O'", "(4,)"),
            ("'<f4'", "4"), ("'<U100000'", "(4,)"), ("'<f4'", "(" + "1," * 5000 + ")"), ("'>f4'", "(True,)"), ("'<f4'", "(16,)"),
        )):  # fmt: skip
            archive.writestr(f"../../w{n}.npy", npy(f"{{'descr': {kind}, 'fortran_order': True, 'shape': {shape}, }}"))


@case("markup: names that end up in attributes, SVG, Mermaid and tables")
def _markup(run):
    names = [*EVIL.values(), '" fill="url(#x)" onload="alert(1)', "]]><script>alert(1)</script>", "%%{init: {'theme': 'x'}}%%", 'a --> b\nclick a "javascript:alert(1)"',
             "| x | y |\n|---|---|", "```\n<script>alert(1)</script>\n```", "~~~", "&#60;script&#62;", "\\<script>", "<!--", "$$\\href{javascript:alert(1)}{x}$$", "[x]: http://evil.example"]  # fmt: skip
    for i, name in enumerate(names):
        lines = [f"epoch {n} {name} val_{name}_loss: {2 / (n + 1):.4f} {name}_acc={n / 50}" for n in range(30)]
        run.joinpath(f"l{i}.log").write_text("\n".join(lines) + f"\nRuntimeError: {name}\n")
    keys = "".join(f"{json.dumps(name)}: {json.dumps(name)}\n" for name in names)
    run.joinpath("hparams.yaml").write_text(keys)
    header, at = {}, 0
    for name in names:
        header[f"{name}.0.weight"] = entry(at, at + 64, (4, 4))
        at += 64
    for step in (10, 20, 30):
        run.joinpath(f"model-{step}.safetensors").write_bytes(safetensors(header, struct.pack("<f", math.nan if step > 20 else step) * (at // 4)))
    rows = [{"step": n, **{f"val/{name}": n for name in names}} for n in range(20)]
    run.joinpath("metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))


def hostile_tar(path, log):
    """Members that contradict each other, and headers that lie."""
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, data in (
            ("run/train.log", tarfile.REGTYPE, log), ("run/train.log/below.log", tarfile.REGTYPE, log), ("run/x/", tarfile.REGTYPE, b"x"),
            ("run/" + "a" * 300 + ".log", tarfile.REGTYPE, log), ("./run/./../run/../../escaped.log", tarfile.REGTYPE, log), ("run/sparse", b"S", b""),
            ("run\\..\\..\\escaped.log", tarfile.REGTYPE, log), ("run/\x1b[2J\u202e.log", tarfile.REGTYPE, log), ("run/" + "d/" * 200 + "x.log", tarfile.REGTYPE, log),
        ):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            info.mtime = 1e300 if "sparse" not in name else -1
            info.pax_headers = {"mtime": "1e300", "comment": "x" * 1000} if kind == tarfile.REGTYPE else {}
            info.mtime = 5
            archive.addfile(info, io.BytesIO(data))
        inner = io.BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as nested:
            info = tarfile.TarInfo("escaped.log")
            info.size = len(log)
            nested.addfile(info, io.BytesIO(log))
        info = tarfile.TarInfo("run/nested.tar")
        info.size = len(inner.getvalue())
        archive.addfile(info, io.BytesIO(inner.getvalue()))


def hostile_zip(path, log):
    """The same as a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("run/train.log", "run/train.log/below.log", "run/" + "a" * 300 + ".log", "run\\..\\..\\escaped.log", "C:/escaped.log", "run/./../../escaped.log",
                     "run/\u202e\x1b[2J.log", "run/" + "d/" * 200 + "x.log"):  # fmt: skip
            archive.writestr(name, log)
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as nested:
            nested.writestr("../escaped.log", log)
        archive.writestr("run/nested.zip", inner.getvalue())


def crowded_zip(log):
    """A log, and a directory that lists a million further members at the place of one."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("run/train.log", log)
        archive.writestr("run/0000000.log", log)
    data = out.getvalue()
    end = data.rfind(b"PK\5\6")
    size, start = struct.unpack_from("<II", data, end + 12)
    directory = data[start : start + size]
    one = directory[directory.rfind(b"PK\1\2") :]
    crowd = b"".join(one.replace(b"0000000", b"%07d" % n) for n in range(1, 1_000_001))
    body = data[: start + size] + crowd
    count, length, at = 1_000_002, size + len(crowd), len(body)
    zip64 = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, length, start) + struct.pack("<IIQI", 0x07064B50, 0, at, 1)
    return body + zip64 + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
