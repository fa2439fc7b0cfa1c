"""Every threshold that a failure mode judges by matters: ten times more or ten times less changes what is said of some fixture."""

import ast
import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module

import pytest

from postmortem.checklist import ORDER, checklist
from postmortem.diagnose import examine
from postmortem.model.evidence import Evidence
from tests.analysed import CASES, measured

# parts of modes that have a file of their own
PARTS = {
    "attainable": ("underfitting",),
    "evaluations": ("validation_fault",),
    "beside": ("validation_fault",),
    "erratic": ("validation_fault",),
    "scores": ("validation_fault",),
    "fresh": ("validation_fault",),
    "hopeless": ("underfitting",),
    "untrue": ("underfitting",),
    "contrasts": ("loss_not_decreasing",),
    "standstill": ("loss_not_decreasing",),
    "moves": ("loss_not_decreasing",),
    "by_heart": ("overfitting", "validation_fault"),
    "growth": ("exploding_gradients",),
    "thrown": ("exploding_gradients",),
    "players": ("loss_not_decreasing", "exploding_gradients"),
    "rewards": ("loss_not_decreasing", "exploding_gradients"),
}

# Thresholds that no fixture of this repository is near enough to: each with the reason. A threshold that is not here must matter.
UNREACHED = {
    "resume_fault.ALL_OF_IT": "decides what is advised, not what is said",
    "dead_units.FAINT": "weights drawn at a sixth of the usual size, which most gradients do not get through",
    "growth.FEWEST_CLIMBING": "a loss that runs away within the last eight records of a log",
    "growth.CLIMBS": "a rise at the end that is no steady one",
    "beside.GUESSING": "a validation accuracy that ends a little above guessing, after it never was far from it",
    "vanishing_gradients.NOT_AT_ALL": "a first layer that moved between a millionth and a thousandth of what the last one did",
    "hopeless.UNSCALED": "an autoencoder whose inputs have a mean square between 10 and 1000",
    "growth.LARGE_LOG": "tells language models from classifiers; no fixture lies between",
    "moves.CREPT": "a slow fall with weights that hardly moved, at a usual rate, and no chance level",
    "loss_not_decreasing.RISE": "a reward that rose by less than a tenth of its start, and by more than twice its scatter",
    "players.WON": "whoever is certain has won: it decides for `healthy`, which is no mode",
    "evaluations.CERTAIN": "a training perplexity that is next to 1 from the first record on, beside an ordinary one of validation",
    "scores.ROSE_ABOVE": "validation that follows training by its loss, and ranks like a coin",
    "loss_not_decreasing.IN_UNITS": "a squared error in the ten thousands that falls by nearly nothing, and not evenly",
    "loss_not_decreasing.MANY_LEVELS": "a training loss that fell a little beside a validation that went nowhere, at no known chance",
    "growth.NO_END": "a loss below zero of an unknown family that grows a thousandfold, not a millionfold",
    "thrown.ABOVE_ANYTHING": "the same, at another height",
    "thrown.ORDINARY": "moments swollen by one batch beside a logged gradient norm that is ordinary again",
    "thrown.KICKED": "the same without a gradient norm",
    "resume_fault.HALF": "a rate that came down by a third and went up to above where it was, by no schedule",
    "thrown.SAME_SIZE": "weights that were thrown before the first checkpoint, at a usual rate, and changed size a little since",
    "thrown.BEGAN": "a first loss between 2 and 200 times chance with thrown weights",
}


def thresholds() -> list[tuple[str, str]]:
    out = []
    for name, place in {**{mode: f"modes.{mode}" for mode in ORDER}, **{part: part for part in PARTS}}.items():
        module = import_module(f"postmortem.checklist.{place}")
        own = {target.id for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.Assign) for target in _names(node)}
        out += [(name, c) for c, value in vars(module).items() if c in own and c.isupper() and isinstance(value, int | float) and value]
    return out


def _names(node: ast.Assign) -> list[ast.Name]:
    return [name for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]


def said(mode: str, one: Evidence) -> tuple[str, str, str, float]:
    """What the mode itself says; its causes and their fixes are not asked."""
    f = examine(replace(checklist()[ORDER.index(mode)], causes=()), one)
    return f.status.value, str(f.severity), str(f.summary), round(f.confidence or 0.0, 3)


@cache
def before(mode: str) -> tuple[tuple[Evidence, tuple[str, str, str, float]], ...]:
    """What is said of every fixture while no threshold is moved; those of the mode itself first, for it is they that it matters to."""
    cases = sorted(CASES, key=lambda case: case.parent.name.replace("-", "_") != mode)
    return tuple((measured(case), said(mode, measured(case))) for case in cases)


@pytest.mark.parametrize(("mode", "name"), thresholds())
def test_a_threshold_matters(mode: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module(f"postmortem.checklist.{mode if mode in PARTS else f'modes.{mode}'}")
    value = getattr(module, name)
    unmoved = [(one, now, asked) for asked in PARTS.get(mode, (mode,)) for one, now in before(asked)]

    def matters(factor: float) -> bool:
        monkeypatch.setattr(module, name, type(value)(value * factor) if isinstance(value, int) else value * factor)
        return any(said(asked, one) != now for one, now, asked in unmoved)

    changed = matters(0.1) or matters(10.0)  # the first fixture of which something else is said decides
    if f"{mode}.{name}" in UNREACHED:
        assert not changed, "it matters now: take it off the list"
    else:
        assert changed, f"{mode}.{name} = {value} decides nothing in any fixture"


def test_the_list_of_the_unreached_names_what_exists() -> None:
    known: set[str] = {f"{mode}.{name}" for mode, name in thresholds()}
    assert set(UNREACHED) <= known
    assert isinstance(thresholds, Callable)
