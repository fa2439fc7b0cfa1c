"""The README's recipes, run by a shell as they stand there, with what each system would set."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.batch import places

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
RECIPES = {name: text for name, _, text in re.findall(r"<!-- recipe: (\w+) -->\n```(\w+)\n(.*?)```\n<!-- /recipe -->", README, re.DOTALL)}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory in which `postmortem` is a command, and `python train.py` fails with the log of a run that was out of luck."""
    log = next(p for p in (places.FIXTURES / places.KINDS["error"] / "run").iterdir() if p.suffix in (".log", ".out", ".txt"))
    (tmp_path / "train.txt").write_bytes(log.read_bytes())
    for name, body in (
        ("postmortem", f'exec "{sys.executable}" -m postmortem "$@"'),
        ("python", f'cat "{tmp_path}/train.txt"; exit 3'),
    ):
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        command.chmod(0o755)
    return tmp_path


def shell(site: Path, script: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PATH": f"{site / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": root, **variables}
    return subprocess.run(["bash", "-c", script], cwd=site, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_every_recipe_is_tried_here() -> None:
    assert set(RECIPES) == {"github", "slurm", "array", "kubernetes", "cron"}


def test_github_actions_show_the_verdict_in_the_summary(site: Path) -> None:
    places.run(site, "error", "exp1")
    (step,) = yaml.safe_load(RECIPES["github"])
    assert step["if"] == "failure()"
    (site / "summary.md").write_text("# Before\n", encoding="utf-8")
    done = shell(site, f"set -eo pipefail\n{step['run']}", RUN_DIR="exp1", GITHUB_STEP_SUMMARY="summary.md")
    assert done.returncode == 0, done.stderr
    summary = (site / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("# Before\n")
    assert "RuntimeError" in summary
    assert "</html>" in (site / "postmortem.html").read_text(encoding="utf-8")


def test_slurm_leaves_a_report_of_a_failed_job_and_keeps_its_status(site: Path) -> None:
    trap = RECIPES["slurm"]
    failed = shell(site, f"{trap}\npython train.py > slurm-4711.out 2>&1", SLURM_JOB_ID="4711")
    assert failed.returncode == 3
    assert "RuntimeError" in (site / "postmortem-4711.html").read_text(encoding="utf-8")
    assert shell(site, f"{trap}\ntrue", SLURM_JOB_ID="4712").returncode == 0
    assert not (site / "postmortem-4712.html").exists()


def test_an_array_of_slurm_shares_the_runs_and_is_merged(site: Path) -> None:
    places.jobs(site / "jobs", ["a", "b"])  # one for each, who starts one process for it
    share, merge = RECIPES["array"].splitlines()
    for task in ("1", "2"):
        done = shell(site, share, JOBS="jobs/*", SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2")
        assert done.returncode == 0, done.stderr
    assert shell(site, merge).returncode == 0
    assert set(places.rows(site / "triage")) == {"a", "b"}


def test_a_container_leaves_report_and_termination_message(site: Path) -> None:
    (site / "results").mkdir()
    script = RECIPES["kubernetes"].replace("/results", "results").replace("/dev/termination-log", "termination-log")
    assert shell(site, script).returncode == 3
    assert "</html>" in (site / "results" / "postmortem.html").read_text(encoding="utf-8")
    message = (site / "termination-log").read_bytes()
    assert b"RuntimeError" in message
    assert len(message) <= 4096  # of a longer one Kubernetes keeps the end


def test_cron_goes_over_the_last_day(site: Path) -> None:
    jobs = places.jobs(site / "shared" / "jobs", ["new", "old"])
    for file in (jobs / "new").rglob("*"):
        os.utime(file)
    for file in (jobs / "old").rglob("*"):
        os.utime(file, (1e9, 1e9))
    command = re.fullmatch(r"(?:\S+ ){5}(.*)\n", RECIPES["cron"])
    assert command
    done = shell(site, command[1].replace("/shared", "shared"))
    assert done.returncode == 0
    assert set(places.rows(site / "shared" / "triage")) == {"new"}
    assert "1 of 1 runs failed" in (site / "shared" / "triage.log").read_text(encoding="utf-8")
