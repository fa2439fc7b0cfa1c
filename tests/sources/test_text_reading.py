"""Bytes, encodings, line ends, settings, bounds: what has to hold for a log of any habit."""

import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.model.run import EventKind, Status
from postmortem.sources import read_run
from postmortem.sources.logs.text import READER, runs
from postmortem.sources.logs.text.scan import Scan
from postmortem.sources.reader import Candidate, Found


def candidate(folder: Path, data: bytes, name: str = "train.log") -> Candidate:
    (folder / name).write_bytes(data)
    return Candidate(folder, name, len(data), data[:4096], frozenset({name}))


def read(folder: Path, data: bytes | str, name: str = "train.log") -> Found:
    return READER.read(candidate(folder, data.encode() if isinstance(data, str) else data, name))


def values(found: Found, name: str) -> list[float]:
    (series,) = [s for s in found.series if s.name == name]
    return series.values.tolist()


LOG = "step: 1 loss: 0.5\nstep: 2 loss: 0.25\nstep: 3 loss: 0.125\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    data = (LOG + "# fünf Straßen\n").encode(encoding)
    assert READER.claims(candidate(tmp_path, data))
    assert values(read(tmp_path, data), "train/loss") == [0.5, 0.25, 0.125]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
def test_line_ends(tmp_path: Path, end: str) -> None:
    assert values(read(tmp_path, LOG.replace("\n", end)), "train/loss") == [0.5, 0.25, 0.125]


def test_mixed_encodings_and_nul_bytes(tmp_path: Path) -> None:
    data = LOG.encode() + b"caf\xe9 \xff\xfe\n" + b"\x00" * 700 + b"step: 4 loss: 0.0625\n"
    assert values(read(tmp_path, data), "train/loss") == [0.5, 0.25, 0.125, 0.0625]


def test_line_numbers_count_the_files_lines(tmp_path: Path) -> None:
    bar = "\r".join(f"  {n}%|#  | {n}/100 [00:01<00:01, 2.0it/s]" for n in range(50))
    (event,) = read(tmp_path, f"{bar}\n{LOG}KeyboardInterrupt\n").events
    assert event.line == 5


def test_line_numbers_after_a_stretch(tmp_path: Path) -> None:
    many = "".join(f"step: {n} loss: 0.{n:04d}\n" for n in range(500))
    (event,) = read(tmp_path, many + "KeyboardInterrupt\n").events
    assert (event.line, event.step) == (501, 499)


@pytest.mark.parametrize(
    ("last", "cut"),
    [("step: 4 loss: 0.1", False), ("step: 4 lo", True), ("step: 4", True), ("RuntimeError: bad", False), ("bye", False)],
)
def test_a_last_line_that_is_cut(tmp_path: Path, last: str, cut: bool) -> None:
    found = read(tmp_path, LOG + last)
    assert any(e.kind == EventKind.CUT for e in found.events) == cut
    assert len(values(found, "train/loss")) == (4 if last.endswith("0.1") else 3)


def test_a_dict_that_is_cut(tmp_path: Path) -> None:
    found = read(tmp_path, "{'loss': 0.5, 'epoch': 0.1}\n{'loss': 0.25, 'epoch': 0.2}\n{'loss': 0.")
    assert [e.kind for e in found.events] == [EventKind.CUT]
    assert values(found, "train/loss") == [0.5, 0.25]


def test_empty_and_foreign_text(tmp_path: Path) -> None:
    assert not READER.claims(candidate(tmp_path, b""))
    found = read(tmp_path, "Lorem ipsum dolor sit amet.\n" * 50)
    assert found.source.status == Status.SKIPPED
    assert found.source.detail is not None


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    gone = Candidate(tmp_path, "none.log", 10, b"step: 1", frozenset())
    assert READER.read(gone).source.status == Status.PARTIAL


@pytest.mark.parametrize(
    "name", ["train.log", "log.txt", "nohup.out", "slurm-123.out", "job.err", "run.stderr", "output", "train.log.1", "job.o12345", "stdout.txt"]
)
def test_names_that_are_claimed(tmp_path: Path, name: str) -> None:
    assert READER.claims(candidate(tmp_path, LOG.encode(), name))


