"""How logs of tutorials and small frameworks tell a rate, a validation or a round: which series comes of it, on the axis of the run.

The lines are written here as those programs print them; the numbers are invented.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from postmortem.model.run import Run, Series
from postmortem.sources import read_run


def read(folder: Path, text: str, name: str = "train.log") -> Run:
    (folder / name).write_text(text)
    return read_run([folder / name])


def one(run: Run, name: str) -> Series:
    found = run.one_series(name)
    assert found is not None, [s.name for s in run.series]
    return found


def points(series: Series) -> list[tuple[float, float]]:
    """Epochs done and values."""
    assert series.epochs is not None
    return list(zip(series.epochs.tolist(), series.values.tolist(), strict=True))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Updating learning rate to 0.5", "Updating learning rate to 0.25"),
        ("Epoch 00001: reducing learning rate of group 0 to 5.0000e-01.", "Epoch 00002: reducing learning rate of group 0 to 2.5000e-01."),
        ("Adjusting learning rate of group 0 to 5.0000e-01.", "Adjusting learning rate of group 0 to 2.5000e-01."),
        ("Learning rate set to 0.5", "Learning rate set to 0.25"),
        ("Epoch 00001: ReduceLROnPlateau reducing learning rate to 0.5.", "Epoch 00002: ReduceLROnPlateau reducing learning rate to 0.25."),
        ("\nEpoch 2: LearningRateScheduler setting learning rate to 0.5.", "\nEpoch 3: LearningRateScheduler setting learning rate to 0.25."),
        ("lr decreased from 1e0 to 5e-1", "lr decreased from 5e-1 to 2.5e-1"),
        ("DECAYING learning rate.\nThe new learning rate is 0.500000\n", "DECAYING learning rate.\nThe new learning rate is 0.250000\n"),
    ],
)
def test_a_rate_that_is_announced_holds_from_there_on(tmp_path: Path, first: str, second: str) -> None:
    text = (
        f"Epoch 1: train loss 1.5, val loss 1.75\n{first}\nEpoch 2: train loss 1.25, val loss 1.5\n{second}\nEpoch 3: train loss 1.0, val loss 1.25\n"
    )
    run = read(tmp_path, text)
    assert points(one(run, "lr")) == [(1.0, 0.5), (2.0, 0.25)]
    assert points(one(run, "train/loss")) == [(1.0, 1.5), (2.0, 1.25), (3.0, 1.0)]


def test_of_several_groups_the_first_one_tells_the_rate(tmp_path: Path) -> None:
    lines = "".join(
        f"epoch {e}: loss {9 - e}.5\n"
        f"Epoch {e:05d}: reducing learning rate of group 0 to {1 / 2**e:.4e}.\nEpoch {e:05d}: reducing learning rate of group 1 to 5.0000e-09.\n"
        for e in range(1, 9)
    )
    assert one(read(tmp_path, lines), "lr").values.tolist() == pytest.approx([1 / 2**e for e in range(1, 9)], rel=1e-3)


@pytest.mark.parametrize(
    "line", ["Learning rate will be reduced to 0.1 later on", "Saved the old learning rate of 0.25 to 3 files", "step size set to 5"]
)
def test_what_is_not_set_is_no_rate(tmp_path: Path, line: str) -> None:
    assert read(tmp_path, f"epoch 1: loss 2.5\n{line}\nepoch 2: loss 2.0\n{line}\n").one_series("lr") is None


def captioning(epochs: int, *, passes: bool) -> str:
    return "".join(
        f"Epoch: [{e}][0/20]\tBatch Time 0.014 (0.014)\tLoss {9 - e}.5 ({9 - e}.5)\tTop-5 Accuracy 20.1 (20.1)\n"
        f"Epoch: [{e}][10/20]\tBatch Time 0.014 (0.014)\tLoss {9 - e}.25 ({9 - e}.4)\tTop-5 Accuracy 21.1 (20.6)\n"
        + f"Validation: [0/5]\tBatch Time 0.014 (0.014)\tLoss {8 - e}.125 ({8 - e}.125)\tTop-5 Accuracy 22.1 (22.1)\t\n" * passes
        + f"\n * LOSS - {8 - e}.750, TOP-1 ACCURACY - {e + 1}5.250, BLEU-4 - 0.{e + 1}5\n\n"
        for e in range(epochs)
    )


@pytest.mark.parametrize("epochs", [2, 8])  # a few are read line by line
def test_capitals_and_dashes_are_the_validation_of_an_epoch(tmp_path: Path, epochs: int) -> None:
    run = read(tmp_path, captioning(epochs, passes=False))
    assert points(one(run, "val/loss")) == [(e + 1.0, 8.75 - e) for e in range(epochs)]
    assert one(run, "val/accuracy").values.tolist() == [10.0 * (e + 1) + 5.25 for e in range(epochs)]
    assert one(run, "val/score").values.tolist() == pytest.approx([(e + 1) / 10 + 0.05 for e in range(epochs)])
    assert one(run, "train/loss").values.tolist()[:2] == [9.5, 9.25]
    assert not any("TOP" in s.name for s in run.series)


def test_a_summary_with_dashes_below_a_pass_that_was_reported_too(tmp_path: Path) -> None:
    run = read(tmp_path, captioning(3, passes=True))
    assert points(one(run, "val/loss")) == [(1.0, 8.75), (2.0, 7.75), (3.0, 6.75)]


def test_dashes_between_keys_and_numbers(tmp_path: Path) -> None:
    run = read(tmp_path, "Epoch 1: Train Loss - 0.5, Val Loss - 0.75\nEpoch 2: Train Loss - 0.25, Val Loss - 0.5\n")
    assert points(one(run, "train/loss")) == [(1.0, 0.5), (2.0, 0.25)]
    assert points(one(run, "val/loss")) == [(1.0, 0.75), (2.0, 0.5)]


FLOWER = (
    "INFO :      Starting Flower simulation, config: num_rounds=3, no round_timeout\nINFO :      \nINFO :      [INIT]\n"
    "INFO :      initial parameters (loss, other metrics): 2.5, {'accuracy': 0.125}\nINFO :      \n"
    + "".join(
        f"INFO :      [ROUND {r}]\nINFO :      configure_fit: strategy sampled 4 clients (out of 8)\n"
        f"INFO :      aggregate_fit: received 4 results and 0 failures\n"
        f"INFO :      fit progress: ({r}, {2.5 - r / 4}, {{'accuracy': {0.125 + r / 8}}}, {r * 1.5})\n"
        f"INFO :        train loss (clients, weighted): {2 - r / 4:.4f}\nINFO :      \n"
        for r in (1, 2, 3)
    )
    + "INFO :      [SUMMARY]\nINFO :      Run finished 3 round(s) in 6.30s\n"
)
HISTORY = (
    "INFO :      \tHistory (loss, {what}):\n{zero}"
    + "".join(f"INFO :      \t\tround {r}: {2.5 - r / 4}\n" for r in (1, 2, 3))
    + "INFO :      \tHistory (metrics, centralized):\nINFO :      \t{{'accuracy': [(0, 0.125),\nINFO :      \t              (1, 0.25)]}}\n"
)


@pytest.mark.parametrize("end", ["", HISTORY.format(what="centralized", zero="INFO :      \t\tround 0: 2.5\n")])
def test_rounds_of_flower(tmp_path: Path, end: str) -> None:
    run = read(tmp_path, FLOWER + end)
    assert points(one(run, "val/loss")) == [(0.0, 2.5), (1.0, 2.25), (2.0, 2.0), (3.0, 1.75)]
    assert points(one(run, "val/accuracy")) == [(0.0, 0.125), (1.0, 0.25), (2.0, 0.375), (3.0, 0.5)]
    assert points(one(run, "train/loss")) == [(1.0, 1.75), (2.0, 1.5), (3.0, 1.25)]
    assert len(run.attempts) <= 1
    assert {s.name for s in run.series} == {"val/loss", "val/accuracy", "train/loss"}


def test_the_history_of_flower_counts_where_nothing_else_tells_the_loss(tmp_path: Path) -> None:
    head = "".join(f"INFO :      [ROUND {r}]\nINFO :      aggregate_fit: received 10 results and 0 failures\n" for r in (1, 2, 3))
    run = read(tmp_path, head + HISTORY.format(what="distributed", zero=""))
    assert points(one(run, "val/loss")) == [(1.0, 2.25), (2.0, 2.0), (3.0, 1.75)]


def robomimic(epochs: int) -> str:
    return "".join(
        f'Train Epoch {e}\n{{\n    "Loss": {9 - e}.5,\n    "Policy_Grad_Norms": 1.5\n}}\n'
        f'Validation Epoch {e}\n{{\n    "Loss": {9 - e}.75,\n    "Time_Epoch": 8.2e-05\n}}\n\nEpoch {e} Memory Usage: 400 MB\n\n'
        for e in range(1, epochs + 1)
    )


@pytest.mark.parametrize("epochs", [2, 8])
def test_a_heading_with_an_epoch_holds_for_the_block_below_it(tmp_path: Path, epochs: int) -> None:
    run = read(tmp_path, robomimic(epochs))
    assert points(one(run, "train/loss")) == [(float(e), 9.5 - e) for e in range(1, epochs + 1)]
    assert points(one(run, "val/loss")) == [(float(e), 9.75 - e) for e in range(1, epochs + 1)]


@pytest.mark.parametrize("heading", ["Validation Epoch: {e}", "Evaluation epoch {e}", "--- Val Epoch {e} ---", "Evaluating at epoch {e}"])
@pytest.mark.parametrize("epochs", [3, 40])
def test_a_heading_with_an_epoch_holds_for_the_lines_below_it(tmp_path: Path, heading: str, epochs: int) -> None:
    text = "".join(
        f"Train Epoch: {e}\nLoss: {50 - e}.5\nAccuracy: 0.5\n{heading.format(e=e)}\nLoss: {50 - e}.75\nAccuracy: 0.25\n" for e in range(1, epochs + 1)
    )
    run = read(tmp_path, text)
    assert points(one(run, "train/loss")) == [(float(e), 50.5 - e) for e in range(1, epochs + 1)]
    assert points(one(run, "val/loss")) == [(float(e), 50.75 - e) for e in range(1, epochs + 1)]
    assert set(one(run, "val/accuracy").values) == {0.25}
    assert np.all(one(run, "train/accuracy").values == 0.5)


@pytest.mark.parametrize("server", [True, False])
def test_the_saved_history_of_flower(tmp_path: Path, server: bool) -> None:
    history = {
        "losses_distributed": [[1, 2.0], [2, 1.75], [3, float("nan")]],
        "losses_centralized": [[0, 2.5], [1, 2.25], [2, 2.0], [3, "odd"]] if server else [],
        "metrics_distributed_fit": {"accuracy": [[1, 0.25], [2, 0.5]]},
        "metrics_distributed": {},
        "metrics_centralized": {"accuracy": [[0, 0.125], [2, 0.375], "odd"]} if server else {},
    }
    run = read(tmp_path, json.dumps(history), "history.json")
    assert points(one(run, "train/accuracy")) == [(1.0, 0.25), (2.0, 0.5)]
    if server:
        assert points(one(run, "val/loss")) == [(0.0, 2.5), (1.0, 2.25), (2.0, 2.0)]
        assert points(one(run, "val/accuracy")) == [(0.0, 0.125), (2.0, 0.375)]
        assert one(run, "other/losses_distributed").values.tolist()[:2] == [2.0, 1.75]
    else:
        assert one(run, "val/loss").values.tolist()[:2] == [2.0, 1.75]


EXAMPLE = "06/26/2022 10:0{e}:00 - INFO - __main__ - epoch {e}: {what}\n"
IGNITE = (
    "Epoch[{n}] Iteration[100/200] Loss: {e}.75\nEpoch[{n}] Iteration[150/200] Loss: {e}.625\nTraining Results - Epoch: {n}  Avg accuracy: 0.25 Avg loss: {e}.5\n"
    "Validation Results - Epoch: {n}  Avg accuracy: 0.125 Avg loss: {e}.25\n"
)
GLUON = (
    "INFO:gluonts.trainer:Epoch[{e}] Learning rate is 0.5\n"
    "100%|##########| 100/100 [00:03<00:00, 30.5it/s, epoch={n}/3, avg_epoch_loss={e}.5]\n"
    "INFO:gluonts.trainer:Epoch[{e}] Elapsed time 3.281 seconds\n"
    "INFO:gluonts.trainer:Epoch[{e}] Evaluation metric 'epoch_loss'={e}.500000\n"
    "INFO:gluonts.trainer:Epoch[{e}] Evaluation metric 'validation_epoch_loss'={e}.250000\n"
)
CATALYST = "train ({n}/3) * Epoch ({n}/3) accuracy01: 0.5 | loss: {e}.5\nvalid ({n}/3) * Epoch ({n}/3) accuracy01: 0.25 | loss: {e}.25\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (EXAMPLE.replace("{what}", "{{'accuracy': 0.{n}, 'f1': 0.5}}"), {"val/accuracy": [0.1, 0.2, 0.3], "val/f1": [0.5, 0.5, 0.5]}),
        (EXAMPLE.replace("{what}", "perplexity: {n}.5 eval_loss: {e}.25"), {"val/perplexity": [1.5, 2.5, 3.5], "val/loss": [0.25, 1.25, 2.25]}),
        (IGNITE, {"train/loss.epoch": [0.5, 1.5, 2.5], "val/loss": [0.25, 1.25, 2.25], "val/accuracy": [0.125] * 3}),
        (GLUON, {"train/loss": [0.5, 1.5, 2.5], "val/loss": [0.25, 1.25, 2.25]}),
        (CATALYST, {"train/loss": [0.5, 1.5, 2.5], "val/loss": [0.25, 1.25, 2.25], "train/accuracy": [0.5] * 3, "val/accuracy": [0.25] * 3}),
    ],
    ids=["examples with metrics", "examples with a perplexity", "ignite", "gluonts", "catalyst"],
)
def test_both_sets_of_three_epochs(tmp_path: Path, lines: str, expected: dict[str, list[float]]) -> None:
    run = read(tmp_path, "".join(lines.format(e=e, n=e + 1) for e in range(3)))
    for name, values in expected.items():
        assert points(one(run, name)) == [(n, v) for n, v in zip((1.0, 2.0, 3.0), values, strict=True)]


@pytest.mark.parametrize(
    "line",
    [
        "{m}m 25s (- 6m 23s) ({k}000 {k}%) 2.{k}500",
        "{k}000 {k}% ({m}m 5s) 2.{k}500 Ivanov / Russian ✓",
        "{k}000 {k}% (0m 5s) 2.{k}500 Sato / Greek ✗ (Japanese)",
    ],
)
def test_losses_without_a_name_in_tutorials_of_pytorch(tmp_path: Path, line: str) -> None:
    loss = one(read(tmp_path, "".join(line.format(m=k // 2, k=k) + "\n" for k in range(1, 7))), "train/loss")
    assert loss.steps.tolist() == [k * 1000.0 for k in range(1, 7)]
    assert loss.values.tolist() == [float(f"2.{k}5") for k in range(1, 7)]


def test_rows_of_a_wide_table_and_interactions_that_count(tmp_path: Path) -> None:
    rule = "-" * 39 + "\n"
    text = "".join(
        f"{rule}|             Epoch |               {e} |\n|      AverageEpRet |            2{e}.5 |\n|     TotalEnvInteracts |        {4 * e + 4}e+03 |\n"
        f"|            LossPi |       -2.98e-09 |\n|             LossV |             {e}00 |\n|                KL |            0.01 |\n{rule}"
        for e in range(3)
    )
    run = read(tmp_path, text)
    assert one(run, "reward").steps.tolist() == [4000.0, 8000.0, 12000.0]
    assert one(run, "other/LossV").values.tolist() == [0.0, 100.0, 200.0]
    assert {"other/LossPi", "other/KL"} <= {s.name for s in run.series}


def test_a_rate_after_an_arrow(tmp_path: Path) -> None:
    text = "".join(
        f"(epoch: {e}, iters: {i}00, time: 0.272, data: 0.152) D_A: 0.412 G_A: 0.312\n" + f"learning rate 0.5 -> 0.{5 - e}\n" * (i == 3)
        for e in (1, 2, 3)
        for i in (1, 2, 3)
    )
    assert points(one(read(tmp_path, text), "lr")) == [(1.0, 0.4), (2.0, 0.3), (3.0, 0.2)]


def afterwards(epochs: int, *, more: bool) -> str:
    def steps(e: int) -> str:
        return "".join(f"Iter: {i:03d}, Train Loss: {9 - e}.{i // 50}000, Train MAPE: 0.4000\n" for i in range(0, 200, 50))

    ends = "Epoch: {e:03d}, Inference Time: 1.5000 secs\nEpoch: {e:03d}, Train Loss: {b}.5000, Train MAPE: 0.4500, Valid Loss: {c}.5000, Valid MAPE: 0.3500\n"
    return "".join(steps(e) + ends.format(e=e, b=9 - e, c=8 - e) for e in range(1, epochs + 1)) + steps(epochs + 1) * more


@pytest.mark.parametrize("more", [False, True])
def test_steps_before_the_epoch_is_named_belong_to_it(tmp_path: Path, more: bool) -> None:
    run = read(tmp_path, afterwards(4, more=more))
    loss = one(run, "train/loss")
    assert loss.steps.tolist() == [200.0 * e + k for e in range(4 + more) for k in (0, 50, 100, 150)]
    assert loss.values.tolist()[::4] == [8.0, 7.0, 6.0, 5.0, 4.0][: 4 + more]
    assert one(run, "val/loss").steps.tolist() == [200.0, 400.0, 600.0, 800.0]
    assert points(one(run, "val/loss")) == [(1.0, 7.5), (2.0, 6.5), (3.0, 5.5), (4.0, 4.5)]
    assert len(run.attempts) <= 1


def test_steps_below_the_name_of_their_epoch_stay_there(tmp_path: Path) -> None:
    text = "step 0: val loss 9.5\n" + "".join(
        f"Epoch {e}: learning rate 0.5\n" + "".join(f"step {e * 100 + k}: loss {9 - e}.{k // 25}\n" for k in (0, 25, 50, 75)) for e in range(4)
    )
    loss = one(read(tmp_path, text), "train/loss")
    assert loss.steps.tolist() == [e * 100.0 + k for e in range(4) for k in (0, 25, 50, 75)]
    assert loss.epochs is not None
    assert loss.epochs.tolist()[::4] == [0.0, 1.0, 2.0, 3.0]


def test_how_many_steps_an_epoch_has_is_no_place_in_it(tmp_path: Path) -> None:
    text = "".join(f"Epoch: {e}, Steps: 6 | Train Loss: {9 - e}.5 Vali Loss: {9 - e}.25\nUpdating learning rate to 0.5\n" for e in range(1, 6))
    run = read(tmp_path, text)
    for name in ("train/loss", "val/loss", "lr"):
        assert one(run, name).steps.tolist() == [6.0, 12.0, 18.0, 24.0, 30.0]
        assert [e for e, _ in points(one(run, name))] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert run.steps_per_epoch == 6


def drawn(epochs: int) -> str:
    def bar(i: int, n: int, loss: float) -> str:
        full = 64 * i // n
        return (
            f" [{'=' * full}>{'.' * (64 - full)}]  Step: {50 + i}ms | Tot: {i}s5ms | Loss: {loss:.3f} | Acc: 25.000% ({i * 32}/{i * 128}) {i}/{n} \n"
        )

    return "==> Building model..\n" + "".join(
        f"\nEpoch: {e}\n" + "".join(bar(i, 400, 9 - e) for i in (1, 200, 400)) + "".join(bar(i, 100, 8.5 - e + 1 / i) for i in (1, 50, 100))
        for e in range(epochs)
    )


def test_a_second_bar_that_is_shorter_is_the_pass_over_the_evaluation_set(tmp_path: Path) -> None:
    run = read(tmp_path, drawn(5))
    assert points(one(run, "val/loss")) == [(e + 1.0, 8.51 - e) for e in range(5)]
    assert one(run, "train/loss").steps.tolist() == [400.0 * e + k for e in range(5) for k in (1, 200, 400)]
    assert run.setting("epochs") is None


@pytest.mark.parametrize("first", [0, 1])
def test_epoch_and_batch_behind_the_name_of_the_split(tmp_path: Path, first: int) -> None:
    text = "".join(f"Train: [{e}][{k}/40]\tBT 0.500 (0.500)\tloss {9 - e}.5 ({9 - e}.6)\n" for e in range(first, first + 4) for k in (10, 20, 30, 40))
    loss = one(read(tmp_path, text), "train/loss")
    assert loss.steps.tolist() == [40.0 * e + k for e in range(4) for k in (10, 20, 30, 40)]


def test_the_same_line_again_below_the_heading_of_an_evaluation(tmp_path: Path) -> None:
    text = "".join(
        f"[Epoch: {e}, numImages:  1464]\nLoss: {90 - e}.5\nValidation:\n[Epoch: {e}, numImages:  1449]\nAcc:0.85, mIoU:0.55\nLoss: {50 - e}.5\n"
        for e in range(9)
    )
    run = read(tmp_path, text)
    assert points(one(run, "train/loss")) == [(e + 1.0, 90.5 - e) for e in range(9)]
    assert points(one(run, "val/loss")) == [(e + 1.0, 50.5 - e) for e in range(9)]


def test_a_remark_between_key_and_number(tmp_path: Path) -> None:
    bars = "".join(f"Epoch {e}/5:  50%|█████     | 50/100 [10:00<10:00,  3.80img/s, loss (batch)=0.{e}]\n" for e in (1, 2, 3))
    assert points(one(read(tmp_path, bars), "train/loss")) == [(0.5, 0.1), (1.5, 0.2), (2.5, 0.3)]
