"""What people paste of a log into a thread: one record, one epoch, a piece whose head and tail are missing."""

from pathlib import Path

import numpy as np
import pytest

from postmortem.model.run import EventKind, Reduction, Run, Series
from postmortem.sources import read_run


def _read(folder: Path, log: str) -> Run:
    (folder / "train.log").write_text(log)
    return read_run([folder / "train.log"])


def _series(folder: Path, log: str) -> dict[str, Series]:
    return {s.name: s for s in _read(folder, log).series}


# -- lines


def test_losses_of_players_some_lines_below_the_batch_that_they_are_of(tmp_path: Path) -> None:
    log = "".join(
        f"Epoch 2 Batch {n}\nTraining the discriminator..\nTraining the generator..\n"
        f"Initial batch losses :  Generator loss {n}.5 Discriminator loss 0.{n} Total: {n}.75\n\n"
        for n in range(4, 8)
    )
    found = _series(tmp_path, log)
    assert found["other/Generator loss"].values.tolist() == [4.5, 5.5, 6.5, 7.5]
    assert found["other/Discriminator loss"].values.tolist() == pytest.approx([0.4, 0.5, 0.6, 0.7])
    assert found["train/loss"].steps.tolist() == [4, 5, 6, 7]


def test_three_counters_of_pecos(tmp_path: Path) -> None:
    log = "".join(
        f"01/02/2030 10:0{n}:00 - INFO - matcher - | [   {1 + (n > 1)}/  30][   {50 * n + 10}/ 2100] |   {(50 * n + 10) % 70}/  70 batches | "
        f"ms/batch 700.5 | train_loss 6.{9 - n}e-01 | lr 1.0e-05\n"
        for n in range(4)
    )
    found = _series(tmp_path, log)
    assert found["train/loss"].steps.tolist() == [10, 60, 110, 160]
    assert found["train/loss"].values.tolist() == pytest.approx([0.69, 0.68, 0.67, 0.66])


def test_an_objective_that_is_maximised_is_a_loss_below_0(tmp_path: Path) -> None:
    log = "".join(
        f"VLOG[1] (train-ctc:Eval():loss.cc:18) After {1000 * n} sequences ({n}.25Hr): Obj(log[Pzx]) = -{40 - n}.5   TokenAcc = {50 + n}.5%\n"
        for n in range(1, 4)
    )
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == [39.5, 38.5, 37.5]
    assert found["train/loss"].steps.tolist() == [1000, 2000, 3000]
    assert found["train/loss"].quantum == pytest.approx(0.1)
    assert found["train/accuracy"].values.tolist() == pytest.approx([0.515, 0.525, 0.535])


def test_a_cross_entropy_of_sentences_is_not_that_of_words(tmp_path: Path) -> None:
    rows = "".join(
        f"[2030-01-02 10:0{n}:00] Ep. 1 : Up. {n}000 : Sen. {n}0,123 : Cost 5.{9 - n}0 : Time 9.5s : 900.50 words/s\n"
        f"[2030-01-02 10:0{n}:30] [valid] Ep. 1 : Up. {n}000 : cross-entropy : 13{9 - n}.5 : new best\n"
        f"[2030-01-02 10:0{n}:31] [valid] Ep. 1 : Up. {n}000 : perplexity : 18{9 - n}.5 : new best\n"
        for n in range(1, 5)
    )
    found = _series(tmp_path, rows)
    assert found["val/perplexity"].values.tolist() == [188.5, 187.5, 186.5, 185.5]
    assert "val/loss" not in found
    assert "val/loss" in _series(tmp_path, rows.replace("cross-entropy", "ce-mean-words"))


