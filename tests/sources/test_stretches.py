"""Very large text logs: read in part, said so, with the curve from begin to end; a line without end costs nothing."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure.pace import pace_stats
from postmortem.model.run import Series, Status
from postmortem.sources.logs import csv, effort, jsonl, stretches
from postmortem.sources.logs.blocks import LONGEST_LINE
from postmortem.sources.logs.crash import is_suspicious
from postmortem.sources.logs.text import lines
from postmortem.sources.logs.text import reader as text
from postmortem.sources.logs.text.noise import Part, Sieve, Told, Words
from postmortem.sources.reader import Candidate, Found, Reader
from tests.hostile.slow_text import made

SMALL = 1 << 18  # bytes: stands in for the size from which on a log is large


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stretches, "WHOLE", SMALL)
    monkeypatch.setattr(stretches, "END", SMALL // 4)
    monkeypatch.setattr(stretches, "STRETCH", SMALL // 128)


def read(reader: Reader, folder: Path, name: str, data: bytes) -> Found:
    (folder / name).write_bytes(data)
    return reader.read(Candidate(folder, name, len(data), data[:4096], frozenset({name})))


def loss(step: float) -> float:
    return round(2.0 / (1.0 + step / 1000), 5)


def by_name(found: Found, name: str = "train/loss") -> Series:
    (series,) = [s for s in found.series if s.name == name]
    return series


STEPS = 60_000
FORMS: dict[str, tuple[Reader, str, Callable[[int], str]]] = {
    "text": (text.READER, "train.log", lambda i: f"step {i} loss {loss(i):.5f}\n"),
    "dated": (text.READER, "train.log", lambda i: f"2024-05-01 {i // 3600:02d}:{i // 60 % 60:02d}:{i % 60:02d} step {i} loss {loss(i):.5f}\n"),
    "returns": (text.READER, "train.log", lambda i: f"step {i} loss {loss(i):.5f}\r"),
    "json": (jsonl.READER, "metrics.jsonl", lambda i: f'{{"step": {i}, "loss": {loss(i):.5f}}}\n'),
    "csv": (csv.READER, "metrics.csv", lambda i: ("step,loss\n" if i == 0 else "") + f"{i},{loss(i):.5f}\n"),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_the_curve_of_a_large_log_spans_it(name: str, encoding: str, tmp_path: Path) -> None:
    reader, file, line = FORMS[name]
    data = "".join(map(line, range(STEPS))).encode(encoding)
    assert len(data) > SMALL
    found = read(reader, tmp_path, file, data)
    assert found.source.status is Status.PARTIAL
    assert "too large" in str(found.source.detail)
    series = by_name(found)
    assert (series.steps[0], series.steps[-1]) == (0, STEPS - 1)
    assert np.array_equal(series.values, [loss(step) for step in series.steps])  # nothing that was cut is taken for a number
    assert len(series) < STEPS
    assert np.max(np.diff(series.steps)) < STEPS / 40
    if series.times is not None:
        gap = pace_stats([series]).longest_gap
        assert gap is not None
        assert gap < 60, "what was left out is no standstill"


@pytest.mark.usefixtures("small")
def test_after_a_gap_nothing_is_placed_where_training_was_before(tmp_path: Path) -> None:
    """Records that count within their epoch wait for the next epoch to be named."""
    lines = []
    for epoch in range(1, 201):
        lines.append(f"Epoch {epoch}\n")
        lines += [f"batch {i}/100 loss {epoch + i / 1000:.4f}\n" for i in range(1, 101)]
    found = read(text.READER, tmp_path, "train.log", "".join(lines).encode())
    series = by_name(found)
    assert series.epochs is not None
    assert np.array_equal(np.ceil(series.epochs), np.floor(series.values))
    assert series.values[-1] == 200.1


@pytest.mark.usefixtures("small")
def test_events_behind_a_gap_have_no_line_number(tmp_path: Path) -> None:
    lines = [
        "Saving model checkpoint to a.pt\n",
        *(f"step {i} loss {loss(i)}\n" for i in range(30_000)),
        "torch.cuda.OutOfMemoryError: CUDA out of memory.\n",
    ]
    found = read(text.READER, tmp_path, "train.log", "".join(lines).encode())
    assert [e.line for e in found.events] == [1, 0]


@pytest.mark.parametrize("ending", [b"\n", b"\r", b""])
def test_a_line_without_end_is_left_out(ending: bytes, tmp_path: Path) -> None:
    good = b"".join(b"step %d loss %.5f\n" % (i, loss(i)) for i in range(50))
    more = b"".join(b"step %d loss %.5f\n" % (i, loss(i)) for i in range(50, 90)) if ending else b""
    found = read(text.READER, tmp_path, "train.log", good + b"loss 7 step 3 " * (3 * LONGEST_LINE // 14) + ending + more)
    assert by_name(found).values.tolist() == [loss(i) for i in range(90 if ending else 50)]
    assert "too long" in str(found.source.detail)


def noisy(n: int) -> str:
    return "".join(
        f"12:{i % 60:02d} worker {i % 8}: fetched {i * 2654435761 % 2**32:x}\n" + (f"step {i} loss {loss(i):.5f}\n" if i % 10 == 0 else "")
        for i in range(n)
    )


def without_sieve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sieve, "part", lambda sieve, start: Part(sieve.data[start:], [0], [start], len(sieve.data)))
    monkeypatch.setattr(Told, "of", lambda told, line: is_suspicious(line.decode("utf-8", "replace")))


@pytest.mark.parametrize("seed", range(8))
def test_a_noisy_log_says_the_same_read_line_by_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Records, prose with and without words of training, blank lines, events and tracebacks in any order."""
    from postmortem.sources.logs.text import shapes

    monkeypatch.setattr(shapes, "MANY_SHAPES", 30)
    monkeypatch.setattr(shapes, "MOST_VAIN", 60)
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices("abcdefghij", k=6))

    kinds: list[Callable[[int], str]] = [
        lambda n: f"step {n} loss {loss(n):.5f}\n",
        lambda n: f"{word()} {word()} fetched {n}\n",
        lambda n: f"the step of {word()} trains {n} {word()}\n",
        lambda n: f"the value of {word()}: {word()}\n",
        lambda n: "\n" * draw.choice((1, 2)),
        lambda n: f"[{n}] {word()}: val loss {loss(n):.4f}\n",
        lambda n: f"Saving checkpoint to {word()}.pt\n",
        lambda n: f"RuntimeError: {word()}{draw.choice((':', ''))}\n",
        lambda n: f'Traceback (most recent call last):\n  File "{word()}.py", line {n}, in {word()}\n    {word()}()\nValueError: {word()}\n',
        lambda n: f"[rank{n % 3}]: Traceback (most recent call last):\n{word()}\n",
        lambda n: f"the loss of {word()} is nan, stopping {word()}\n",
    ]
    data = "".join(draw.choices(kinds, weights=(6, 12, 4, 4, 2, 1, 0.2, 0.1, 0.1, 0.05, 0.1))[0](n) for n in range(3_000)).encode()
    quick = read(text.READER, tmp_path, "a.log", data)
    without_sieve(monkeypatch)
    slow = read(text.READER, tmp_path, "a.log", data)
    assert [e.kind for e in quick.events] == [e.kind for e in slow.events]
    assert quick.events == slow.events
    assert {s.logged_as for s in quick.series} == {s.logged_as for s in slow.series}
    for one in quick.series:
        other = by_logged(slow, one.logged_as)
        assert np.array_equal(one.values, other.values), one.logged_as
        assert np.array_equal(one.steps, other.steps, equal_nan=True), one.logged_as


