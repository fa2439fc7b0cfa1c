"""Malicious and damaged logs, configurations and data bases."""

import json
import os
import sqlite3
import struct
from contextlib import closing

from tests.hostile.cases import Cases
from tests.hostile.slow_text import made

LOGS = Cases()
case = LOGS.case
EVIL = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "attribute": "\"><svg/onload=alert(1)>' onmouseover='alert(1)",
    "css": "</style><style>*{background:url(//evil.example/x)}</style>",
    "comment": "--><script>alert(2)</script><!--",
    "template": "{{7*7}}{%print(7)%}${7*7}{0.__class__}%(x)s",
    "markdown": "![x](http://evil.example/x) [a](javascript:alert(1)) @everyone #1 |x|\\`",
    "formula": '=HYPERLINK("http://evil.example","x")',
    "terminal": "\x1b]0;pwned\x07\x1b[2J\x1b[31m\x9b5n\x1b]8;;http://evil.example\x1b\\",
    "bidi": "\u202egnp.exe\u2066\u200b\ufeff",
    "markup": "[red]x[/red][link=http://evil.example]y[/link]",
}


def records(bad, run):
    from tests.sources.wire import event, record, scalar

    good = [event(i, scalar(b"val/loss", 2.0 / (i + 1))) for i in range(20)]
    run.joinpath("events.out.tfevents.1700000000.host.1.0").write_bytes(
        record(b"\x1a\x0dbrain.Event:2") + b"".join(good[:10]) + bad + b"".join(good[10:])
    )


@case("events: a length beyond everything", "events.out.tfevents")
def _length(run):
    from tests.sources.wire import masked

    length = struct.pack("<Q", (1 << 63) + 5)
    records(length + masked(length) + b"x" * 50, run)


@case("events: wrong checksums", "events.out.tfevents")
def _checksums(run):
    from tests.sources.wire import event, scalar

    data = bytearray(event(5, scalar(b"val/loss", 1.0)))
    data[-1] ^= 0xFF
    records(bytes(data), run)


@case("events: tags and settings with markup")
def _tags(run):
    from tests.sources.wire import event, scalar

    records(b"".join(event(i, *(scalar(text.encode(), float(i)) for text in EVIL.values())) for i in range(3)), run)


@case("wandb: damaged blocks")
def _wandb(run):
    from tests.sources.wire import framed, row

    folder = run / "wandb" / "offline-run-20240101_000000-abc"
    folder.mkdir(parents=True)
    data = bytearray(framed(*(row(i, val__loss=1.0 / (i + 1)) for i in range(2000))))
    for i in range(40_000, len(data), 33_001):
        data[i] ^= 0xFF
    folder.joinpath("run-abc.wandb").write_bytes(bytes(data))


SCHEMA = """CREATE TABLE runs (run_uuid TEXT, status TEXT, start_time INT, end_time INT, lifecycle_stage TEXT);
CREATE TABLE params ("key" TEXT, value TEXT, run_uuid TEXT);
CREATE TABLE metrics ("key" TEXT, value REAL, timestamp INT, run_uuid TEXT, step INT, is_nan INT);"""
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 'loss', x, 1, 'r', 1, 0 FROM c"


def store(path, more=""):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(SCHEMA + "INSERT INTO runs VALUES ('r', 'FINISHED', 1, 2, 'active');" + more)
        connection.executemany("INSERT INTO metrics VALUES ('val_loss', ?, ?, 'r', ?, 0)", [(1.0 / (i + 1), i, i) for i in range(30)])


@case("sqlite: views, triggers and generated columns")
def _views(run):
    with closing(sqlite3.connect(run / "mlflow.db", isolation_level=None)) as connection:
        connection.executescript(SCHEMA + f"DROP TABLE metrics; CREATE VIEW metrics(key, value, timestamp, run_uuid, step, is_nan) AS {ENDLESS};")
    with closing(sqlite3.connect(run / "generated.db", isolation_level=None)) as connection:
        bomb = 'CREATE TABLE metrics ("key" TEXT, value REAL AS (length(hex(zeroblob(4)))), timestamp INT, run_uuid TEXT, step INT, is_nan INT);'
        connection.executescript(SCHEMA.partition("CREATE TABLE metrics")[0] + bomb + "INSERT INTO runs VALUES ('r', 'FINISHED', 1, 2, 'active');")
        for i in range(50):
            connection.execute("INSERT INTO metrics(\"key\", timestamp, run_uuid, step, is_nan) VALUES ('loss', ?, 'r', 1, 0)", (i,))
        connection.executescript("PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'zeroblob(4)', 'zeroblob(400000000)');")


