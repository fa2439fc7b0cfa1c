"""A run that hangs, eats memory or kills the analyzer costs that run alone."""

import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import postmortem
from postmortem.batch import supervise
from postmortem.batch.run import Plan, run_batch
from postmortem.batch.task import Options, Task
from postmortem.model.batch import RowStatus
from postmortem.supervision import Limits
from tests.batch import places


@pytest.fixture(autouse=True)
def _no_child_left() -> object:
    yield
    supervise.stop_children()
    supervise._mine.__dict__.clear()


def task(path: Path, **limits: float) -> Task:
    return Task(path.name, str(path), "0", 0.0, Options(reports=False, key="00" * 16), Limits(**limits))


def test_each_misbehaving_run_is_a_row_and_the_others_are_analysed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "COMMAND", places.plant(tmp_path))
    jobs = tmp_path / "jobs"
    places.jobs(jobs, ["a", "hang", "greedy", "exit", "segv", "memoryerror", "raise", "chatty", "z"])
    os.mkfifo(jobs / "pipe")
    (jobs / "empty").mkdir()
    (jobs / "noise.log").write_bytes(os.urandom(3000))
    (jobs / "gone.log").symlink_to("nowhere")
    plan = Plan(tmp_path / "out", Options(reports=False), Limits(4.0, 300), workers=2)
    done = run_batch([str(jobs / "*")], plan)
    rows = {r.name: r for r in done.rows}
    analysed = {"a", "chatty", "z"}
    assert {n for n, r in rows.items() if r.status is RowStatus.ANALYSED} == analysed
    assert rows["hang"].status is RowStatus.TIMEOUT
    assert rows["greedy"].status is RowStatus.MEMORY
    assert "300 MB" in rows["greedy"].reason
    assert rows["memoryerror"].status is RowStatus.MEMORY
    assert rows["exit"].status is RowStatus.CRASHED
    assert "status 7" in rows["exit"].reason
    assert rows["segv"].status is RowStatus.CRASHED
    assert "SIGSEGV" in rows["segv"].reason
    assert rows["raise"].status is RowStatus.CRASHED
    assert "ZeroDivisionError" in rows["raise"].reason
    assert str(tmp_path) not in rows["raise"].reason
    assert {n for n, r in rows.items() if r.status is RowStatus.UNREADABLE} >= {"pipe", "empty", "gone.log"}
    assert {r.mode for n, r in rows.items() if n in analysed} == {postmortem.analyze(jobs / "a").verdict.mode}
    text = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "took too long" in text
    assert "took too much memory" in text


def test_a_child_that_was_killed_from_outside_gets_a_second_chance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "COMMAND", places.plant(tmp_path))
    result = supervise.analyze_one(task(places.run(tmp_path, "killed", "once")))
    assert result.row.status is RowStatus.ANALYSED


def test_one_child_serves_many_runs_and_a_new_one_follows_a_killed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "COMMAND", places.plant(tmp_path))
    good, bad = places.run(tmp_path, "killed", "good"), places.run(tmp_path, "killed", "exit")
    supervise.analyze_one(task(good))
    first = supervise._mine.child.process.pid
    supervise.analyze_one(task(good))
    assert supervise._mine.child.process.pid == first
    assert supervise.analyze_one(task(bad)).row.status is RowStatus.CRASHED
    assert supervise.analyze_one(task(good)).row.status is RowStatus.ANALYSED
    assert supervise._mine.child.process.pid != first


def test_the_unit_can_be_pickled_and_any_executor_runs_it(tmp_path: Path) -> None:
    one = task(places.run(tmp_path, "killed", "a"))
    function, copy = pickle.loads(pickle.dumps((supervise.analyze_one, one)))
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(function, copy).result()
        pool.submit(supervise.stop_children).result()
    assert pickle.loads(pickle.dumps(result)).row.status is RowStatus.ANALYSED


def test_the_working_directory_is_not_imported_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("open('executed', 'w')", encoding="utf-8")
    (tmp_path / "postmortem.py").write_text("open('executed', 'w')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert supervise.analyze_one(task(places.run(tmp_path, "killed", "a"))).row.status is RowStatus.ANALYSED
    assert not (tmp_path / "executed").exists()


def test_an_orphan_ends_itself(tmp_path: Path) -> None:
    command = places.plant(tmp_path)
    script = (
        "import sys, os, threading, time; from pathlib import Path; from postmortem.batch import supervise; from postmortem.batch.task import *; from postmortem.supervision import Limits\n"
        f"supervise.COMMAND = {command!r}\n"
        "threading.Thread(target=supervise.analyze_one, args=(Task('hang', sys.argv[1], limits=Limits(300.0)),), daemon=True).start()\n"
        "while not getattr(supervise, '_children'): time.sleep(0.05)\n"
        "time.sleep(1.5); print(next(iter(supervise._children)).process.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(places.run(tmp_path, "killed", "hang"))], capture_output=True, text=True, timeout=60, check=False
    )
    child = int(done.stdout)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(child):
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_process_takes_over_once_a_batch_is_interrupted(tmp_path: Path) -> None:
    """Whoever was between two runs when the interruption came starts none that would outlive it."""
    jobs = places.jobs(tmp_path / "jobs", ["a"])
    supervise.interrupt()
    try:
        result = supervise.analyze_one(task(jobs / "a"))
        assert result.row.status is RowStatus.CRASHED
        assert not supervise._children
    finally:
        supervise.resume()


def test_who_kills_a_child_leaves_its_pipe_to_the_thread_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A descriptor closed under a reader can be another file's by the time it is read from: then nobody ever answers."""
    monkeypatch.setattr(supervise, "COMMAND", places.plant(tmp_path))
    supervise.resume()
    jobs = places.jobs(tmp_path / "jobs", ["hang"])
    asked, killed, ends = threading.Event(), threading.Event(), []

    def heard(file: int, pid: int, left: float, memory: int) -> bytes | None:
        if not _started(file, pid):
            return really(file, pid, left, memory)
        asked.set()
        killed.wait(20)
        ends.append(os.read(file, 1))
        return b""

    def _started(file: int, pid: int) -> bool:
        return any(c.process.pid == pid and c.runs for c in supervise._children)

    really = supervise.heard
    monkeypatch.setattr(supervise, "heard", heard)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(supervise.analyze_one, task(jobs / "hang", seconds=30.0))
        assert asked.wait(60)
        supervise.interrupt()
        killed.set()
        assert answer.result(20).row.status is RowStatus.CRASHED
        pool.submit(supervise._drop).result(20)
    supervise.resume()
    assert ends == [b""]
    assert not supervise._children
