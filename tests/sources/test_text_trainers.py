"""Logs of many public trainers, a few records of each: which series comes of them, at which steps, with which values.

`data/trainers/logs.txt` holds a block for each: `### name`, a line `= series | steps | values` for what must come out, and the log, in
which `\\t`, `\\r` and `\\e` stand for themselves. The lines are as those programs print them; the numbers are invented.
"""

from pathlib import Path

import numpy as np
import pytest

from postmortem.model.run import Run
from postmortem.sources import read_run
from postmortem.sources.logs.text import grammar
from postmortem.sources.logs.text.ranks import labelled
from postmortem.sources.logs.text.tokens import mask, shape_of

LOGS = {
    name: body
    for name, _, body in (
        block.partition("\n") for block in ("\n" + (Path(__file__).parent / "data/trainers/logs.txt").read_text("utf-8")).split("\n### ")[1:]
    )
}


def read(folder: Path, text: str) -> Run:
    (folder / "train.log").write_text(text, "utf-8")
    return read_run([folder / "train.log"])


@pytest.mark.parametrize("trainer", LOGS)
def test_what_a_trainer_prints(tmp_path: Path, trainer: str) -> None:
    lines = LOGS[trainer].split("\n")
    expected = [line[2:].split(" | ") for line in lines if line.startswith("= ")]
    log = "\n".join(line for line in lines if not line.startswith("= "))
    run = read(tmp_path, log.replace("\\t", "\t").replace("\\r", "\r").replace("\\e", "\x1b"))
    found = {s.name: s for s in run.series}
    for name, steps, values in expected:
        assert name in found, sorted(found)
        np.testing.assert_allclose(found[name].steps, [float(v) for v in steps.split()], rtol=1e-9, err_msg=f"{name}: steps")
        np.testing.assert_allclose(found[name].values, [float(v) for v in values.split()], rtol=1e-9, err_msg=f"{name}: values")
    named = {name for name in found if name.startswith(("train/", "val/", "test/")) or name in ("lr", "grad_norm", "reward")}
    assert named == {name for name, *_ in expected if name in named}


def test_the_short_way_to_a_plain_key_leads_to_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {shape_of(mask(line.encode())[0]) for log in LOGS.values() for line in log.replace("\\t", "\t").split("\n")}
    plans = {shape: grammar.plan_of(shape) for shape in shapes}
    short = sum(bool(grammar.plain_key(lead)[0]) for shape in shapes for lead in shape.split("\0"))
    assert short > 100  # enough to compare
    monkeypatch.setattr(grammar, "plain_key", lambda _: ("", False))
    assert {shape: grammar.plan_of(shape) for shape in shapes} == plans


FLOWER = (
    "INFO :      \tHistory (loss, centralized):\nINFO :      \t\tround 0: 2.5\nINFO :      \t\tround 1: 2.25\nINFO :      \t\tround 2: 2.0\n"
    "INFO :      \tHistory (metrics, distributed, fit):\nINFO :      \t{'accuracy': [(1, 0.1), (2, 0.2)]}\n"
    "INFO :      \tHistory (metrics, distributed):\nINFO :      \t{'accuracy': [(1, 0.75), (2, 0.875)]}\n"
    "INFO :      \tHistory (metrics, centralized):\nINFO :      \t{'accuracy': [(0, 0.125),\nINFO :      \t              (1, 0.25),\n"
    "INFO :      \t              (2, 0.375)]}\n"
)


def test_the_metrics_of_a_federated_history(tmp_path: Path) -> None:
    run = read(tmp_path, FLOWER)
    told = {s.name: (s.epochs.tolist() if s.epochs is not None else None, s.values.tolist()) for s in run.series}
    assert told["val/accuracy"] == ([0.0, 1.0, 2.0], [0.125, 0.25, 0.375])  # what the server measured, not what the clients said
    assert told["train/accuracy"] == ([1.0, 2.0], [0.1, 0.2])


