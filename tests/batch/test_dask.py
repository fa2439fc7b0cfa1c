"""On a Dask cluster of this machine: a scheduler, two workers, one of them killed in the middle. Nothing is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from postmortem.batch.run import Plan, run_batch
from postmortem.batch.task import Options
from postmortem.errors import UsageError
from postmortem.model.batch import RowStatus
from tests.batch import places

pytest.importorskip("distributed", reason="distributed is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of distributed and what it brings
QUIET = {**os.environ, "DASK_DISTRIBUTED__ADMIN__EVENT_LOOP": "tornado"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """(address, worker processes)."""
    log = tmp_path / "scheduler.log"
    everything = []
    with log.open("wb") as file:
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        everything.append(subprocess.Popen(command, stderr=file, stdout=file, cwd=tmp_path))
    address = ""
    deadline = time.monotonic() + 60
    while not address:
        assert time.monotonic() < deadline, log.read_text()
        found = re.search(r"Scheduler at:\s+tcp://(127\.0\.0\.1:\d+)", log.read_text())
        address = found[1] if found else ""
        time.sleep(0.1)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", f"tcp://{address}", "--nthreads", "1", "--no-nanny", "--no-dashboard"]
    for n in range(2):
        with (tmp_path / f"worker{n}.log").open("wb") as file:
            everything.append(subprocess.Popen(command, stderr=file, stdout=file, cwd=tmp_path))
    try:
        yield address, everything[1:]
    finally:
        for process in reversed(everything):
            process.kill()
            process.wait()


def test_nothing_is_lost_when_a_worker_is_killed(tmp_path: Path, cluster: tuple[str, list["subprocess.Popen[bytes]"]]) -> None:
    address, workers = cluster
    names = [f"run{i:02d}" for i in range(24)]
    jobs, output = places.jobs(tmp_path / "jobs", names), tmp_path / "out"
    (jobs / "empty").mkdir()
    killed: list[int] = []

    def kill() -> None:
        journal = output / ".state" / "journal.jsonl"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            done = journal.read_bytes().count(b"\n") if journal.exists() else 0
            if done >= 3:
                workers[0].send_signal(signal.SIGKILL)
                killed.append(done)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    done = run_batch([str(jobs / "*")], Plan(output, Options(reports=False), cluster=f"dask://{address}"))
    killer.join()
    assert killed
    assert killed[0] < len(names)
    rows = {r.name: r for r in done.rows}
    assert set(rows) == {*names, "empty"}
    assert {rows[n].status for n in names} == {RowStatus.ANALYSED}
    assert rows["empty"].status is RowStatus.UNREADABLE


def test_no_scheduler_is_said_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = places.jobs(tmp_path / "jobs", ["a"])
    for address in ("spark://127.0.0.1:1", "dask://", "127.0.0.1:1"):
        with pytest.raises(UsageError, match="dask://HOST:PORT"):
            run_batch([str(jobs)], Plan(tmp_path / "out", cluster=address))