@case("sqlite: a write-ahead log that was not merged")
def _wal(run):
    with closing(sqlite3.connect(run / "mlflow.db", isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL;" + SCHEMA + "INSERT INTO runs VALUES ('r', 'FINISHED', 1, 2, 'active');")
        connection.executemany("INSERT INTO metrics VALUES ('val_loss', ?, ?, 'r', ?, 0)", [(1.0 / (i + 1), i, i) for i in range(30)])
        copies = {p.name: p.read_bytes() for p in run.iterdir() if p.name.startswith("mlflow")}
    for path in list(run.iterdir()):
        if path.name.startswith("mlflow"):
            path.unlink()
    for name, data in copies.items():
        run.joinpath(name).write_bytes(data)


def hot_journal(path, super_journal):
    """A rollback journal that SQLite would play back, and that says it belongs to a transaction over several data bases.

    SQLite format: 28 bytes of header padded to a sector, page records, then a record that names the super-journal, which SQLite
    opens, reads and deletes when no other journal refers to it.
    """
    store(path)
    page = path.read_bytes()[:4096]
    size = path.stat().st_size // 4096
    nonce = 7
    checksum = nonce
    at = 4096 - 200
    while at > 0:
        checksum += page[at]
        at -= 200
    header = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + struct.pack(">IIIII", 1, nonce, size, 512, 4096)
    record = struct.pack(">I", 1) + page + struct.pack(">I", checksum & 0xFFFFFFFF)
    name = os.fsencode(super_journal)
    tail = struct.pack(">I", 0x40000000 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + header[:8]
    path.with_name(path.name + "-journal").write_bytes(header.ljust(512, b"\0") + record + tail)


@case("sqlite: a hot journal that names a file outside", "mlflow.db-journal", refused=True)
def _hot(run):
    outside = run.parent / "outside.txt"
    outside.write_text("a file of the user's that no child journal mentions\n")
    hot_journal(run / "mlflow.db", outside)


@case("yaml: python tags", "evil.yaml")
def _tags_yaml(run):
    tags = (
        "object/apply:os.system ['touch pwned']",
        "object/new:subprocess.Popen [[touch, pwned]]",
        "name:os.system",
        "module:postmortem_evil",
        "object:os.system {}",
    )
    run.joinpath("evil.yaml").write_text("".join(f"k{i}: !!python/{tag}\n" for i, tag in enumerate(tags)) + "lr: 0.5\n")
    run.joinpath("hparams.yaml").write_text("!!python/object/apply:os.system ['touch pwned']\n")
    run.joinpath("postmortem_evil.py").write_text("open('pwned', 'w')\n")


@case("yaml: alias bomb and depth", "bomb.yaml", "deep.yaml")
def _bomb_yaml(run):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, 30)]
    run.joinpath("bomb.yaml").write_text("\n".join(lines))
    run.joinpath("deep.yaml").write_text("[" * 100_000)
    run.joinpath("keys.yaml").write_text("? " * 100_000)
    run.joinpath("merge.yaml").write_text("a: &a {x: 1}\n" + "".join(f"a{i}: &b{i}\n  <<: [*a, *a]\n" for i in range(20_000)))
    run.joinpath("self.yaml").write_text("a: &a [*a]\nb: &b {<<: *b}\n")
    run.joinpath("anchor.yaml").write_text("&" + "a" * 1_000_000 + " x: 1\n")


@case("json: depth, digits and words")
def _json(run):
    run.joinpath("config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    run.joinpath("deep.json").write_text("[" * 100_000)
    run.joinpath("args.json").write_text('{"lr": 1e999, "steps": ' + "9" * 5000 + ', "a": NaN, "b": -Infinity, "lr": 2, "lr": "x"}')
    run.joinpath("metrics.jsonl").write_text(
        "".join('{"step": %d, "val_loss": %s, "x": %s}\n' % (i, "1e999" if i % 2 else "NaN", "9" * 5000) for i in range(20))  # noqa: UP031
        + "[" * 100_000
        + "\n"
        + '{"step":' * 50_000
        + "\n"
    )
    run.joinpath("history.json").write_text('{"loss": [1, 2, 3, 1e999, NaN], "loss": [3, 2, 1], "val_loss": ' + "[" * 5000 + "}")
    run.joinpath("trainer_state.json").write_text('{"log_history": [' + ",".join('{"step": %s, "loss": 1}' % ("9" * 400) for _ in range(50)) + "]}")


@case("text: one line of 2 GB", "endless.log")
def _line(run):
    for name, size in (("endless.log", 2 << 30), ("endless.csv", 64 << 20), ("endless.jsonl", 64 << 20)):
        with run.joinpath(name).open("wb") as file:
            file.write({"l": b"step 1 loss 0.5 ", "c": b"step,loss\n1,", "j": b'{"step": 1, "val_loss": 0.5, "x": "'}[name.rpartition(".")[2][0]])
            file.truncate(size - 1)


@case("text: 24 MB of ever new keys", "takes long")
def _keys(run):
    run.joinpath("keys.log").write_bytes(made("hundreds of new keys a line", 2 << 20).replace(b"=", b"_x=") * 12)


@case("text: a million restarts")
def _restarts(run):
    run.joinpath("val.log").write_bytes(made("restarts", 1 << 20).replace(b" loss", b" val_loss") * 24)


@case("text: NUL bytes, UTF-16 and mixtures")
def _encodings(run):
    lines = "".join(f"step {i} val_loss {2.0 / (i + 1):.4f}\n" for i in range(50))
    run.joinpath("sixteen.log").write_bytes(b"\xff\xfe" + lines.encode("utf-16-le"))
    run.joinpath("odd.log").write_bytes(b"\xff\xfe" + lines.encode("utf-16-le")[:-1] + b"\x00\xd8")
    run.joinpath("nul.log").write_bytes(lines.encode().replace(b" ", b" \0"))
    run.joinpath("mixed.log").write_bytes(
        b"".join(line.encode(("utf-8", "latin-1", "utf-16-be")[i % 3]) + b"\xff\xfe\x80" for i, line in enumerate(lines.splitlines(True)))
    )
    run.joinpath("noise.log").write_bytes(os.urandom(0) + bytes(range(256)) * 4000)


@case("text: injection through every field")
def _injection(run):
    lines = []
    for i, text in enumerate(EVIL.values()):
        lines += [
            f"step {i} {text} 0.5",
            f"step {i} val_loss 0.5 {text}",
            f"Namespace(lr=0.1, name={text!r}, path='{text}')",
            f"{text}: 1e-3 epoch {i}",
        ]
        lines += ["Traceback (most recent call last):", f'  File "{text}", line 3, in {text}', f"    {text}", f"RuntimeError: {text}", ""]
    run.joinpath("evil.log").write_text("\n".join(lines) + "\n")
    run.joinpath("crash.err").write_text(
        'Traceback (most recent call last):\n  File "/x/<script>alert(3)</script>.py", line 1, in <module>\nValueError: '
        + " ".join(EVIL.values()).replace("\n", " ")
        + "\n"
    )
    run.joinpath("config.json").write_text(
        json.dumps({"lr": 0.5, "name": EVIL["html"], **{text: text for text in EVIL.values()}, "optimizer": EVIL["attribute"]})
    )
    run.joinpath("hparams.yaml").write_text(json.dumps({"model": EVIL["css"], "batch_size": EVIL["terminal"]}))
    keys = list(EVIL.values())
    with run.joinpath("metrics.csv").open("w") as file:
        file.write("step,val_loss," + ",".join('"' + k.replace('"', '""') + '"' for k in keys) + "\n")
        for i in range(30):
            file.write(f"{i},{2 / (i + 1)}," + ",".join(str(i * 0.1) for _ in keys) + "\n")
    run.joinpath("metrics.jsonl").write_text("".join(json.dumps({"step": i, "val_acc": 0.5, **dict.fromkeys(keys, i)}) + "\n" for i in range(30)))


@case("tensor names with markup")
def _tensor_names(run):
    from tests.hostile.checkpoints import entry, safetensors

    header = {"__metadata__": {"format": "pt", **EVIL}}
    at = 0
    for text in EVIL.values():
        for n in range(2):
            header[f"layers.{n}.{text}.weight"] = entry(at, at + 64, (4, 4))
            at += 64
    for step in (10, 20):
        run.joinpath(f"model-{step}.safetensors").write_bytes(safetensors(header, struct.pack("<f", step) * (at // 4)))


SECRETS = {
    "hf": "hf_" + "a1B2" * 9, "github": "ghp_" + "Zx9Y" * 9, "openai": "sk-" + "q7W8" * 10, "aws": "AKIA" + "ABCDEFGH12345678", "wandb": "0123456789abcdef" * 2 + "01234567",
    "password": "correcthorsebattery", "slack": "xoxb-" + "123456789012-abc", "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk", "url": "s3cr3tpassw0rd",
    "bearer": "BearerTok3nValue1234", "nested": "nestedSecretValue99", "home": "alicehome",
}  # fmt: skip


@case("secrets in configurations and tracebacks")
def _secrets(run):
    s = SECRETS
    config = {
        "lr": 0.5, "hf_token": s["hf"], "env": {"WANDB_API_KEY": s["wandb"], "AWS_SECRET_ACCESS_KEY": s["nested"], "auth": {"password": s["password"]}},
        "data": f"postgres://user:{s['url']}@db.example/x", "headers": f"Authorization: Bearer {s['bearer']}", "github": s["github"], "list": [s["slack"], s["jwt"]],
        "path": f"/home/{s['home']}/runs",
    }  # fmt: skip
    run.joinpath("config.json").write_text(json.dumps(config))
    run.joinpath("crash.err").write_text(
        f'Traceback (most recent call last):\n  File "/home/{s["home"]}/train.py", line 3, in main\n    login(token="{s["hf"]}", api_key={s["openai"]!r})\n'
        f"PermissionError: cannot read s3://{s['aws']}:{s['password']}@bucket with password={s['password']} Authorization: Bearer {s['bearer']}\n"
    )
    run.joinpath("args.log").write_text(
        f"Namespace(lr=0.5, api_key='{s['wandb']}', password='{s['password']}', hub_token='{s['hf']}')\nexport WANDB_API_KEY={s['wandb']}\n"
    )


@case("postmortem.toml: nested and foreign")
def _toml(run):
    run.joinpath("postmortem.toml").write_text(
        "[aliases]\n" + "".join(f'"k{i}" = "val/loss"\n' for i in range(100)) + '"' + "a" * 1000 + '" = "<script>alert(1)</script>"\n'
    )