def by_logged(found: Found, key: str) -> Series:
    return next(s for s in found.series if s.logged_as == key)


def test_noise_is_passed_over_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = noisy(20_000) + "RuntimeError: CUDA error: device-side assert triggered\n\n" + noisy(20) + "Training completed.\n\n\n"
    quick = read(text.READER, tmp_path, "a.log", told.encode())
    parts = Sieve.part
    left = []
    monkeypatch.setattr(Sieve, "part", lambda sieve, start: (left.append(parts(sieve, start)), left[-1])[1])
    read(text.READER, tmp_path, "a.log", told.encode())
    assert sum(len(part.data) for part in left) < 0.3 * len(told)
    without_sieve(monkeypatch)
    slow = read(text.READER, tmp_path, "a.log", told.encode())
    assert quick.events == slow.events
    assert [e.kind.value for e in quick.events] == ["device-assert", "finished"]
    assert np.array_equal(by_name(quick).values, by_name(slow).values)
    assert np.array_equal(by_name(quick).steps, by_name(slow).steps)
    assert len(by_name(quick)) == 2_002


def test_every_word_of_training_and_of_a_crash_is_found() -> None:
    from postmortem.sources.logs.crash_rules import NEEDLES
    from postmortem.sources.logs.text.shapes import HINTS, hints

    for words in (HINTS, NEEDLES):
        for word in words:
            for line in (f"xx {word} yy\n", f"xx {word.upper()} yy\n", f"\n{word}=1\n", word):
                found = Words(line.encode())
                places = found.training if words is HINTS else found.crash[0][[w == word for w in found.crash[1]]]
                assert line.lower().index(word) in places.tolist(), line
    for word in HINTS:
        assert hints(f"({word})".encode())
    assert not hints(b"already 3 files")
    nothing = Words(b"INFO worker 3: fetched 9e3779b1 already\n" * 100)
    assert not len(nothing.training)
    assert not len(nothing.crash[0])