def test_a_key_that_ends_in_loss_is_the_loss_where_nothing_else_is(tmp_path: Path) -> None:
    lines = [f"Epoch: [1]  [{n}/40]  lr: 0.0001  closs: 0.{9 - n // 10} (0.95)  grad_norm: 0.5 (0.6)  time: 4.1\n" for n in range(0, 40, 10)]
    found = _series(
        tmp_path, "".join(lines) + "Epoch: [1] Total time: 0:05:10\nAveraged stats: lr: 0.0001  closs: 0.6 (0.75)  grad_norm: 0.5 (0.55)\n"
    )
    assert found["train/loss"].values.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert found["train/loss.epoch"].values.tolist() == [0.75]
    both = _series(tmp_path, "".join(line.replace("grad_norm", "mloss") for line in lines))
    assert both["train/loss"].values.tolist() == pytest.approx([1.4, 1.3, 1.2, 1.1])
    assert "train/loss" not in _series(tmp_path, "".join(line.replace("closs", "bestloss") for line in lines))


def test_what_a_warning_glued_behind_the_values_of_a_bar(tmp_path: Path) -> None:
    log = "".join(
        f"Progress:  {n}%|█▎   | {n}0/1000 [00:5{n}<09:00, {15 if n < 5 else 0}.{n}it/s, Loss=0.{n}5, Side Loss=0.0]"
        + "/opt/lib/functional.py:77: UserWarning: deprecated\n" * (n == 3) + "\n" * (n != 3)
        for n in range(3, 7)
    )  # fmt: skip
    assert _series(tmp_path, log)["train/loss"].steps.tolist() == [30, 40, 50, 60]


def test_parts_of_a_record_that_is_cut(tmp_path: Path) -> None:
    rows = "".join(f"Iter: {n}00\nstage1_paf_loss:     {n}.25\nstage1_heat_loss: 0.5\n" for n in range(2, 6))
    found = _series(tmp_path, rows + "Iter: 600\nstage1_paf_loss:     6.25\n")
    assert found["train/loss"].steps.tolist() == [200, 300, 400, 500]
    assert found["train/loss"].values.tolist() == [2.75, 3.75, 4.75, 5.75]
    assert len(found["other/stage1_paf_loss"]) == 5


def test_most_of_what_training_measured_is_lost(tmp_path: Path) -> None:
    bad = (
        "--- epoch 7 ---\n" + "".join(f"train/{key:9s}: nan\n" for key in ("real", "fake", "style")) + "train/f0       : 0.25\neval/real      : nan\n"
    )
    assert "train/loss" in _series(tmp_path, bad)
    assert "train/loss" not in _series(tmp_path, bad.replace("nan", "0.5", 2))


def test_how_many_epochs_are_done_heads_what_they_came_to(tmp_path: Path) -> None:
    log = "After 19th epoch\nloss: 0.5 - acc: 0.75\nafter 20th epoch\nloss: 0.25 - acc: 0.5\nAfter 90 epochs\nloss: 0.125 - acc: 0.25\n"
    assert _series(tmp_path, log)["train/loss"].epochs.tolist() == [19, 20, 90]  # type: ignore[union-attr]


# -- blocks and tables


def test_one_record_is_all_there_is(tmp_path: Path) -> None:
    log = "      Learning iteration 120/900      \n\n  Value function loss: 12345678.5\n  Entropy: 2.25\n  Mean reward: 350.5\n"
    found = _series(tmp_path, log)
    assert {name: s.values[0] for name, s in found.items()} == {"other/Value function loss": 12345678.5, "other/Entropy": 2.25, "reward": 350.5}


def test_rows_of_parts_of_a_model(tmp_path: Path) -> None:
    log = "".join(
        f"Testing for epoch {n}:\ncomponent              | loss | aux_loss\n--------------------------------------\n"
        f"generator (train)      | {n}.25 | 2.50 \ngenerator (test)       | {n}.50 | 2.50 \n"
        for n in range(1, 4)
    )
    found = _series(tmp_path, log)
    assert found["other/generator loss"].values.tolist() == [1.25, 2.25, 3.25]
    assert found["other/test generator aux_loss"].epochs.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    assert "train/loss" not in found


