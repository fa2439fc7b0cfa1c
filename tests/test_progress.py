"""What counts as progress where no loss was logged: parts without a total, scores that only scatter."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

import postmortem


def judged(folder: Path, text: str) -> str:
    (folder / "train.log").write_text(text)
    return postmortem.analyze(folder, with_exhibits=False).verdict.mode


def parts(falls: Callable[[int], float]) -> str:
    draw = random.Random(1)
    rows = (f"num of updates: {n}000\nret loss: {3 * 0.96**n + draw.random() / 50:.5f}\naction loss: {falls(n):.5f}\n" for n in range(1, 51))
    return "=====\n".join(rows) + "finished training!\n"


@pytest.mark.parametrize(("falls", "mode"), [(lambda n: 0.3 * 0.95**n, "healthy"), (lambda n: 3.3 - 3 * 0.96**n, "loss-not-decreasing")])
def test_losses_without_a_total_are_judged_by_their_sum(tmp_path: Path, falls: Callable[[int], float], mode: str) -> None:
    assert judged(tmp_path, parts(falls)) == mode


@pytest.mark.parametrize(("rises", "mode"), [(0.0, "inconclusive"), (0.02, "healthy")])
def test_a_rate_of_success_that_only_scatters_is_no_progress(tmp_path: Path, rises: float, mode: str) -> None:
    draw = random.Random(3)
    rates = [0.06 + rises * n + draw.choice((-0.02, -0.01, 0.0, 0.0, 0.01, 0.025)) for n in range(43)]
    text = "".join(
        f"{'-' * 36}\n| epoch             | {n:<12} |\n| test/success_rate | {rate:<12.6f} |\n{'-' * 36}\n" for n, rate in enumerate(rates)
    )
    assert judged(tmp_path, text) == mode