@pytest.mark.parametrize("name", ["metrics.csv", "log.jsonl", "config.yaml", "trainer_state.json", "model.pt", "requirements.txt", "train.py"])
def test_names_that_are_not(tmp_path: Path, name: str) -> None:
    assert not READER.claims(candidate(tmp_path, LOG.encode(), name))


def test_binaries_are_not_claimed(tmp_path: Path) -> None:
    assert not READER.claims(candidate(tmp_path, random.Random(3).randbytes(4096), "records.log"))
    assert not READER.claims(candidate(tmp_path, b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + b"\x00\x01\x02" * 300, "model.log"))


def settings_of(folder: Path, text: str) -> dict[str, object]:
    return {s.name or s.key: s.value for s in read(folder, text).settings}


def test_settings_json(tmp_path: Path) -> None:
    found = settings_of(tmp_path, 'config: {"optim": {"lr": 0.1, "name": "sgd"}, "batch_size": 32, "clip": null}\n' + LOG)
    assert found["learning_rate"] == 0.1
    assert found["batch_size"] == 32


@pytest.mark.parametrize(
    "line",
    [
        "Namespace(lr=0.5, batch_size=16, optimizer='sgd')", "args: Namespace(lr=0.5, batch_size=16, optimizer='sgd')", "args: {'lr': 0.5, 'batch_size': 16, 'optimizer': 'sgd'}",
        "python train.py --lr 0.5 --batch-size 16 --optimizer sgd", "+ torchrun train.py --lr=0.5 --batch_size=16 --optimizer=sgd",
        "  lr .............................................. 0.5\n  batch_size ...................................... 16\n  optimizer ....................................... sgd",
        "lr: 0.5\nbatch_size: 16\noptimizer: sgd", "lr = 0.5\nbatch_size = 16\noptimizer = sgd", "[2022-12-02 09:46:22] [config] lr: 0.5\n[2022-12-02 09:46:22] [config] batch_size: 16\n[2022-12-02 09:46:22] [config] optimizer: sgd",
        "2024-01-02 03:04:05,250 INFO train: lr: 0.5  batch_size: 16  optimizer: sgd",
    ],
)  # fmt: skip
def test_settings_habits(tmp_path: Path, line: str) -> None:
    found = settings_of(tmp_path, f"{line}\n{LOG}")
    assert (found.get("learning_rate"), found.get("batch_size"), found.get("optimizer")) == (0.5, 16, "sgd")


def test_settings_counts(tmp_path: Path) -> None:
    assert settings_of(tmp_path, "3.7 K     Trainable params\n0         Non-trainable params\n" + LOG)["trainable_parameters"] == 3700
    assert settings_of(tmp_path, "Trainable params: 1.4 M\nTotal params: 1.5 M\n" + LOG)["parameters"] == 1_500_000
    found = settings_of(tmp_path, "model: mlp  parameters: 8970  train: 1437  val: 360\n" + LOG)
    assert (found["parameters"], found["train_samples"], found["val_samples"]) == (8970, 1437, 360)
    found = settings_of(
        tmp_path,
        "***** Running training *****\n  Num examples = 1,000\n  Num Epochs = 3\n  Total optimization steps = 47\n  Number of trainable parameters = 124,439,808\n"
        + LOG,
    )
    assert (found["train_samples"], found["epochs"], found["max_steps"], found["trainable_parameters"]) == (1000, 3, 47, 124_439_808)


def test_metrics_are_no_settings_and_settings_no_metrics(tmp_path: Path) -> None:
    found = read(tmp_path, 'config: {"lr": 0.1, "epochs": 20}\nlr: 0.1\n' + LOG)
    assert [s.name for s in found.series] == ["train/loss"]
    assert not read(tmp_path, LOG).settings