def test_rows_of_sets(tmp_path: Path) -> None:
    log = "".join(f"Epoch {n}\nphase  loss  accuracy\ntrain  0.{9 - n}  0.{n}5\nvalid  0.{9 - n}5  0.{n}\n\n" for n in range(1, 5))
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == pytest.approx([0.8, 0.7, 0.6, 0.5])
    assert found["val/accuracy"].values.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert found["val/loss"].steps.tolist() == [1, 2, 3, 4]


def test_a_table_beneath_the_number_of_a_step(tmp_path: Path) -> None:
    log = "".join(
        f"Iteration {n}\nkl just right!\n\n| EVAfter   | 0.9{n % 10}      |\n| EpRewMean | -{n}.5 |\n| KL        | 0.00{n} |\n\n"
        for n in (12, 13, 14)
    )
    found = _series(tmp_path, log)
    assert found["reward"].steps.tolist() == found["other/KL"].steps.tolist() == [12, 13, 14]


def test_a_column_of_keys_and_one_of_values(tmp_path: Path) -> None:
    def block(n: int) -> str:
        return (
            "------------------------  -------------\n"
            f"trainer/QF1 Loss                {n}.25e+09\ntrainer/Policy Loss            -{n}.5\ntrainer/Q1 Predictions Mean     {n}00\n"
        )

    alone = _series(tmp_path, block(3) + "trainer/Alpha                   0.5\n")
    assert alone["other/trainer/QF1 Loss"].values.tolist() == [3.25e9]
    found = _series(tmp_path, "".join(block(n) + f"Epoch                           {n}\n" for n in range(5)))
    assert found["other/trainer/Policy Loss"].values.tolist() == [-0.5, -1.5, -2.5, -3.5, -4.5]
    assert found["other/trainer/QF1 Loss"].epochs.tolist() == [1, 2, 3, 4, 5]  # type: ignore[union-attr]


def test_a_header_that_says_which_set_in_a_word_of_its_own(tmp_path: Path) -> None:
    found = _series(tmp_path, "epoch train loss valid loss accuracy\n0 0.75 nan 0.5\n1 0.5 0.625 0.25\n")
    assert found["train/loss"].values.tolist() == [0.75, 0.5]
    assert found["val/loss"].values[1] == 0.625
    assert found["val/accuracy"].values.tolist() == [0.5, 0.25]


# -- bars of Keras


def _bar(n: int, total: int, loss: float, more: str = "") -> str:
    drawn = n * 30 // total
    return f"{n}/{total} [{'=' * drawn}>{'.' * (29 - drawn)}] - ETA: 1s - loss: {loss:.4f}{more}" if n < total else (
        f"{n}/{total} [{'=' * 30}] - 4s 25ms/step - loss: {loss:.4f}{more}"
    )  # fmt: skip


def _epoch(batches: int, loss: float) -> str:
    return "".join(_bar(n, batches, loss + 1 / n) + "\n" for n in range(1, batches)) + _bar(batches, batches, loss, " - val_loss: 0.7500") + "\n"


@pytest.mark.parametrize("epochs", [1, 2])
def test_what_bars_show_counts_where_few_epochs_ended(tmp_path: Path, epochs: int) -> None:
    log = "".join(f"Epoch {n}/9\n" + _epoch(20, 2.0 - n / 4) for n in range(1, epochs + 1))
    found = _series(tmp_path, log + f"Epoch {epochs + 1}/9\n" + "".join(_bar(n, 20, 1.0) + "\n" for n in range(1, 4)))
    assert found["train/loss"].reduction == Reduction.RUNNING
    assert len(found["train/loss"]) == 19 * epochs + 3
    assert found["train/loss"].steps.tolist() == [n + 20 * e for e in range(epochs) for n in range(1, 20)] + [20 * epochs + n for n in (1, 2, 3)]
    assert found["train/loss.epoch"].values.tolist() == [1.75, 1.5][:epochs]
    assert found["val/loss"].values.tolist() == [0.75] * epochs


