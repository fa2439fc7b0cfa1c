"""What short logs hold that other ones say elsewhere: parts of a loss without their sum, values beside a bar, times of waiting, tables of one record."""

import math
from pathlib import Path

import numpy as np
import pytest

from postmortem.model.run import EventKind, Run, Series
from postmortem.sources import read_run


def _read(folder: Path, log: str) -> Run:
    (folder / "train.log").write_text(log)
    return read_run([folder / "train.log"])


def _series(folder: Path, log: str) -> dict[str, Series]:
    return {s.name: s for s in _read(folder, log).series}


def test_a_log_of_parts_has_their_sum_for_a_loss(tmp_path: Path) -> None:
    found = _series(tmp_path, "".join(f"epoch:{n}, Train: Normal_loss= {0.5 / n:.4f}, Edge_loss= {0.25 / n:.4f}\n" for n in range(1, 6)))
    assert found["train/loss"].values.tolist() == pytest.approx([0.75, 0.375, 0.25, 0.1875, 0.15], abs=2e-4)
    assert found["train/loss"].logged_as == "Normal_loss + Edge_loss"
    assert found["train/loss"].steps.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    "line",
    ["d_loss: 0.5, g_loss: 2.5", "policy loss: 0.5, value loss: 2.5", "rpn_loss: 0.5, loss: 2.0, cls_loss: 1.5", "best_loss: 0.5, last_loss: 2"],
)
def test_players_and_what_has_a_total_are_not_summed(tmp_path: Path, line: str) -> None:
    assert " + " not in "".join(s.logged_as for s in _series(tmp_path, "".join(f"step {n} {line}\n" for n in range(1, 5))).values())


@pytest.mark.parametrize(("key", "bad"), [("Value function loss", "inf"), ("G_loss", "nan"), ("edge loss", "-inf")])
def test_a_part_that_is_not_finite_is_a_loss_that_is_not(tmp_path: Path, key: str, bad: str) -> None:
    log = f"    Learning iteration 77/500\n\n  Computation: 15000 steps/s\n  {key}: {bad}\n  Surrogate loss: 0.0125\n  Mean total reward: 3.25\n"
    found = _series(tmp_path, log)
    assert (found["train/loss"].logged_as, len(found["train/loss"])) == (key, 1)
    assert not math.isfinite(found["train/loss"].values[0])
    assert found["reward"].values.tolist() == [3.25]


def test_what_is_glued_to_a_bar_is_at_its_step(tmp_path: Path) -> None:
    log = "".join(f"  1%|▏        | {n}/900 [00:{n}0<13:40:35, 16.42s/it]dloss: {0.5 / n:.6f}\tg_loss: 14.25\n" for n in (1, 2, 3, 5))
    found = _series(tmp_path, log)
    assert found["other/dloss"].steps.tolist() == found["other/g_loss"].steps.tolist() == [1, 2, 3, 5]
    assert found["other/g_loss"].values.tolist() == [14.25] * 4


def test_an_overflow_behind_a_bar_is_at_its_step(tmp_path: Path) -> None:
    said = "[2024-02-03 04:05:0{n},017] [INFO] [loss_scaler.py:190:update_scale] [deepspeed] OVERFLOW! Rank 0 Skipping step. Attempted loss scale: {a}, reducing to {b}\n"
    log = "".join(f" 21%|██   | {80 + n}/400 [1:00:0{n}<3:58:09, 44.65s/it]{said.format(n=n, a=a, b=a // 2)}" for n, a in ((1, 32), (2, 16), (3, 8)))
    events = [e for e in _read(tmp_path, log).events if e.kind == EventKind.OVERFLOW]
    assert [(e.step, e.data["attempted"], e.data["scale"]) for e in events] == [(81, 32, 16), (82, 16, 8), (83, 8, 4)]


def test_one_overflow_alone(tmp_path: Path) -> None:
    (event,) = _read(tmp_path, "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0\n").events
    assert (event.kind, event.data["scale"]) == (EventKind.OVERFLOW, 32768.0)


