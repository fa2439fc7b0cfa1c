"""What a value of a log is of, where its key alone does not say: which set, a batch or a whole epoch, which counter it stands beside."""

from pathlib import Path

import pytest

from postmortem.model.run import Run
from postmortem.sources import read_run


def run_of(folder: Path, text: str, name: str = "train.log") -> Run:
    (folder / name).write_text(text)
    return read_run([folder / name])


def values(run: Run) -> dict[str, list[float]]:
    return {s.name: s.values.tolist() for s in run.series}


# -- which set

OF_THE_LINES_SET = {
    "a loss behind the accuracy of a set": ("[{e}] Train acc: 0.7{e} | loss: 0.9{e}\n[{e}] Valid acc: 0.1{e} | loss: 3.5{e}\n", "epoch"),
    "an accuracy behind the loss of a set": ("Train Loss: 0.9{e} | Acc: 0.7{e}\nVal Loss: 3.5{e} | Acc: 0.1{e}\n", "heading"),
    "behind a semicolon": ("Training loss: 0.9{e}; Acc: 0.7{e}\nValidation loss: 3.5{e}; Acc: 0.1{e}\n", "heading"),
    "keys of one word": ("train_loss: 0.9{e} | acc: 0.7{e}\nval_loss: 3.5{e} | acc: 0.1{e}\n", "heading"),
    "both sets on a line": ("Train loss: 0.9{e} | Acc: 0.7{e} | Val loss: 3.5{e} | Acc: 0.1{e}\n", "heading"),
}


@pytest.mark.parametrize("habit", OF_THE_LINES_SET)
def test_a_key_behind_the_only_set_that_a_line_names_is_of_that_set(tmp_path: Path, habit: str) -> None:
    lines, counted = OF_THE_LINES_SET[habit]
    text = "".join((f"Epoch {e}\n" if counted == "heading" else "") + lines.replace("[{e}]", f"[Epoch: {e}]").format(e=e) for e in (1, 2, 3))
    found = values(run_of(tmp_path, text))
    assert found == {
        "train/loss": pytest.approx([0.91, 0.92, 0.93]),
        "train/accuracy": pytest.approx([0.71, 0.72, 0.73]),
        "val/loss": pytest.approx([3.51, 3.52, 3.53]),
        "val/accuracy": pytest.approx([0.11, 0.12, 0.13]),
    }


TRAINING_BESIDE_IT = {
    "said before": "loss: 0.9{e} | val_loss: 3.5{e} | acc: 0.7{e}\n",
    "said again": "val loss: 3.5{e} | val acc: 0.1{e} | loss: 0.9{e} | acc: 0.7{e}\n",
    "a key that is whole by itself": "val_acc: 0.1{e} | loss: 0.9{e} | acc: 0.7{e}\n",
    "behind the learning rate": "Val Acc: 0.1{e} | lr: 0.01 | loss: 0.9{e}\n",
}


@pytest.mark.parametrize("habit", TRAINING_BESIDE_IT)
def test_a_loss_beside_an_evaluation_stays_that_of_training(tmp_path: Path, habit: str) -> None:
    run = run_of(tmp_path, "".join(f"epoch {e} " + TRAINING_BESIDE_IT[habit].format(e=e) for e in (1, 2, 3)))
    assert values(run)["train/loss"] == pytest.approx([0.91, 0.92, 0.93])


def test_what_stands_below_the_heading_of_an_evaluation_is_of_it_behind_a_logger_too(tmp_path: Path) -> None:
    logger = "01/02/2024 03:04:05 - INFO - __main__ -   "
    heading = f"{logger}***** Eval results  *****\n"
    run = run_of(tmp_path, "".join(f"{logger}step {100 * n}, loss 0.9{n}\n{heading}{logger}  acc = 0.6{n}\n" for n in (1, 2, 3)))
    assert values(run) == {"train/loss": pytest.approx([0.91, 0.92, 0.93]), "val/accuracy": pytest.approx([0.61, 0.62, 0.63])}


# -- a batch or a whole epoch


def epochs_of_batches(batches: range) -> str:
    """The last batch beside the running mean, then the mean once more by itself."""
    lines: list[str] = []
    for e in range(4):
        places = [f"[{e}/4][{b}/3]" if len(batches) > 1 else f"[{e}/4]" for b in batches]
        lines += [f"Train: {at}\tlr 0.1\tloss {(e * 7 + b) % 5}.5 ({2 - e / 10:.3f})\tAcc@1 0.0 ({20 + e}.0)" for b, at in enumerate(places)]
        lines += [f"EPOCH {e} training takes 0:00:0{e}", f" * Train Acc {20 + e}.0 Train Loss {2 - e / 10:.3f}"]
        lines += [f"Validate: \tLoss 0.0{e} ({3 - e / 10:.3f})\tAcc@1 100.0 ({10 + e}.0)", f" * Val Acc {10 + e}.0 Val Loss {3 - e / 10:.3f}"]
    return "\n".join(lines) + "\n"


def test_the_mean_of_an_epoch_comes_before_the_last_batch_of_it(tmp_path: Path) -> None:
    found = values(run_of(tmp_path, epochs_of_batches(range(1))))
    assert found["train/loss"] == pytest.approx([2.0, 1.9, 1.8, 1.7])
    assert found["val/loss"] == pytest.approx([3.0, 2.9, 2.8, 2.7])
    assert found["val/accuracy"] == pytest.approx([10, 11, 12, 13])


def test_batches_that_are_told_more_often_than_means_stay(tmp_path: Path) -> None:
    found = values(run_of(tmp_path, epochs_of_batches(range(3))))
    assert len(found["train/loss"]) == 12
    assert found["train/loss.epoch"] == pytest.approx([2.0, 1.9, 1.8, 1.7])


# -- what nobody names


@pytest.mark.parametrize("left", ["", " (- 9m 1s)"])
@pytest.mark.parametrize("around", ["{}", "[{}]"])
def test_the_tutorials_on_text_print_steps_and_a_loss_without_a_name(tmp_path: Path, left: str, around: str) -> None:
    lines = [around.format(f"{n}m {6 * n}s{left} ({50 * n} {8 * n}%) {3 - n / 10:.4f}") for n in range(1, 6)]
    run = run_of(tmp_path, "Training for 600 epochs...\n" + "\n".join(lines) + "\n")
    (loss,) = run.series
    assert (loss.name, loss.steps.tolist()) == ("train/loss", [50, 100, 150, 200, 250])
    assert loss.values == pytest.approx([2.9, 2.8, 2.7, 2.6, 2.5])


def test_short_words_for_training_may_be_glued_to_the_quantity(tmp_path: Path) -> None:
    run = run_of(tmp_path, "".join(f"epoch {e} trloss 0.9{e} tracc 0.7{e} valloss 3.5{e} valacc 0.1{e}\n" for e in (1, 2, 3)))
    assert set(values(run)) == {"train/loss", "train/accuracy", "val/loss", "val/accuracy"}