def test_lines_are_known_by_their_place_where_noise_was_left_out() -> None:
    data = b"noise\nstep 1 loss 2\n\nnoise\n\nmore\nloss 3\nTraceback (most recent call last):\nnoise\nloss 4\nmore\nthe end\n\n"
    sieve = Sieve(data, Told(effort.Effort()))
    first = sieve.part(0)
    assert first.data == b"step 1 loss 2\n\nloss 3\nTraceback (most recent call last):\n"
    second = sieve.part(first.end)
    assert second.data == b"loss 4\nthe end\n\n"
    for part in (first, second):
        for offset in (0, *(n + 1 for n, byte in enumerate(part.data[:-1]) if byte == 10)):
            line = part.data[offset:].partition(b"\n")[0]
            assert data[part.place(offset) :].partition(b"\n")[0] == line


def test_of_a_log_of_prose_only_shapes_that_come_again_are_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from postmortem.sources.logs.text import shapes

    monkeypatch.setattr(shapes, "MANY_SHAPES", 20)
    monkeypatch.setattr(shapes, "MOST_UNDERSTOOD", 50)
    words = [f"{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}" for i in range(2_000)]
    prose = "".join(f"the value of {word} trained 3 {word}\n" for word in words)
    record = "".join(f"step {i} loss {loss(i)}\n" for i in range(10))
    found = read(text.READER, tmp_path, "train.log", (prose + record).encode())
    assert by_name(found).steps.tolist() == list(range(1, 10))
    assert not math.isnan(by_name(found).values[0])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_text_that_costs_too_much_is_read_in_part(encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its begin, its end and stretches between, in the same way each time, and said."""
    monkeypatch.setattr(effort, "MOST", 60_000.0)
    monkeypatch.setattr(lines, "CHUNK", 1 << 14)
    monkeypatch.setattr(stretches, "SHORTEST", 1 << 12)
    keys = made("hundreds of new keys a line", 1 << 20).decode().splitlines()
    log = "".join(f"step {n} loss {loss(n):.5f}\n{line}\n" for n, line in enumerate(keys))
    found, again = (read(text.READER, tmp_path, "train.log", log.encode(encoding)) for _ in range(2))
    assert "takes long" in str(found.source.detail)
    assert str(found.source.detail) == str(again.source.detail)
    series = by_name(found)
    assert np.array_equal(series.steps, by_name(again).steps)
    assert (series.steps[0], series.steps[-1]) == (0, len(keys) - 1)
    assert np.array_equal(series.values, [loss(step) for step in series.steps])
    assert 10 < len(series) < len(keys)


@pytest.mark.parametrize("kind", ["progress bars", "colours", "prose about training"])
def test_two_megabytes_are_read_whole(kind: str, tmp_path: Path) -> None:
    found = read(text.READER, tmp_path, "train.log", made(kind, 2_000_000))
    assert "takes long" not in str(found.source.detail)


def test_logs_of_trainings_cost_a_small_part_of_what_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixtures = Path(__file__).parents[2] / "fixtures"
    logs = sorted(fixtures.glob("*/*/run/**/*.log"), key=lambda path: path.stat().st_size)[-8:]
    extents: list[stretches.Extent] = []

    def noted(size: int) -> stretches.Extent:
        extents.append(stretches.Extent(size))
        return extents[-1]

    monkeypatch.setattr(text, "Extent", noted)
    for log in logs:
        read(text.READER, tmp_path, "train.log", log.read_bytes())
        assert 0 < extents[-1].effort.spent < 2 * log.stat().st_size + effort.MOST / 100