def test_a_bar_is_one_point_where_epochs_make_a_curve(tmp_path: Path) -> None:
    found = _series(tmp_path, "".join(f"Epoch {n}/9\n" + _epoch(20, 2.0 - n / 4) for n in range(1, 5)))
    assert found["train/loss"].values.tolist() == [1.75, 1.5, 1.25, 1.0]
    assert found["train/loss"].steps.tolist() == found["val/loss"].steps.tolist()
    assert "train/loss.epoch" not in found


def test_what_a_callback_glued_behind_a_bar_names_the_epoch(tmp_path: Path) -> None:
    log = "".join(
        _bar(499, 500, 2.5 - n / 4) + f"Epoch {n:05d}: val_loss improved from inf to 1.{n}5, saving model to best_{n}.h5\n" * (n < 3)
        + f"Epoch {n:05d}: val_loss did not improve\n" * (n >= 3)
        + _bar(500, 500, 2.5 - n / 4, f" - val_loss: 1.{n}5") + "\n"
        for n in range(1, 5)
    )  # fmt: skip
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == [2.25, 2.0, 1.75, 1.5]
    assert found["val/loss"].values.tolist() == [1.15, 1.25, 1.35, 1.45]
    assert found["val/loss"].epochs.tolist() == [1, 2, 3, 4]  # type: ignore[union-attr]


def test_a_log_that_is_cut_at_its_head_begins_with_the_epoch_before(tmp_path: Path) -> None:
    last = _epoch(20, 1.0)
    found = _series(tmp_path, last[len(last) // 2 :].partition("\n")[2] + "Epoch 8/9\n" + _epoch(20, 0.5) + "Epoch 9/9\n")
    assert found["train/loss.epoch"].epochs.tolist() == found["val/loss"].epochs.tolist() == [7, 8]  # type: ignore[union-attr]
    assert found["train/loss"].steps[-1] == 159
    assert np.all(np.diff(found["train/loss"].steps) > 0)


def test_a_bar_beyond_its_end_is_of_the_validation_set(tmp_path: Path) -> None:
    log = "".join(
        f"Epoch {n}/15\n{_bar(9, 10, 0.5 / n)} Epoch 1/15\n74/10 [{'=' * 24}] - 9s 121ms/step - loss: {n}.8525\n"
        + _bar(10, 10, 0.25 / n, f" - val_loss: {n}.25") + "\n"
        for n in (1, 2)
    )  # fmt: skip
    found = _series(tmp_path, log)
    assert found["train/loss"].values.tolist() == [0.25, 0.125]
    assert found["val/loss"].epochs.tolist() == [1, 2]  # type: ignore[union-attr]


# -- events


def test_a_traceback_in_a_journal_that_is_cut_before_its_message(tmp_path: Path) -> None:
    lines = ["step 1 loss 2.5", "step 2 loss 2.25", "Traceback (most recent call last):", '  File "train.py", line 7, in fit', "    step(batch)"]
    run = _read(tmp_path, "".join(f"Jan  2 10:00:0{n} ip-10-0-0-9 python[77]: {line}\n" for n, line in enumerate(lines)))
    assert [(s.name, s.values.tolist()) for s in run.series] == [("train/loss", [2.5, 2.25])]
    assert [(e.kind, e.data["frame"], e.line) for e in run.events] == [(EventKind.EXCEPTION, "train.py:7", 3)]


def test_waiting_for_a_barrier_counts_until_it_is_passed(tmp_path: Path) -> None:
    wait = "distributed_c10d.py:44] Waiting in store based barrier to initialize process group for rank: 1, key: b:2 (world_size=4, worker_count={}, timeout=0:30:00)\n"
    assert [e.kind for e in _read(tmp_path, wait.format(3)).events] == [EventKind.HANG]
    assert not _read(tmp_path, wait.format(4)).events
    assert not _read(tmp_path, wait.format(3) + "Rank 1: Completed store-based barrier for key:b:2 with 4 nodes.\n").events
    assert not _read(tmp_path, wait.format(3) + "step 1 loss 2.5\n").events
