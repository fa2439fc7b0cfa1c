"""A job that ended and goes on in the same directory: what its recorders wrote are pieces of one log."""

from pathlib import Path

import pytest
import torch
from torch import nn

import postmortem
from postmortem.model.diagnosis import Diagnosis


class Training:
    """A classifier that learns, as many steps as it is asked for."""

    def __init__(self, folder: Path) -> None:
        torch.manual_seed(0)
        self.folder, self.truth = folder, torch.randn(20, 5)
        self.model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 5))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=3e-3)

    def go(self, recorder: postmortem.Recorder, steps: int, begin: int = 0) -> None:
        recorder.watch(self.model, self.optimizer)
        if begin:
            recorder.at(begin)
        for _ in range(steps):
            x = torch.randn(32, 20)
            loss = nn.functional.cross_entropy(self.model(x), (x @ self.truth).argmax(1))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            recorder.step(loss)

    def die(self, steps: int, begin: int = 0) -> None:
        with postmortem.Recorder(self.folder) as recorder:
            self.go(recorder, steps, begin)
            recorder.exception(RuntimeError("boom"))
            recorder.close("failed")

    def told(self) -> Diagnosis:
        return postmortem.analyze(self.folder, with_exhibits=False)


@pytest.mark.parametrize("resumed_at", [100, 96, 80])
def test_a_run_that_died_and_was_resumed_did_not_die(tmp_path: Path, resumed_at: int) -> None:
    training = Training(tmp_path)
    training.die(100)
    assert training.told().verdict.mode == "crash"
    with postmortem.Recorder(tmp_path) as recorder:
        training.go(recorder, 200, resumed_at)
    found = training.told()
    assert found.run.outcome == "finished"
    assert found.finding("crash").status == "absent"
    attempts = [(0.0, 99.0), (float(resumed_at), resumed_at + 199.0)] if resumed_at < 100 else [(0.0, 299.0)]
    assert [(a.first_step, a.last_step) for a in found.run.attempts] == attempts


def test_a_run_that_died_again_died(tmp_path: Path) -> None:
    training = Training(tmp_path)
    with postmortem.Recorder(tmp_path) as recorder:
        training.go(recorder, 100)
    training.die(50, 100)
    assert training.told().run.outcome == "crashed"
    assert training.told().verdict.mode == "crash"


def test_a_run_that_finished_once_and_was_killed_as_it_went_on_is_not_finished(tmp_path: Path) -> None:
    training = Training(tmp_path)
    with postmortem.Recorder(tmp_path) as recorder:
        training.go(recorder, 100)
    killed = postmortem.Recorder(tmp_path)
    training.go(killed, 50, 100)
    assert training.told().run.outcome == "running"
    killed.close()


def test_of_two_recorders_at_once_neither_outlives_the_others_end(tmp_path: Path) -> None:
    training = Training(tmp_path)
    with postmortem.Recorder(tmp_path) as first, postmortem.Recorder(tmp_path) as second:
        second.step(accuracy=0.5)
        training.go(first, 30)
        first.exception(RuntimeError("boom"))
        first.close("failed")
    assert training.told().run.outcome == "crashed"
