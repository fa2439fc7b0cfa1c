"""What `sources` says of curves that were logged twice, and how it prints."""

import json
from pathlib import Path

import pytest

from postmortem.cli.sources import show_sources
from postmortem.model.run import Run
from postmortem.sources import read_run


def put(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def told(run: Run) -> dict[tuple[str, str], str]:
    return {(s.source, s.logged_as): str(s.why) for s in run.left_out}


CSV = "step,loss\n" + "".join(f"{n},{2.5 - n / 100!r}\n" for n in range(1, 41))
LOG = "".join(f"step: {n} loss: {2.5 - n / 100:.2f}\n" for n in range(10, 41, 10))


def test_a_coarser_copy_of_a_curve_names_the_one_that_is_used(tmp_path: Path) -> None:
    run = read_run([put(tmp_path, {"metrics.csv": CSV, "train.log": LOG})])
    assert [(s.name, s.source, len(s)) for s in run.series] == [("train/loss", "metrics.csv", 40)]
    assert told(run) == {("train.log", "loss"): "loss in metrics.csv says the same in 40 records"}


def test_states_of_earlier_checkpoints_are_copies(tmp_path: Path) -> None:
    history = [{"loss": 2.5 - n / 10, "step": n * 10, "epoch": float(n)} for n in range(1, 5)]
    files = {f"checkpoint-{10 * n}/trainer_state.json": json.dumps({"log_history": history[:n], "global_step": 10 * n}) for n in (2, 4)}
    run = read_run([put(tmp_path, files)])
    assert told(run) == {("checkpoint-20/trainer_state.json", "loss"): "its records are in checkpoint-40/trainer_state.json too"}


def test_rank_0_speaks_for_all(tmp_path: Path) -> None:
    run = read_run([put(tmp_path, {f"rank_{n}/log.csv": CSV.replace(",2.", f",{n + 2}.") for n in (0, 1)})])
    assert told(run) == {("rank_1/log.csv", "loss"): "another process logged it at the same time: rank_0/log.csv speaks for all"}


def test_a_printed_setting_is_no_curve(tmp_path: Path) -> None:
    run = read_run([put(tmp_path, {"train.log": LOG + "step: 40 lr: 0.001\n"})])
    assert "a setting that was printed" in told(run)["train.log", "lr"]


def test_other_programs_read_whole_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = "a_directory_with_a_long_name/" * 4
    put(tmp_path, {f"{folder}metrics.csv": CSV, f"{folder}train.log": LOG})
    show_sources([str(tmp_path)], [], as_json=False)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert f"read csv {folder}metrics.csv" in lines
    assert f"train/loss loss 40 1–40 2.49 → 2.1 {folder}metrics.csv" in lines
    assert f"train/loss loss 4 {folder}train.log loss in {folder}metrics.csv says the same in 40 records" in lines


def test_the_same_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path, {"metrics.csv": CSV, "train.log": LOG, "empty.out": ""})
    show_sources([str(tmp_path)], ["loss=val/loss"], as_json=True)
    data = json.loads(capsys.readouterr().out)
    assert data["series"][0]["name"] == "val/loss"
    assert data["left_out"][0]["points"] == 4
    assert next(s for s in data["sources"] if s["path"] == "empty.out")["detail"] == "the file is empty"


def test_of_ever_so_many_parts_the_first_and_the_last_are_put_together(tmp_path: Path) -> None:
    """Comparing each with each takes the square of their number."""
    for n in range(150):
        (tmp_path / f"log{n}.txt").write_text(f"step {2 * n} loss {1 / (n + 1)}\nstep {2 * n + 1} loss {1 / (n + 1)}\n")
    run = read_run([tmp_path])
    (loss,) = [s for s in run.series if s.name == "train/loss"]
    assert loss.steps.tolist() == [0, 1, *range(102, 300)]
    assert sum("were put together" in str(one.why) for one in run.left_out) == 50
