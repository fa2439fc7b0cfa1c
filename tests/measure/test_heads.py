"""How many rows of a projection are one attention head, and heads that equal one another."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from postmortem.measure import trajectory
from postmortem.measure.checkpoints import Outline, measure_checkpoints
from postmortem.measure.heads import Heads
from postmortem.measure.rows import row_facts
from postmortem.model.run import Checkpoint, Setting, Status, TensorRef
from tests.measure.raw import checkpoint, run_of, strides_of

RNG = np.random.default_rng(3)


def heads(shapes: Mapping[str, tuple[int, ...]], **settings: object) -> Heads:
    refs = tuple(TensorRef(n, "f", 0, "float32", s, strides_of(s), 4 * int(np.prod(s))) for n, s in shapes.items())
    said = tuple(Setting("", key.replace("__", "."), value, "config.json") for key, value in settings.items())
    return Outline.of(Checkpoint("c", "raw", Status.READ, tensors=refs), said).heads


def llama(queries: int, keys: int, hidden: int, **more: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    at = "model.layers.0.self_attn."
    shapes = {
        "q_proj.weight": (queries, hidden),
        "k_proj.weight": (keys, hidden),
        "v_proj.weight": (keys, hidden),
        "o_proj.weight": (hidden, queries),
    }
    return {at + n: s for n, s in (shapes | {k.replace("__", "."): v for k, v in more.items()}).items()}


BERT = {f"encoder.layer.0.attention.self.{n}.weight": (768, 768) for n in ("query", "key", "value")}
GPT2 = {"h.0.attn.c_attn.weight": (768, 2304), "h.0.attn.c_attn.bias": (2304,)}
TORCH = {"layers.0.self_attn.in_proj_weight": (192, 64), "layers.0.self_attn.out_proj.weight": (64, 64)}
T5 = {
    "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 6),
    **{f"encoder.block.{b}.layer.0.SelfAttention.{n}.weight": (384, 512) for b in (0, 1) for n in "qkv"},
}


def told(found: Heads) -> tuple[int | None, int | None, int | None]:
    return found.count, found.keys, found.size


@pytest.mark.parametrize("shapes", [BERT, GPT2, TORCH, llama(512, 128, 512), llama(512, 512, 512, q_norm__weight=(512,), k_norm__weight=(512,))])
def test_a_projection_alone_does_not_tell(shapes: dict[str, tuple[int, ...]]) -> None:
    assert heads(shapes) == Heads()


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (llama(2048, 512, 1024, q_norm__weight=(128,), k_norm__weight=(128,)), (16, 4, 128)),  # Qwen 3: more rows of queries than it is wide
        (T5, (6, 6, 64)),  # its heads are not as wide together as the model
        ({"attn.qkv.weight": (288, 96), "attn.relative_position_bias_table": (169, 3)}, (3, 3, 32)),  # timm's Swin
        ({"attn.qkv.weight": (288, 96), "attn.logit_scale": (3, 1, 1)}, (3, 3, 32)),
        ({f"attention.attention.{n}.weight": (768, 768) for n in ("query", "key")} | {"attention.attention.relative_position_bias.relative_position_bias_table": (732, 12)}, (12, 12, 64)),
        (llama(4096, 512, 2880, sinks=(64,)), (64, 8, 64)),
        ({f"self_attn.linear_{n}.weight": (256, 256) for n in "qk"} | {"self_attn.pos_bias_u": (4, 64)}, (4, 4, 64)),
        ({"layers/mha/query_dense/vars/0": (64, 4, 16), "layers/mha/key_dense/vars/0": (64, 4, 16)}, (4, 4, 16)),
        ({"params.encoder.attention.query.kernel": (64, 8, 8), "params.encoder.attention.key.kernel": (64, 2, 8)}, (8, 2, 8)),
    ],
)  # fmt: skip
def test_shapes_that_tell(shapes: dict[str, tuple[int, ...]], expected: tuple[int, int, int]) -> None:
    assert told(heads(shapes)) == expected


@pytest.mark.parametrize(
    ("shapes", "settings", "expected"),
    [
        (BERT, {"num_attention_heads": 12}, (12, 12, 64)), (GPT2, {"n_head": 12}, (12, 12, 64)), (TORCH, {"model__nhead": 4}, (4, 4, 16)),
        (llama(512, 128, 512), {"num_attention_heads": 8, "num_key_value_heads": 2}, (8, 2, 64)),
        (llama(2048, 512, 1024), {"num_attention_heads": 16, "head_dim": 128}, (16, 4, 128)),
        (BERT, {"num_attention_heads": 12, "decoder__num_heads": 12}, (12, 12, 64)),
        (BERT, {"num_attention_heads": 12, "vision__num_heads": 16}, (None, None, None)),  # which of them?
        (BERT, {"num_attention_heads": 7}, (None, None, None)), (BERT, {"num_attention_heads": "12"}, (None, None, None)),
        (BERT, {"num_attention_heads": True}, (None, None, None)), (BERT, {"num_attention_heads": 0}, (None, None, None)),
        (BERT, {"num_attention_heads": 12, "head_dim": 32}, (None, None, None)),  # they contradict each other
        (T5, {"num_heads": 8}, (6, 6, 64)),  # the tensor counts
        ({"fc.weight": (12, 12)}, {"num_heads": 4}, (None, None, None)),
    ],
)  # fmt: skip
def test_a_configuration_that_tells(
    shapes: dict[str, tuple[int, ...]], settings: dict[str, object], expected: tuple[int | None, int | None, int | None]
) -> None:
    assert told(heads(shapes, **settings)) == expected


def slow_twins(values: np.ndarray, size: int) -> int:
    blocks = values.reshape(-1, size, values.shape[1])
    return sum(any(i != j and np.array_equal(a, b) for j, b in enumerate(blocks)) for i, a in enumerate(blocks))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("same", [(), ((0, 3),), ((1, 2), (1, 5)), ((0, 1), (4, 5))])
def test_heads_that_equal_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, same: tuple[tuple[int, int], ...]) -> None:
    if large:
        monkeypatch.setattr(trajectory, "DIRECT", 0)
    values = RNG.standard_normal((6 * 8, 64)).astype(np.float32)
    for one, other in same:
        values[other * 8 : other * 8 + 8] = values[one * 8 : one * 8 + 8]
    values[20:27] = values[12:19]  # as long as a head but for a row, and not where one begins
    name = "layer.0.attention.self.query.weight"
    saved = checkpoint(tmp_path, "1", {name: values, "layer.0.attention.self.key.weight": values}, step=1)
    run = replace(run_of(tmp_path, saved), settings=(Setting("", "num_attention_heads", 6, "config.json"),))
    (stats,), _, model = measure_checkpoints(run)
    assert (stats.tensors[0].heads, stats.tensors[0].twin_heads) == (6, slow_twins(values, 8))
    assert (model.heads, model.key_heads, model.head_size, model.heads_told_by) == (6, 6, 8, "num_attention_heads")


def test_where_the_size_is_not_known_no_head_is_a_twin() -> None:
    facts = row_facts(np.ones(64, np.float32), (8, 8), outputs_last=False)
    assert facts is not None
    assert facts.twin_heads == 0
