"""Faults of the machine: no space, no permission, no library, no home, Ctrl-C, files that change while they are read."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.hostile.checkpoints import entry, safetensors
from tests.hostile.harness import MEMORY, Zygote, good_log, state
from tests.hostile.logs import store


def test_no_space_leaves_the_old_report_and_no_half_file(run: Zygote, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a full disk: a write beyond it fails."""
    good_log(tmp_path / "run")
    out = tmp_path / "out"
    out.mkdir()
    report = out / "report.html"
    report.write_text("the old report")
    done = run(
        ["analyze", str(tmp_path / "run"), "-o", str(report)],
        folder=out, read=[tmp_path / "run"], write=[out], limits={"RLIMIT_AS": MEMORY, "RLIMIT_FSIZE": 4096},
    )  # fmt: skip
    assert done.status == 5, done.stderr
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr
    assert report.read_text() == "the old report"
    assert [p.name for p in out.iterdir()] == ["report.html"]
    assert done.seen == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to be")
def test_no_permission_to_write_and_to_read(run: Zygote, tmp_path: Path) -> None:
    """As a user who may not write the report's directory nor read two of the run's files."""
    folder = tmp_path / "run"
    good_log(folder)
    (folder / "secret.log").write_text("step 1 loss 1\n")
    (folder / "secret.log").chmod(0)
    (folder / "locked").mkdir()
    (folder / "locked").chmod(0)
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    for path in (run.folder, run.scratch, run.folder / "home"):
        path.chmod(0o777)
    for path in {tmp_path, *tmp_path.parents, *run.folder.parents}:
        if Path(tempfile.gettempdir()) in path.parents:  # pytest's own directories, one more of them under xdist
            path.chmod(path.stat().st_mode | 0o055)
    home = {"HOME": str(run.folder / "home")}
    done = run(["analyze", str(folder), "--json", "-"], folder=out, read=[folder], user=65534, environment=home)
    assert done.status == 0, done.stderr
    failed = {s["path"] for s in json.loads(done.stdout)["run"]["sources"] if s["status"] == "failed"}
    assert failed == {"secret.log", "locked"}
    done = run(["analyze", str(folder)], folder=out, read=[folder], user=65534, environment=home)
    assert done.status == 5, done.stderr
    assert done.stderr.count("\n") == 1
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("module", ["h5py", "orjson", "yaml", "numba", "matplotlib", "scipy", "torch"])
def test_a_missing_library(module: str, run: Zygote, tmp_path: Path) -> None:
    """What needs it is left out or said; where nothing can be done without it, that is one sentence."""
    folder = tmp_path / "run"
    good_log(folder)
    (folder / "config.yaml").write_text("lr: 0.5\n")
    (folder / "model.safetensors").write_bytes(safetensors({"w": entry(0, 16)}, bytes(16)))
    done = run(["analyze", str(folder), "--json", "-"], folder=tmp_path, read=[folder], missing=[module])
    assert done.status in (0, 4), done.stderr
    assert done.stderr.count("\n") <= 1
    if done.status:
        assert module in done.stderr
    else:
        assert json.loads(done.stdout)["verdict"]["mode"] == "exploding-gradients"


def test_no_home_and_a_home_that_cannot_be_written(run: Zygote, tmp_path: Path) -> None:
    good_log(tmp_path / "run")
    for more in ({"unset": ["HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME"]}, {"environment": {"HOME": "/proc/nothing", "MPLCONFIGDIR": "/proc/nothing"}}):
        done = run(["analyze", str(tmp_path / "run"), "--json", "-"], folder=tmp_path, read=[tmp_path / "run"], **more)
        assert done.status == 0, done.stderr


def test_a_start_without_home_from_nothing(tmp_path: Path) -> None:
    """A whole process, imports included, with a home and a working directory that cannot be written."""
    good_log(tmp_path / "run")
    environment = {k: v for k, v in os.environ.items() if k not in ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    for home in (None, "/proc/nothing"):
        more = {} if home is None else {"HOME": home, "MPLCONFIGDIR": home}
        report = tmp_path / "report.html"
        command = [sys.executable, "-P", "-m", "postmortem", "analyze", str(tmp_path / "run"), "-o", str(report)]
        root = str(Path(__file__).parents[2])
        done = subprocess.run(
            command, cwd="/proc", env={**environment, **more, "PYTHONPATH": root}, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        assert report.stat().st_size > 10_000
        report.unlink()


def test_interrupted(run: Zygote, tmp_path: Path) -> None:
    """Ctrl-C while a data base is copied and a large log is read: 130, one line, nothing left behind."""
    folder = tmp_path / "run"
    good_log(folder)
    store(folder / "mlflow.db")
    line = b"step 100000 train_loss 0.5123 val_loss 0.6123 lr 0.001 foo bar baz\n"
    (folder / "long.log").write_bytes(line * 1_500_000)
    before = state(folder)
    statuses = set()
    for after in (0.02, 0.3, 1.0):
        done = run(["analyze", str(folder)], folder=tmp_path, read=[folder], write=[tmp_path], interrupt_after=after)
        statuses.add(done.status)
        assert done.status in (0, 130), done.stderr
        assert "Traceback" not in done.stderr
        assert run.left() == []
        if done.status == 130:
            assert done.stderr.strip().splitlines()[-1] == "postmortem: interrupted"
            assert not list(tmp_path.glob("*.html"))
            assert not list(tmp_path.glob(".*"))
        for report in tmp_path.glob("*.html"):  # it was done before the interrupt came
            report.unlink()
    assert 130 in statuses
    assert state(folder) == before


def test_files_that_change_while_they_are_read(run: Zygote, tmp_path: Path) -> None:
    """One log grows, another is cut and written again, a checkpoint shrinks, a third file comes and goes."""
    folder = tmp_path / "run"
    good_log(folder)
    stop = threading.Event()
    whole = safetensors({f"t{i}": entry(16 * i, 16 * i + 16) for i in range(2000)}, bytes(32_000))

    def change() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            with (folder / "grows.log").open("a") as file:
                file.write(f"step {n} val_loss {1 / n}\n")
            (folder / "cut.log").write_text("step 1 test_loss 1\n" * (2000 if n % 2 else 1))
            (folder / "model.safetensors").write_bytes(whole[: len(whole) if n % 2 else 1000])
            (folder / "comes.csv").write_text("step,acc\n1,2\n")
            time.sleep(0.002)
            (folder / "comes.csv").unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(6):
            done = run(["analyze", str(folder), "--json", "-"], folder=tmp_path, read=[folder])
            assert (done.status, done.seen) == (0, []), done.stderr
            document = json.loads(done.stdout)
            assert any(s["source"] == "train.log" and s["name"] == "train/loss" for s in document["run"]["series"])
    finally:
        stop.set()
        thread.join()