def test_a_history_adds_nothing_to_what_the_rounds_told(tmp_path: Path) -> None:
    rounds = "".join(f"round {r}: val accuracy {r / 16}\n" for r in (1, 2, 3))
    run = read(tmp_path, rounds + FLOWER)
    assert [s.values.tolist() for s in run.series if s.name == "val/accuracy"] == [[0.0625, 0.125, 0.1875]]


@pytest.mark.parametrize(
    ("text", "is_labelled"),
    [
        ("0: loading\n1: loading\n0: step 1 loss 2.5\n1: step 1 loss 2.6\n", True),
        (" 0: step 1 loss 2.5\n 0: step 2 loss 2.4\n 0: step 3 loss 2.3\n", True),
        ("0: loss 2.5\n1: loss 2.4\n2: loss 2.3\n", False),  # goes on: a step
        ("0: loss 2.5\n1: loss 2.4\n0: loss 2.3\n1: loss 2.2\n", False),  # begins again, and nothing else counts
        ("step 1 loss 2.5\nstep 2 loss 2.4\n0: done\n", False),
        ("0: hello\n0: there\n", False),  # too few to tell
    ],
)
def test_what_is_the_label_of_a_task(text: str, *, is_labelled: bool) -> None:
    assert labelled(text.encode()) is is_labelled


def test_ranks_that_disagree_are_averaged_and_a_rank_that_crashed_is_named(tmp_path: Path) -> None:
    log = "".join(f"{rank}: epoch {e} loss {4 - e + rank / 4}\n" for e in (1, 2) for rank in (0, 1))
    run = read(tmp_path, log + '1: Traceback (most recent call last):\n1:   File "a.py", line 3, in <module>\n1: ValueError: broken\n')
    (loss,) = (s for s in run.series if s.name == "train/loss")
    assert loss.values.tolist() == [3.125, 2.125]
    assert [(e.rank, e.data["exception"]) for e in run.events] == [(1, "ValueError")]


def test_an_evaluation_in_the_middle_of_an_epoch_is_not_at_its_end(tmp_path: Path) -> None:
    log = "".join(
        f"Epoch: {e} [{k * 25}/100] loss: {4 - e - k / 8}\n" + (f"val loss: {5 - e - k / 8}\n" if k in (2, 4) else "")
        for e in (1, 2, 3)
        for k in (1, 2, 3, 4)
    )
    run = read(tmp_path, log)
    (val,) = (s for s in run.series if s.name == "val/loss")
    assert val.epochs is not None
    assert val.epochs.tolist() == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]


@pytest.mark.parametrize(("first", "last", "quantity"), [(0.25, 0.75, "accuracy"), (0.75, 0.25, "loss"), (1.5, 2.5, "loss")])
def test_shares_that_rise_in_training_are_accuracies(tmp_path: Path, first: float, last: float, quantity: str) -> None:
    log = f"Epoch: 1, Train: {first}, Val: {first}\nEpoch: 2, Train: {last}, Val: {first}\n"
    assert {s.name for s in read(tmp_path, log).series} == {f"train/{quantity}", f"val/{quantity}"}


def test_what_is_said_of_the_best_epoch_is_no_record(tmp_path: Path) -> None:
    log = "".join(f"Epoch {e}\nTest accuracy: 0.{e}\nBest accuracy: 0.9, loss: 0.1\n" for e in (1, 2, 3))
    run = read(tmp_path, log)
    assert {s.name: s.values.tolist() for s in run.series} == {"val/accuracy": [0.1, 0.2, 0.3]}


def test_the_summary_of_transformers_is_no_record_however_long_it_is(tmp_path: Path) -> None:
    log = "".join(f"{{'loss': {4 - e}.5, 'epoch': {e}.0}}\n{{'eval_loss': {4 - e}.25, 'epoch': {e}.0}}\n" for e in (1, 2, 3))
    summary = "***** eval metrics *****\n" + "".join(f"  eval_T{n:03d}_f1            =     0.5333\n" for n in range(60)) + "  eval_loss   = 9.5\n"
    run = read(tmp_path, log + summary)
    assert {s.name: s.values.tolist() for s in run.series} == {"train/loss": [3.5, 2.5, 1.5], "val/loss": [3.25, 2.25, 1.25]}
