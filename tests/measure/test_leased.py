"""Pages of files that are looked at instead of copied: the same numbers, nobody held up for long, and no process killed by a file that shrinks."""

import contextlib
import fcntl
import mmap
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import kernels, leased
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.measure.tally import Tally
from postmortem.model.run import TensorRef
from tests.measure.raw import RawFile

BLOCK = 1 << 12  # elements


def lent(path: Path) -> bool:
    """A lease on the file can be had now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Offset and length of what was looked at; everything is worth it."""
    (tmp_path / "probe").write_bytes(b"1")
    if sys.platform != "linux" or not lent(tmp_path / "probe"):
        pytest.skip("no leases here")
    seen: list[tuple[int, int]] = []
    plain = leased.PageCache._pages

    def watched(cache: leased.PageCache, window: leased._Window | None, offset: int, length: int) -> np.ndarray | None:
        pages = plain(cache, window, offset, length)
        seen.extend([(offset, length)] if pages is not None else [])
        return pages

    monkeypatch.setattr(leased.PageCache, "_pages", watched)
    monkeypatch.setattr(leased, "LOCAL", frozenset(leased._file_systems().values()))
    for name, value in (("FROM", 1), ("WINDOW", 1 << 16), ("HICCUP", 1e9)):
        monkeypatch.setattr(leased, name, value)
    return seen


@pytest.fixture
def tensor(tmp_path: Path) -> tuple[TensorRef, np.ndarray]:
    values = np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    file = RawFile(tmp_path, "t.bin", pad=4096 + 24)
    ref = file.add("t", values)
    file.add("behind", values)
    return ref, values


@pytest.mark.parametrize("block", [64, BLOCK, 1 << 19])
@pytest.mark.parametrize("long", [False, True])
def test_the_same_numbers(tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray], block: int, long: bool) -> None:
    ref, values = tensor
    with TensorFiles(tmp_path, block) as files:
        blocks = [np.array(b) for b in files.blocks(ref, long=long)]
    assert np.array_equal(np.concatenate(blocks), values)
    assert long or all(len(b) == block for b in blocks[:-1])
    assert sum(length for _, length in mapped) == values.nbytes


def test_bytes_that_lie_askew_are_read(tmp_path: Path, mapped: list[tuple[int, int]]) -> None:
    values = np.arange(5000, dtype=np.float64)
    with TensorFiles(tmp_path, 100) as files:
        assert np.array_equal(files.whole(RawFile(tmp_path, "t", pad=4).add("t", values)), values)
    assert not mapped


def test_a_file_that_is_being_written_is_read(tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray]) -> None:
    ref, values = tensor
    with (tmp_path / "t.bin").open("r+b") as writer, TensorFiles(tmp_path, BLOCK) as files:
        assert np.array_equal(files.whole(ref), values)
        shared = mmap.mmap(writer.fileno(), 0)
    with TensorFiles(tmp_path, BLOCK) as files:  # nothing is open, but something can be written through a map
        assert np.array_equal(files.whole(ref), values)
        assert not mapped
        shared.close()
        assert np.array_equal(files.whole(ref), values)
    assert mapped


def writing(path: Path, what: str) -> subprocess.Popen[bytes]:
    """Another process that changes a file, and has started to when this returns."""
    started = subprocess.Popen([sys.executable, "-c", f"import os, sys; print(flush=True); {what}", str(path)], stdout=subprocess.PIPE)
    assert started.stdout is not None
    started.stdout.readline()
    started.stdout.close()
    return started


@pytest.mark.parametrize("what", ["os.truncate(sys.argv[1], 10)", "open(sys.argv[1], 'wb').write(b'new')", "open(sys.argv[1], 'r+b').truncate(10)"])
def test_who_shortens_the_file_waits_until_the_block_is_done(
    tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray], what: str
) -> None:
    ref, values = tensor
    heard: list[int] = []
    before = [(number, signal.signal(number, lambda n, _: heard.append(n))) for number in (signal.SIGIO, signal.SIGURG)]
    try:
        with TensorFiles(tmp_path, BLOCK) as files:
            blocks = files.blocks(ref)
            first = next(blocks)
            writer = writing(tmp_path / "t.bin", what)
            time.sleep(0.3)
            assert writer.poll() is None  # it waits
            assert np.array_equal(first, values[:BLOCK])
            with contextlib.suppress(NotWholeError):  # the rest is read, as far as it is there
                next(blocks)
            assert writer.wait(20) == 0
            with pytest.raises(NotWholeError):
                next(files.blocks(ref))
    finally:
        for number, handler in before:
            signal.signal(number, handler)
    assert len(mapped) == 1
    assert not heard


def test_the_lease_goes_with_the_generator(tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray]) -> None:
    def open_for_writing() -> None:
        os.close(os.open(tmp_path / "t.bin", os.O_WRONLY | os.O_NONBLOCK))

    with TensorFiles(tmp_path, BLOCK) as files:
        one, other = files.blocks(tensor[0], 0), files.blocks(tensor[0], 1)
        kept = next(one)
        next(other)
        with pytest.raises(BlockingIOError):
            open_for_writing()
        for _ in one:  # asked to give back, it reads on
            pass
        with pytest.raises(BlockingIOError):
            open_for_writing()
        other.close()
        open_for_writing()
        assert len(kept) == BLOCK
    assert len(mapped) == 2


