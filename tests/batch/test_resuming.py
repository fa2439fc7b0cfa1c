"""Interrupted at any moment, the same command goes on: nothing lost, nothing half-written, nothing done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor
from dataclasses import replace
from pathlib import Path

import pytest

from postmortem.batch import supervise
from postmortem.batch.journal import Journal, lines
from postmortem.batch.merge import merge
from postmortem.batch.run import Finished, Plan, run_batch
from postmortem.batch.task import Options
from postmortem.errors import NothingReadable, UsageError
from postmortem.supervision import Limits
from tests.batch import places

QUICK = Options(reports=False)
COMMAND = (
    # a shell starts what it puts in the background with SIGINT ignored, and so the tests that run there
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from postmortem.batch import supervise\n"
    "supervise.COMMAND = eval(sys.argv.pop(1))\nfrom postmortem.cli.main import main; main()\n"
)


def batch(jobs: Path, output: Path, pool: Executor | None = None, **changes: object) -> Finished:
    return run_batch([str(jobs / "*")], replace(Plan(output, QUICK, workers=1), **changes), executor=pool)


def started(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", COMMAND, repr(places.plant(tmp_path)), "batch", *arguments]
    return subprocess.Popen(command, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE)


def journalled(output: Path) -> list[str]:
    return [str(data["name"]) for _, _, data in lines(output / ".state" / "journal.jsonl")]


def wait_for(count: int, output: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while len(journalled(output)) < count:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)


def test_killed_at_random_moments_it_goes_on(tmp_path: Path) -> None:
    names = [f"slow{i}" for i in range(10)]
    jobs, output = places.jobs(tmp_path / "jobs", names), tmp_path / "out"
    arguments = (str(jobs / "*"), "-o", str(output), "--workers", "2")
    finished: dict[str, str] = {}
    for count in (1, 5):
        process = started(tmp_path, *arguments)
        wait_for(count, output, process)
        time.sleep(random.Random(count).uniform(0, 0.3))
        process.kill()
        process.communicate()
        for name in journalled(output):
            line = next(data for _, _, data in lines(output / ".state" / "journal.jsonl") if data["name"] == name)
            report = output / line["report"]
            assert report.stat().st_size == line["report_bytes"]
            assert finished.setdefault(name, str(report.stat().st_mtime_ns)) == str(report.stat().st_mtime_ns)  # not done twice
        for report in (output / "reports").glob("*.html"):
            assert report.read_text(encoding="utf-8").rstrip().endswith("</html>")
        assert not (output / "index.html").exists()
    process = started(tmp_path, *arguments, "--json")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(out)["reused"] == len(finished) >= 5
    assert set(places.rows(output)) == set(names)
    assert not list(output.rglob("*.part"))


def test_interrupted_by_the_keyboard_it_ends_quietly_and_leaves_no_process(tmp_path: Path) -> None:
    jobs, output = places.jobs(tmp_path / "jobs", ["a", "b", "hang"]), tmp_path / "out"
    process = started(tmp_path, str(jobs / "*"), "-o", str(output), "--workers", "1", "--no-reports")
    wait_for(2, output, process)
    children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""
    for pid in children:
        assert not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_only_what_changed_is_done_again(tmp_path: Path, pool: Executor) -> None:
    jobs, output = places.jobs(tmp_path / "jobs", ["a", "b", "c"]), tmp_path / "out"
    assert batch(jobs, output, pool).reused == 0
    assert batch(jobs, output, pool).reused == 3
    log = next(p for p in (jobs / "b").rglob("*") if p.is_file())
    os.utime(log, ns=(1, 1))
    assert batch(jobs, output, pool).reused == 2
    assert batch(jobs, output, pool, options=replace(QUICK, ignore=("overfitting",))).reused == 0
    with_reports = replace(QUICK, ignore=("overfitting",), reports=True)
    assert batch(jobs, output, pool, options=with_reports).reused == 0
    assert batch(jobs, output, pool, options=with_reports).reused == 3
    (output / "reports" / "a.html").write_text("half", encoding="utf-8")
    assert batch(jobs, output, pool, options=with_reports).reused == 2
    (jobs / "c").rename(tmp_path / "elsewhere")
    assert {r.name for r in batch(jobs, output, pool, options=with_reports).rows} == {"a", "b"}


def test_what_hit_a_limit_is_done_again_with_other_limits_or_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "COMMAND", places.plant(tmp_path))
    jobs, output = places.jobs(tmp_path / "jobs", ["a", "hang"]), tmp_path / "out"
    limits = Limits(1.0, 4096)
    assert batch(jobs, output, limits=limits).reused == 0
    assert batch(jobs, output, limits=limits).reused == 2
    assert batch(jobs, output, limits=limits, retry=True).reused == 1
    assert batch(jobs, output, limits=Limits(1.5, 4096)).reused == 1


def test_a_cut_line_is_cut_off_and_its_run_done_again(tmp_path: Path, pool: Executor) -> None:
    jobs, output = places.jobs(tmp_path / "jobs", ["a", "b"]), tmp_path / "out"
    batch(jobs, output, pool)
    whole = (output / "runs.jsonl").read_bytes()
    (output / "runs.jsonl").unlink()
    journal = output / ".state" / "journal.jsonl"
    for cut in (len(whole) - 1, len(whole) - 100, whole.index(b"\n") + 30):
        journal.write_bytes(whole[:cut])
        (output / "runs.jsonl").unlink(missing_ok=True)
        with Journal(output) as held:
            assert set(held.places) == {"a"}
        assert journal.read_bytes() == whole[: whole.index(b"\n") + 1]
        journal.write_bytes(whole[:cut])
        assert batch(jobs, output, pool).reused == 1
        assert set(places.rows(output)) == {"a", "b"}


def test_two_batches_do_not_write_in_one_place(tmp_path: Path) -> None:
    with Journal(tmp_path / "out"), pytest.raises(UsageError, match="another batch"):
        batch(places.jobs(tmp_path / "jobs", ["a"]), tmp_path / "out")


def test_shards_cover_everything_once_and_merge_to_the_whole(tmp_path: Path, pool: Executor) -> None:
    names = [f"run{i}" for i in range(5)]
    jobs = places.jobs(tmp_path / "jobs", names)
    places.run(jobs, "steep", "steep")
    (jobs / "empty").mkdir()
    options = Options()
    whole = batch(jobs, tmp_path / "whole", pool, options=options)
    parts = []
    for i in (1, 2, 3):
        part = tmp_path / f"part{i}"
        batch(jobs, part, pool, options=options, shard=f"{i}/3")
        parts.append(part)
    assert sorted(n for part in parts for n in places.rows(part)) == sorted([*names, "steep", "empty"])
    merged = merge(parts, tmp_path / "merged")
    drop = ("seconds", "fingerprint", "node", "user")
    assert [{k: v for k, v in r.items() if k not in drop} for r in places.rows(tmp_path / "merged").values()] == [
        {k: v for k, v in r.items() if k not in drop} for r in places.rows(tmp_path / "whole").values()
    ]
    assert [(g.id, g.runs) for g in merged.batch.groups] == [(g.id, g.runs) for g in whole.batch.groups]
    for row in merged.rows:
        assert not row.report or (tmp_path / "merged" / row.report).read_bytes() == (tmp_path / "whole" / row.report).read_bytes()
    assert merge(parts, tmp_path / "merged").batch.runs == 7  # again, over itself
    with pytest.raises(UsageError):
        merge([tmp_path / "merged"], tmp_path / "merged")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(NothingReadable):
        merge([tmp_path / "nothing"], tmp_path / "other")
