"""What was refused is a finding with the offending name, in every output; and honest files are none."""

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console

import postmortem
from postmortem.document import MOST_SOURCES
from postmortem.model.codec import dump, load
from postmortem.model.diagnosis import Diagnosis, Finding, Severity
from tests.hostile.pickled import PAYLOADS, STORAGE, saved, with_tensor
from tests.warm import Warm

TRAINING = Path(__file__).parents[2] / "fixtures/healthy/pytorch/run"
EVIL = saved(with_tensor(PAYLOADS["posix.system"][0]), STORAGE)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A healthy training."""
    shutil.copytree(TRAINING, tmp_path / "run")
    return tmp_path / "run"


def finding(diagnosis: Diagnosis) -> Finding:
    return next(f for f in diagnosis.findings if f.mode == "corrupt-checkpoint")


def test_it_is_a_minor_finding_of_a_healthy_run(run: Path) -> None:
    before = postmortem.analyze(run, with_exhibits=False)
    (run / "evil.pt").write_bytes(EVIL)
    after = postmortem.analyze(run, with_exhibits=False)
    assert finding(before).status == "absent"
    assert (after.verdict.mode, after.verdict.severity) == ("healthy", Severity.MINOR)
    assert after.verdict.confidence == before.verdict.confidence
    found = finding(after)
    assert (found.status, found.severity, found.causes[0].cause) == ("present", Severity.MINOR, "hostile-content")
    assert "posix.system" in str(found.summary)
    assert found.fixes
    assert next(c for c in after.run.checkpoints if c.path == "evil.pt").refused == ("posix.system",)
    again = load(dump(after).encode())
    assert finding(again) == found


def test_every_output_names_it(run: Path, tmp_path: Path, a_warm_process: Warm) -> None:
    def command(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return a_warm_process([*map(str, arguments)], tmp_path)

    (run / "evil.pt").write_bytes(EVIL)
    shutil.copytree(TRAINING, tmp_path / "quiet")
    diagnosis = postmortem.analyze(run)
    console = Console(width=200, record=True, file=io.StringIO())
    from postmortem.render.terminal import render_terminal

    render_terminal(diagnosis, console)
    texts = {"html": diagnosis.to_html(), "markdown": diagnosis.to_markdown(), "json": diagnosis.to_json(), "terminal": console.export_text()}
    out = tmp_path / "batch"
    done = command("batch", run, tmp_path / "quiet", "-o", out, "--only-failed", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "Runs with hostile content, which was refused: 1" in done.stdout
    texts |= {name: (out / name).read_text(encoding="utf-8") for name in ("index.html", "summary.md", "runs.csv", "runs.jsonl")}
    for name, text in texts.items():
        assert "posix.system" in text, name
    rows = [json.loads(line) for line in texts["runs.jsonl"].splitlines()]
    assert [bool(row["refused"]) for row in rows if "refused" in row] == [False, True]
    assert command("analyze", run, "--json", tmp_path / "a.json", "--fail-on", "minor").returncode == 1
    assert command("analyze", tmp_path / "quiet", "--json", tmp_path / "b.json", "--fail-on", "minor").returncode == 0


def test_it_is_named_among_a_thousand_files(run: Path) -> None:
    for n in range(MOST_SOURCES + 100):
        (run / f"a{n}.log").write_text(f"step {n} loss 1.0\n")
    for n in range(5):
        (run / f"z{n}.pt").write_bytes(EVIL)
    diagnosis = postmortem.analyze(run, with_exhibits=False)
    assert len(diagnosis.run.sources) == MOST_SOURCES
    assert sum(s.refused for s in diagnosis.run.sources) == 5
    assert "and in 1 more" in str(finding(diagnosis).summary)
    assert "and in 2 more files" in diagnosis.to_markdown()


def test_a_planted_file_does_not_hide_that_the_newest_checkpoint_is_cut(run: Path) -> None:
    newest = max((run / "checkpoints").iterdir())
    newest.write_bytes(newest.read_bytes()[:-4000])
    alone = postmortem.analyze(run, with_exhibits=False)
    (run / "zz.pt").write_bytes(EVIL)
    beside = postmortem.analyze(run, with_exhibits=False)
    for diagnosis in (alone, beside):
        assert (diagnosis.verdict.mode, diagnosis.verdict.cause, diagnosis.verdict.severity) == (
            "corrupt-checkpoint",
            "truncated-write",
            Severity.FATAL,
        )
    assert "posix.system" in str(next(c for c in finding(beside).causes if c.cause == "hostile-content").clues[0].detail)


class Net(torch.nn.Module):
    """A model class of one's own, with a bound method and a setting among what is pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)
        self.hook = self.layer.forward
        self.settings = argparse.Namespace(lr=0.1, out=Path("runs"))


def test_an_honest_pickled_model_is_no_finding(run: Path) -> None:
    with contextlib.suppress(AttributeError):
        sys.modules["__main__"].Net = Net  # type: ignore[attr-defined]
    torch.save(Net(), run / "whole.pt")
    torch.save({"model": Net(), "optimizer": torch.optim.Adam(Net().parameters()), "args": argparse.Namespace(lr=0.1)}, run / "all.pt")
    diagnosis = postmortem.analyze(run, with_exhibits=False)
    assert finding(diagnosis).status == "absent"
    assert not any(s.refused for s in diagnosis.run.sources)
    assert (diagnosis.verdict.mode, diagnosis.verdict.severity) == ("healthy", None)
