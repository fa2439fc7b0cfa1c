"""What cells of notebooks print: headings of epochs with several records below, `evaluate` after `fit`, parts and players of losses."""

from pathlib import Path

import pytest

from postmortem.model.run import Reduction, Run, Series
from postmortem.sources import read_run


def run_of(folder: Path, text: str) -> Run:
    (folder / "log.txt").write_text(text)
    return read_run([folder / "log.txt"])


def one(run: Run, name: str) -> Series:
    (found,) = [s for s in run.series if s.name == name]
    return found


def bar(epoch: int, loss: float, val: float | None = None, batches: int = 1407) -> str:
    rest = "" if val is None else f" - val_loss: {val:.4f}"
    return f"Epoch {epoch}/3\n{batches}/{batches} [==============================] - 15s 11ms/step - loss: {loss:.4f}{rest}\n"


def test_an_evaluation_after_the_last_epoch_is_none_of_training(tmp_path: Path) -> None:
    text = "".join(bar(n, 2.0 - 0.3 * n, 2.1 - 0.2 * n) for n in range(1, 4)) + "157/157 [====] - 0s 1ms/step - loss: 1.4780\n"
    run = run_of(tmp_path, text)
    assert one(run, "train/loss").values.tolist() == pytest.approx([1.7, 1.4, 1.1])
    assert one(run, "test/loss").values.tolist() == [1.478]


def test_a_fit_of_one_epoch_again_and_again(tmp_path: Path) -> None:
    text = "".join(f"epoch {n}\nEpoch 1/1\n200278/200278 [====] - 126s - loss: {2 - 0.1 * n:.4f}\nand so on\n" for n in range(1, 9))
    assert len(one(run_of(tmp_path, text), "train/loss")) == 8


def test_the_steps_that_a_mean_is_of(tmp_path: Path) -> None:
    text = "".join(
        f"Training epoch: {epoch}\n" + "".join(f"Training loss per 100 training steps: {1 / (n + 10 * epoch):.6f}\n" for n in range(1, 10))
        for epoch in (1, 2)
    )
    loss = one(run_of(tmp_path, text), "train/loss")
    assert len(loss) == 18
    assert loss.values[0] == pytest.approx(1 / 11, abs=1e-6)


def test_how_far_an_evaluation_came_is_no_curve(tmp_path: Path) -> None:
    text = "".join(f"Validation loss per 100 evaluation steps: {0.02 + 0.001 * n}\n" for n in range(9)) + "Validation Loss: 0.0292\n"
    assert one(run_of(tmp_path, text), "val/loss").values.tolist() == [0.0292]


def test_the_players_of_a_gan_at_their_steps(tmp_path: Path) -> None:
    text = "".join(f"discriminator loss at step {n}: 0.68\nadversarial loss at step {n}: 0.7{n}\n" for n in range(0, 900, 100))
    run = run_of(tmp_path, text)
    assert {s.name for s in run.series} == {"other/discriminator loss", "other/adversarial loss"}
    assert len(run.series[0]) == 9


def test_a_cost_in_seconds_is_no_loss(tmp_path: Path) -> None:
    text = "".join(f"04-06 22:0{n}:33, Epoch {n} Train, mae:{9 - n}.73, mse:{90 - n}.34, Cost: 71{n}.7 sec \n" for n in range(9))
    assert one(run_of(tmp_path, text), "train/loss").logged_as == "mse"


def test_the_mean_of_an_epoch_stands_in_parentheses(tmp_path: Path) -> None:
    text = "".join(f"Epoch: [{n}]\tLoss 0.{(7 * n) % 9}449 ({1.5 / (n + 1):.4f})\t\n" for n in range(9))
    assert one(run_of(tmp_path, text), "train/loss").values[:2].tolist() == [1.5, 0.75]


def test_records_below_the_heading_of_an_epoch_are_no_means_of_epochs(tmp_path: Path) -> None:
    text = "".join(f"Epoch: {epoch}\n" + "".join(f"Loss: {2 / (1 + n + 9 * epoch)}, Accuracy: 0.5\n" for n in range(9)) for epoch in range(3))
    loss = one(run_of(tmp_path, text), "train/loss")
    assert len(loss) == 27
    assert loss.reduction != Reduction.EPOCH
