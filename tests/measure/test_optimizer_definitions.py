"""What a saved optimizer tells, against the optimizer that was saved: torch's own, of random groups, some parameters without a gradient."""

import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import nn

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.tensors import OptimizerFacts
from postmortem.sources import read_run

KINDS = {
    "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop, "adagrad": torch.optim.Adagrad,
    "nadam": torch.optim.NAdam, "adadelta": torch.optim.Adadelta,
}  # fmt: skip
COUNTS_FROM_THE_START = ("adagrad",)  # its state is there before the first step
GROUP = st.fixed_dictionaries({"lr": st.sampled_from([0.0, 1e-23, 0.1, 3e19, math.nan]), "weight_decay": st.sampled_from([0.0, 0.1, 0.5])})


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), nn.Linear(4, 2))


def holds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@given(
    st.sampled_from([*KINDS]), st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=8, max_size=8), st.lists(st.booleans(), min_size=8, max_size=8),
    st.lists(GROUP, min_size=2, max_size=2), st.integers(0, 3), st.sampled_from([0, 2, 50]), st.booleans(), st.sampled_from([0.0, 0.9]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_fact(tmp_path: Path, kind: str, place: list[int], reached: list[bool], asked: list[dict[str, float]], steps: int, counted: int,
                    named: bool, momentum: float) -> None:  # fmt: skip
    """`place`: the group that each parameter is in, 2 for none. `reached`: whether it gets gradients."""
    model = network()
    own = list(model.named_parameters())
    if not named:  # in an order in which scripts hand them over
        groups_of = iter(sorted(g for g in place if g < 2))
        place = [2 if g == 2 else next(groups_of) for g in place]
    inside = [[pair for pair, g in zip(own, place, strict=True) if g == wanted] for wanted in (0, 1)]
    assume(any(inside))
    groups = [{"params": pairs if named else [p for _, p in pairs], **more} for pairs, more in zip(inside, asked, strict=True) if pairs]
    optimizer = KINDS[kind](groups, **({"momentum": momentum} if kind == "sgd" else {}))
    with_gradient = {n for (n, p), g, here in zip(own, place, reached, strict=True) if g < 2 and here}
    for n, p in own:
        p.grad = torch.zeros_like(p) if n in with_gradient else None
    for _ in range(steps):
        optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "global_step": counted}, tmp_path / "c.pt")
    found = measure_checkpoints(read_run([tmp_path / "c.pt"]))[0][0].optimizer
    assert found is not None
    order = [n for part in inside for n, _ in part]
    keeps = kind != "sgd" or (momentum > 0 or bool(found.has_state))
    stateful = [n for n in order if kind in COUNTS_FROM_THE_START or (n in with_gradient and steps)] if kind != "sgd" or momentum else []
    counts = kind != "sgd" and bool(stateful)
    made = (max([0, *(steps for n in stateful if n in with_gradient)]) if counts else None)  # fmt: skip
    first = {k: v for k, v in optimizer.param_groups[0].items() if k not in ("params", "param_names")}
    plain = {k: holds(v) for k, v in first.items()} | {f"beta{i}": float(b) for i, b in enumerate(first.get("betas", ()), 1)}
    wanted: dict[str, object] = {
        "step": made, "lag": None if made is None or counted < made else counted - made, "has_state": bool(stateful),
        "learning_rates": tuple(g["lr"] for g in optimizer.param_groups),
        "settings": {k: v for k, v in plain.items() if v is not None} | {"weight_decay": max(g["weight_decay"] for g in optimizer.param_groups)},
    }  # fmt: skip
    for field, value in wanted.items():
        told = dict(found.settings) if field == "settings" else getattr(found, field)
        assert told == pytest.approx(value, nan_ok=True) if value is not None else told is None, field
    assert found.keeps_state == keeps or not stateful
    assert kind in found.kind or found.kind in kind
    assert (found.unmeasured is not None) == (kind == "adadelta")
    absent = tuple(n for n, _ in own if n not in order)
    if found.names_known in ("saved", "matched"):
        assert set(found.stateless) == (set(order) - set(stateful) if found.keeps_state else set())
        assert found.absent == absent
    else:
        assert not named
        assert len(found.stateless) == (len(order) - len(stateful) if found.keeps_state else 0)
    assert {f.name for f in fields(OptimizerFacts)} == {*wanted, "kind", "names_known", "stateless", "absent", "keeps_state", "unmeasured"}
