"""Whatever a checkpoint holds, measuring it gives figures and raises nothing."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure import checkpoints, gradients, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.run import Checkpoint, OptimizerState, ParamGroup, ParamState, Run, Status, TensorRef
from tests.measure.raw import strides_of

DTYPES = ("float16", "bfloat16", "float32", "float64", "int8", "uint8", "int64", "bool", "complex64", "float8_e4m3fn", "no such type", "")
NAMES = (
    "a.weight",
    "a.bias",
    "head.weight",
    "rnn.weight_ih_l0",
    "rnn.weight_hh_l0",
    "bn.running_var",
    "emb.weight",
    "x",
    "layers/dense/vars/0",
    "a.0.weight",
    "",
)
SLOTS = ("exp_avg", "exp_avg_sq", "momentum_buffer", "square_avg", "sum", "step", "exp_inf", "")
KINDS = ("adam", "adamw", "sgd", "rmsprop", "adagrad", "keras-adam", "lion", "adam-8bit", "", "sgd\x00")
SETTINGS = ("lr", "eps", "betas.0", "betas.1", "alpha", "momentum", "initial_accumulator_value", "weight_decay", "learning_rate")
DATA = np.random.default_rng(0).integers(0, 256, 4096, dtype=np.uint8).tobytes()

numbers = st.one_of(st.floats(), st.integers(-5, 5), st.none(), st.booleans(), st.text(max_size=3))
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def references(draw: st.DrawFn, name: str) -> TensorRef:
    shape = draw(shapes)
    strides = draw(st.one_of(st.just(strides_of(shape)), st.lists(st.integers(-1, 7), min_size=0, max_size=4).map(tuple)))
    return TensorRef(
        name, draw(st.sampled_from(("data", "data", "none"))), draw(st.integers(0, 4200)), draw(st.sampled_from(DTYPES)), shape, strides, 4,
        inline=draw(st.one_of(st.none(), st.binary(max_size=64))), requires_grad=draw(st.one_of(st.none(), st.booleans())),
    )  # fmt: skip


@st.composite
def saved(draw: st.DrawFn, number: int) -> Checkpoint:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=5, unique=True))
    keys = draw(st.lists(st.one_of(st.integers(0, 4), st.sampled_from(NAMES)), max_size=5))
    groups = tuple(
        ParamGroup(
            tuple(keys[i::2]), draw(st.dictionaries(st.sampled_from(SETTINGS), numbers, max_size=5)), draw(st.sampled_from(((), ("a.weight", "zz"))))
        )
        for i in range(draw(st.integers(0, 2)))
    )
    states = tuple(
        ParamState(
            k,
            draw(st.one_of(st.none(), st.floats())),
            {s: draw(references(s)) for s in draw(st.lists(st.sampled_from(SLOTS), max_size=3, unique=True))},
        )
        for k in keys
    )
    return Checkpoint(
        f"c{number}", "raw", draw(st.sampled_from(list(Status))), step=draw(st.one_of(st.none(), st.floats(), st.integers(0, 3))), epoch=draw(st.one_of(st.none(), st.floats())),
        tensors=tuple(draw(references(n)) for n in names), optimizer=draw(st.one_of(st.none(), st.just(OptimizerState(draw(st.sampled_from(KINDS)), groups, states)))),
        facts={"layout": draw(st.sampled_from(("keras", "torch"))), "optimizer_step": draw(numbers)}, truncated=draw(st.booleans()),
    )  # fmt: skip


runs = st.integers(0, 3).flatmap(lambda n: st.tuples(*(saved(i) for i in range(n))))


@pytest.mark.parametrize("large", [False, True])
@given(found=runs)
@settings(max_examples=40, deadline=None)
def test_nothing_is_raised(large: bool, found: tuple[Checkpoint, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / "data").write_bytes(DATA)
        if large:
            for module, name, value in (
                (trajectory, "DIRECT", 0),
                (gradients, "DIRECT", 0),
                (checkpoints, "LEAST_BLOCK", 7),
                (checkpoints, "BUFFERS", 0),
                (checkpoints, "COMPILED_FROM", 0),
            ):
                patch.setattr(module, name, value)
        stats, summary, _ = measure_checkpoints(Run("r", Path(folder), checkpoints=found))
    assert len(stats) == sum(bool(c.tensors) or c.optimizer is not None for c in found)
    assert summary.checkpoints <= len(stats)
    for one, checkpoint in zip(stats, (c for c in found if c.tensors or c.optimizer is not None), strict=True):
        assert len(one.tensors) + len(one.unread) == len(checkpoint.tensors)
