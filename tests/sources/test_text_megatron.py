"""Losses that Megatron-LM leaves out: NaN where nothing was skipped, nothing where all was."""

import math
from pathlib import Path

import pytest

from postmortem.sources import read_run


def line(step: int, loss: str, scale: float, skipped: int) -> str:
    said = f"lm loss: {loss} | " if loss else ""
    return (
        f" iteration {step:8d}/    1000 | consumed samples: {step * 64:12d} | elapsed time per iteration (ms): 500.5 | learning rate: 1.000E-04 | "
        f"global batch size:    64 | {said}loss scale: {scale} | grad norm: 1.500 | number of skipped iterations: {skipped:3d} | "
        "number of nan iterations:   0 |\n"
    )


@pytest.mark.parametrize(
    ("scale", "skipped", "lost"),
    [(1.0, 0, True), (4096.0, 0, True), (4096.0, 1, False)],
)
def test_a_loss_that_is_left_out(tmp_path: Path, scale: float, skipped: int, *, lost: bool) -> None:
    log = line(10, "2.5E+00", scale, 0) + line(20, "2.25E+00", scale, 0) + line(30, "", scale, skipped) + line(40, "2.0E+00", scale, 0)
    (tmp_path / "train.log").write_text(log)
    (loss,) = (s for s in read_run([tmp_path]).series if s.name == "train/loss")
    assert loss.steps.tolist() == ([10, 20, 30, 40] if lost else [10, 20, 40])
    assert [v for v in loss.values.tolist() if math.isfinite(v)] == [2.5, 2.25, 2.0]