@pytest.mark.parametrize(("said", "step", "data"), [
    ("loss: 2.{n}, reader_cost: 3.5{n} s, batch_cost: 4.{n}0 s, ips: 21.5", 4.1, 3.51),
    ("loss: 2.{n} data_time: 0.1{n} time: 0.{n}5", 0.15, 0.11),
    ("Time 1.2{n} (1.1{n}) Data 0.5{n} (0.4{n}) Loss 2.{n} (2.5)", 1.21, 0.51),
])  # fmt: skip
def test_waiting_for_data_is_a_time_of_its_own(tmp_path: Path, said: str, step: float, data: float) -> None:
    found = _series(tmp_path, "".join(f"Epoch: [3][{n}0/100] {said.format(n=n)}\n" for n in range(1, 5)))
    assert found["data_time"].values[0] == pytest.approx(data)
    assert found["step_time"].values[0] == pytest.approx(step)


def test_other_words(tmp_path: Path) -> None:
    found = _series(tmp_path, "".join(f"Epoch {n} train Loc Loss: 0.1 Cls Loss: 0.2 Tot Loss: 0.3{n} Accu :0.1{n}\n" for n in range(1, 4)))
    assert found["train/loss"].values.tolist() == [0.31, 0.32, 0.33]
    assert found["train/accuracy"].values.tolist() == [0.11, 0.12, 0.13]


def test_of_a_table_with_one_record_the_losses_are_kept(tmp_path: Path) -> None:
    keys = {"approxkl": 1.5e-5, "ep_rewmean": 12.5, "fps": 640, "nupdates": 31, "policy_loss": 0.0025, "total_timesteps": 3968, "value_loss": 41.5}
    rule = "-" * 34 + "\n"
    found = _series(tmp_path, rule + "".join(f"| {k:<18} | {v:<9} |\n" for k, v in keys.items()) + rule)
    assert {"reward", "throughput", "other/policy_loss", "other/value_loss"} <= set(found)
    assert "train/loss" not in found


def test_caffe_of_old_tells_its_scores_by_number(tmp_path: Path) -> None:
    log = "".join(
        f"I0203 08:00:0{n}.000001 71 solver.cpp:68] Iteration {n}000, loss = 6.9{n}\nI0203 08:00:0{n}.200001 71 solver.cpp:90] Testing net\n"
        f"I0203 08:00:0{n}.300001 71 solver.cpp:117] Test score # 0: 0.00{n}\nI0203 08:00:0{n}.300009 71 solver.cpp:117] Test score # 1: 6.95\n"
        for n in (1, 2, 3)
    )
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == [6.91, 6.92, 6.93]
    scored = found.get("test/accuracy", found.get("val/accuracy"))
    assert scored is not None
    assert scored.values.tolist() == [0.001, 0.002, 0.003]


def test_yolact_tells_its_total_and_its_precisions(tmp_path: Path) -> None:
    row = " |  ".join(f"{v:.2f}" for v in np.linspace(0.25, 0.05, 11))
    log = (
        "[ 12]    3400 || B: 0.250 | C: 0.500 | M: 0.625 | S: 0.125 | T: 1.500 || ETA: 2 days, 3:04:05 || timer: 0.250\n"
        "Computing validation mAP (this may take a while)...\n\n       |  all  |  .50  |  .55  |  .60  |  .65  |  .70  |  .75  |  .80  |  .85  |  .90  |  .95  |\n"
        f"-------+-------+-------\n   box |  {row} |\n  mask |  {row} |\n"
    )
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == [1.5]
    assert found["val/score"].values.tolist() == [0.25]


def test_the_test_set_below_the_heading_of_a_validation_is_that_set(tmp_path: Path) -> None:
    epochs = (
        f"Training epoch: {e}\n  Mean training loss: {4 - e}.5\nEval epoch: {e}\n  Mean test loss: {4 - e}.75\n  Top1: {20 * e}.5%\n"
        for e in (1, 2, 3)
    )
    found = _series(tmp_path, "".join(epochs))
    assert found["val/loss"].values.tolist() == [3.75, 2.75, 1.75]
    assert found["val/accuracy"].values.tolist() == [0.205, 0.405, 0.605]


def test_of_two_losses_in_a_block_the_plainer_one_is_it(tmp_path: Path) -> None:
    found = _series(tmp_path, "".join(f'Train Epoch {e}\n{{\n    "L2_Loss": {9 - e}.5,\n    "Loss": {9 - e}.75\n}}\n' for e in (1, 2, 3)))
    assert found["train/loss"].values.tolist() == [8.75, 7.75, 6.75]