def same(a: Found, b: Found) -> None:
    assert [(s.name, s.logged_as, s.reduction) for s in a.series] == [(s.name, s.logged_as, s.reduction) for s in b.series]
    for one, two in zip(a.series, b.series, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
        np.testing.assert_array_equal(one.steps, two.steps)
        assert (one.epochs is None) == (two.epochs is None)
        assert (one.times is None) == (two.times is None)
        if one.epochs is not None and two.epochs is not None:
            np.testing.assert_array_equal(one.epochs, two.epochs)
        if one.times is not None and two.times is not None:
            np.testing.assert_allclose(one.times, two.times, rtol=0, atol=1e-5)
    assert dict(a.facts) == pytest.approx(dict(b.facts))
    assert [(e.kind, e.line, e.step, e.epoch) for e in a.events] == [(e.kind, e.line, e.step, e.epoch) for e in b.events]


R = random.Random(5)
REPEATING = {
    "one shape": "".join(f"step: {n} loss: {R.random():.3f} lr: 1e-03\n" for n in range(300)),
    "with nan": "".join(f"step: {n} loss: {'nan' if n > 200 else '0.5'} x: {'-inf' if n == 7 else 1}\n" for n in range(300)),
    "dated": "".join(f"2024-01-{1 + n // 100:02d} 03:{n // 60 % 60:02d}:{n % 60:02d},{n:03d} INFO train: epoch {n // 50 + 1} step {n} loss={R.random():.4f}\n" for n in range(300)),
    "with evaluations": "".join(f"iter {n}: loss {R.random():.3f}, time 1.{n % 9}ms\n" + (f"step {n}: train loss 0.5, val loss {R.random():.3f}\n" if n % 40 == 0 else "") for n in range(300)),
    "epoch header": "".join(f"Epoch {n + 1}/300\n  train_loss: {R.random():.3f}\n  val_loss: {R.random():.3f}\n" for n in range(300)),
    "header and counterless": "".join(f"Iteration {n}, loss = {R.random():.3f}\n    Train net output #0: accuracy = {R.random():.3f}\nIteration {n}, lr = 0.01\n" for n in range(200)),
    "timings between": "".join(f" iteration {n:8d}/ 1000 | learning rate: 1.5E-04 | lm loss: {R.random():.6E} | grad norm: {R.random():.3f} |\ntime (ms)\n" for n in range(200)),
    "dicts": "".join(f"{{'loss': {R.random()!r}, 'grad_norm': {R.random()!r}, 'epoch': {n / 100:.2f}}}\n" for n in range(200)),
    "in epochs": "".join(f"Epoch [{n // 20 + 1}/10], Step [{n % 20 + 1}/20], Loss: {R.random():.4f}\n" for n in range(200)),
    "ratios and percents": "".join(f"step {n} acc: {R.randrange(100)}/100 top: 5% error: {R.random() * 100:.1f}%\n" for n in range(200)),
    "resumed": "".join(f"step={n} loss={R.random():.3f}\n" for n in [*range(100), *range(80, 200)]),
    "thousands": "".join(f"iter: {n * 100:,} loss: 0.{n:03d}\n" for n in range(200)),
    "interrupted": "".join(f"step={n} loss={R.random():.3f}\n" + ("KeyboardInterrupt\n" if n == 150 else "") for n in range(200)),
}  # fmt: skip


@pytest.mark.parametrize("name", REPEATING)
def test_stretches_read_like_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fast = read(tmp_path, REPEATING[name])
    monkeypatch.setattr(runs.Repeats, "take", lambda self, period, data, start: start)
    same(fast, read(tmp_path, REPEATING[name]))
    assert fast.series


def test_a_stretch_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = runs.Repeats.take

    def counted(self: runs.Repeats, period: runs.Period, data: bytes, start: int) -> int:
        end = original(self, period, data, start)
        taken.append(end - start)
        return end

    monkeypatch.setattr(runs.Repeats, "take", counted)
    read(tmp_path, REPEATING["one shape"])
    assert sum(taken) > 0.9 * len(REPEATING["one shape"])


FRAGMENTS = ["step: 1 loss: 0.5", "Epoch 3/20", "{'loss': 0.5, 'epoch': 0.1}", "Traceback (most recent call last):", '  File "a.py", line 3, in f', "ValueError: x", "| a | 1 |", "| loss | nan |",
             "45/45 [===] - loss: 0.5", "100%|██| 3/3 [00:01<00:00]", "\r", "\x1b[31m", "\x00", "\ufeff", "损失：0.5", "(" * 40, "[" * 40, "=" * 90, "1,234,567", "-nan(ind)", "12:30:01", "2024-01-01 00:00:00",
             "config: {", "Namespace(", "--lr 0.1", "a: " * 30, "step", "epoch", "loss", "----", "epoch train_loss", "1 2", ",", " ", "\t", "e", ":" * 30, "1e999", "9" * 400, "." * 50]  # fmt: skip


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from([*FRAGMENTS, "\n", "\n"]), max_size=60))
def test_any_text_is_read(tmp_path: Path, parts: list[str]) -> None:
    found = read(tmp_path, " ".join(parts))
    assert found.source.status in Status
    for series in found.series:
        assert len(series.steps) == len(series.values)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=3000))