def test_no_more_windows_than_allowed(
    tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased, "WINDOWS", 2)
    with TensorFiles(tmp_path, BLOCK) as files:
        streams = [files.blocks(tensor[0], slot) for slot in range(4)]
        for n in range(3):
            assert all(np.array_equal(next(s), tensor[1][n * BLOCK : (n + 1) * BLOCK]) for s in streams)
        assert len(mapped) == 2


def test_a_window_is_kept_for_the_next_tensor_and_given_back_when_somebody_waits(tmp_path: Path, mapped: list[tuple[int, int]]) -> None:
    values = np.arange(3000, dtype=np.float32)
    file = RawFile(tmp_path, "t.bin", pad=8)
    one, other, third = (file.add(name, values) for name in "abc")
    opened: list[int] = []
    with TensorFiles(tmp_path, BLOCK) as files, pytest.MonkeyPatch.context() as patch:
        plain = leased.PageCache._open
        patch.setattr(leased.PageCache, "_open", lambda *given, reach: (opened.append(reach), plain(*given, reach=reach))[1])
        for ref in (one, other):
            assert np.array_equal(np.concatenate(list(files.blocks(ref, long=True))), values)
        assert len(opened) == 1
        writer = writing(tmp_path / "t.bin", "os.truncate(sys.argv[1], 8 + 24000)")
        time.sleep(0.3)
        assert writer.poll() is None
        with contextlib.suppress(NotWholeError):  # read while it still waits, or when it is done
            list(files.blocks(third, long=True))
        assert writer.wait(20) == 0
        assert np.array_equal(np.concatenate(list(files.blocks(other, long=True))), values)
        assert len(opened) in (2, 3)
    assert lent(tmp_path / "t.bin")
    os.close(os.open(tmp_path / "t.bin", os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("name", ["LOCAL", "HICCUP", "FROM", "_POPULATE_READ"])
def test_where_it_is_not_worth_it_or_not_safe_files_are_read(
    tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(leased, name, {"LOCAL": frozenset({"nfs"}), "HICCUP": -1.0, "FROM": 1 << 20, "_POPULATE_READ": 9999}[name])
    with TensorFiles(tmp_path, BLOCK) as files:
        assert np.array_equal(files.whole(tensor[0]), tensor[1])
    assert not mapped


def test_mapping_that_takes_as_long_as_copying_is_given_up(
    tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leased, "HICCUP", 0.0)
    monkeypatch.setattr(leased, "DEAR", 1e-15)
    with TensorFiles(tmp_path, BLOCK) as files:
        assert np.array_equal(files.whole(tensor[0]), tensor[1])
        assert np.array_equal(files.whole(tensor[0]), tensor[1])
    assert len(mapped) == 1


def test_a_file_that_was_replaced_is_read_as_it_was(tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray]) -> None:
    with TensorFiles(tmp_path, BLOCK) as files:
        files.read_each(np.empty((1, 1), np.float32), tensor[0], [0])  # it is open
        (tmp_path / "new").write_bytes(bytes(1 << 20))
        (tmp_path / "new").replace(tmp_path / "t.bin")
        assert np.array_equal(files.whole(tensor[0]), tensor[1])
    assert not mapped


def test_compiled_loops_take_what_is_mapped(tmp_path: Path, mapped: list[tuple[int, int]], tensor: tuple[TensorRef, np.ndarray]) -> None:
    found = []
    for long in (False, True):
        tally = Tally("float32")
        with TensorFiles(tmp_path) as files:
            for raw in files.blocks(tensor[0], long=long):
                tally.add(raw, kernels)
        found.append((tally.count, tally.total, tally.squares, tally.low, tally.high))
    assert mapped
    assert found[0] == found[1]
    assert found[0][3:] == (tensor[1].min(), tensor[1].max())


def rewriting(path: Path, stop: threading.Event) -> Iterator[int]:
    """Overwrite a file in place, shorter and longer, until told to stop."""
    data = np.zeros(1 << 20, np.float32).tobytes()
    rounds = 0
    while not stop.is_set():
        path.write_bytes(data[: (1 << 16) if rounds % 2 else len(data)])
        rounds += 1
        yield rounds


def test_two_threads_survive_a_training_that_overwrites_its_checkpoint(tmp_path: Path, mapped: list[tuple[int, int]]) -> None:
    ref = RawFile(tmp_path, "t.bin", pad=0).add("t", np.zeros(1 << 20, np.float32))
    stop, rounds, whole = threading.Event(), [0], [0]

    def overwrite() -> None:
        for n in rewriting(tmp_path / "t.bin", stop):
            rounds[0] = n
            time.sleep(0.002)

    def measure() -> None:
        with TensorFiles(tmp_path, BLOCK) as files:
            while not stop.is_set():
                tally = Tally("float32")
                try:
                    for raw in files.blocks(ref):
                        tally.add(raw, kernels)
                except NotWholeError:
                    continue
                assert tally.zero == tally.count == ref.count
                whole[0] += 1

    threads = [threading.Thread(target=work) for work in (overwrite, measure, measure)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while time.monotonic() < until and not (rounds[0] > 20 and whole[0]):
        time.sleep(0.1)
    time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert rounds[0] > 20
    assert whole[0]
    assert mapped