def test_any_bytes_are_read(tmp_path: Path, data: bytes) -> None:
    assert read(tmp_path, data).source.reader == "text-log"


@pytest.mark.parametrize("unit", ["loss", "a:", "1 ", "((", "= ", "Traceback ", "nan", "1,000", "|", "[1/2]", "x=1,", "12:", "-", "a b ", '"a": ', "early stopp", "error ", "--lr ", "\\", "1.", "{'loss': 1"])  # fmt: skip
def test_time_is_linear_in_a_long_line(tmp_path: Path, unit: str) -> None:
    text = unit * (200_000 // len(unit))
    begin = time.process_time()
    read(tmp_path, text)
    read(tmp_path, LOG + text + "\n" + LOG)
    assert time.process_time() - begin < 10


@pytest.mark.parametrize("line", ["loss {n} " * 60, "a{n}b: {n} c" * 20, "x" * 50 + "{n}", "({n} [{n} {{{n}", "step {n} " + "k{n}=1 " * 30])
def test_time_is_linear_in_the_lines(tmp_path: Path, line: str) -> None:
    text = "".join(line.replace("{n}", f"{n}x{n * 7919 % 1000}") + "\n" for n in range(3000))
    begin = time.process_time()
    read(tmp_path, text)
    assert time.process_time() - begin < 20


def test_names_with_ever_other_numbers_make_one_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits that are a part of a word: a thousand files are one habit, three layers are three quantities."""
    from postmortem.sources.logs.text.shapes import Shapes

    lines = [f"iter train/IMG_{i * 7919 % 99991:05d}.jpg, loss: {1 / (i + 1):.4f}" for i in range(999)]
    found = read(tmp_path, "".join(f"{line}, layer{i % 3}_norm={i}\n" for i, line in enumerate(lines)))
    assert {s.logged_as: len(s) for s in found.series} == {"loss": 999, "layer0_norm": 333, "layer1_norm": 333, "layer2_norm": 333}
    understood: list[bytes] = []
    understand = Shapes._understand
    monkeypatch.setattr(Shapes, "_understand", staticmethod(lambda masked, raw, **many: (understood.append(raw), understand(masked, raw, **many))[1]))
    assert len(values(read(tmp_path, "\n".join(lines)), "train/loss")) == 999
    assert len(understood) == 1


def test_lines_that_say_nothing_are_passed_over_by_the_stretch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[bytes] = []
    line = Scan.line
    monkeypatch.setattr(Scan, "line", lambda scan, raw: (lines.append(raw), line(scan, raw))[1])
    chatter = "".join(f"2024-01-02 03:{i // 60:02d}:{i % 60:02d} fetched shard {i} of 5000\n" for i in range(3000))
    found = read(tmp_path, f"step 1 loss 0.5\n{chatter}step 2 loss 0.25\n")
    assert values(found, "train/loss") == [0.5, 0.25]
    assert found.facts["ended_at"] - found.facts["started_at"] == 2999
    assert len(lines) < 100


def test_prose_between_records_takes_nothing_from_them(tmp_path: Path) -> None:
    rng = random.Random(0)
    words = [a + b for a in ("ri", "mo", "pa", "wo", "ga") for b in ("ver", "ning", "th", "od", "den")]
    records = [f"step: {n} loss: {4 - n / 100:.3f}\n" + (f"PSNR: {20 + n / 100:.2f}\n" if n % 10 == 0 else "") for n in range(120)]
    noisy = "".join(record + "".join(" ".join(rng.choices(words, k=12)) + "\n" for _ in range(6)) for record in records)
    told = {}
    for name, text in (("quiet.log", "".join(records)), ("noisy.log", noisy)):
        (tmp_path / name).write_text(text, "utf-8")
        told[name] = [(s.name, s.steps.tolist(), s.values.tolist()) for s in read_run([tmp_path / name]).series]
    assert told["noisy.log"] == told["quiet.log"]
    assert {name for name, *_ in told["quiet.log"]} == {"train/loss", "train/score"}
