"""Roles, order and head from names and shapes, in the order of definition and after a format has sorted them by name."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.measure.ordering import forward_order, model_facts, sorted_by_name
from postmortem.measure.structure import layouts, plain
from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.model.tensors import ModelFacts, Role

Shapes = dict[str, tuple[int, ...]]


def saved(shapes: Shapes, dtype: str = "float32", **facts: str) -> Checkpoint:
    refs, at = [], 0
    for name, shape in shapes.items():
        kind = "int64" if name.endswith(("num_batches_tracked", "position_ids")) else dtype
        size = int(np.prod(shape)) * (8 if kind == "int64" else 4)
        refs.append(TensorRef(name, "m.bin", at, kind, shape, (), size))
        at += size
    return Checkpoint("m.bin", "raw", Status.READ, tensors=tuple(refs), facts=facts)


def of(module: nn.Module) -> Shapes:
    return {n: tuple(t.shape) for n, t in module.state_dict().items()}


def by_name(shapes: Shapes) -> Shapes:
    return dict(sorted(shapes.items()))


def facts(shapes: Shapes, **more: str) -> ModelFacts:
    one = saved(shapes, **more)
    return model_facts([one], [layouts(one)], [forward_order(one)])


def roles(shapes: Shapes, **more: str) -> dict[str, str]:
    return {n: p.role for n, p in layouts(saved(shapes, **more)).items()}


def block(prefix: str, width: int) -> Shapes:
    return {
        f"{prefix}.ln_1.weight": (width,), f"{prefix}.ln_1.bias": (width,), f"{prefix}.attn.c_attn.weight": (width, 3 * width), f"{prefix}.attn.c_attn.bias": (3 * width,),
        f"{prefix}.attn.c_proj.weight": (width, width), f"{prefix}.attn.c_proj.bias": (width,), f"{prefix}.ln_2.weight": (width,), f"{prefix}.ln_2.bias": (width,),
        f"{prefix}.mlp.c_fc.weight": (width, 4 * width), f"{prefix}.mlp.c_fc.bias": (4 * width,), f"{prefix}.mlp.c_proj.weight": (4 * width, width), f"{prefix}.mlp.c_proj.bias": (width,),
    }  # fmt: skip


GPT2: Shapes = {"transformer.wte.weight": (128, 48), "transformer.wpe.weight": (64, 48)}
for _i in range(12):
    GPT2 |= block(f"transformer.h.{_i}", 48)
GPT2 |= {"transformer.ln_f.weight": (48,), "transformer.ln_f.bias": (48,)}

LLAMA: Shapes = {"model.embed_tokens.weight": (256, 64)}
for _i in range(11):
    for _part in ("q", "k", "v", "o"):
        LLAMA[f"model.layers.{_i}.self_attn.{_part}_proj.weight"] = (64, 64)
    LLAMA |= {
        f"model.layers.{_i}.mlp.gate_proj.weight": (160, 64),
        f"model.layers.{_i}.mlp.up_proj.weight": (160, 64),
        f"model.layers.{_i}.mlp.down_proj.weight": (64, 160),
    }
    LLAMA |= {f"model.layers.{_i}.input_layernorm.weight": (64,), f"model.layers.{_i}.post_attention_layernorm.weight": (64,)}
LLAMA |= {"model.norm.weight": (64,), "lm_head.weight": (256, 64)}

BERT: Shapes = {
    "bert.embeddings.word_embeddings.weight": (100, 32), "bert.embeddings.position_embeddings.weight": (16, 32), "bert.embeddings.token_type_embeddings.weight": (2, 32),
    "bert.embeddings.LayerNorm.weight": (32,), "bert.embeddings.LayerNorm.bias": (32,),
}  # fmt: skip
for _i in range(2):
    for _name, _shape in (("attention.self.query", (32, 32)), ("attention.self.key", (32, 32)), ("attention.self.value", (32, 32)), ("attention.output.dense", (32, 32)),
                          ("intermediate.dense", (128, 32)), ("output.dense", (32, 128))):  # fmt: skip
        BERT |= {f"bert.encoder.layer.{_i}.{_name}.weight": _shape, f"bert.encoder.layer.{_i}.{_name}.bias": _shape[:1]}
BERT |= {"bert.pooler.dense.weight": (32, 32), "bert.pooler.dense.bias": (32,), "classifier.weight": (3, 32), "classifier.bias": (3,)}


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(50, 12)
        self.rnn = nn.LSTM(12, 20, num_layers=2, bidirectional=True)
        self.out = nn.Linear(40, 50)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8))
        self.layer2 = nn.Sequential(nn.Conv2d(8, 16, 3), nn.BatchNorm2d(16))
        self.downsample = nn.Conv2d(8, 16, 1)
        self.fc = nn.Linear(16, 10)


def dense(widths: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("sort", [False, True])
def test_a_dense_network(sort: bool) -> None:
    shapes = of(dense([7, *[9] * 12, 4]))
    found = facts(by_name(shapes) if sort else shapes)
    assert found.weight_layers == tuple(f"{2 * i}.weight" for i in range(13))
    assert (found.head, found.outputs, found.architecture) == ("24.weight", 4, "mlp")
    assert found.parameters == sum(int(np.prod(s)) for s in shapes.values())
    assert found.normalised is False


@pytest.mark.parametrize("sort", [False, True])
def test_gpt2_ends_in_its_embedding(sort: bool) -> None:
    one = saved(by_name(GPT2) if sort else GPT2)
    found = model_facts([one], [layouts(one)], [forward_order(one)])
    assert (found.head, found.outputs, found.tied, found.architecture) == ("transformer.wte.weight", 128, True, "transformer")
    assert forward_order(one) == tuple(GPT2)
    places = layouts(one)
    assert places["transformer.h.3.attn.c_attn.weight"].fan_in == 48  # Conv1D: (inputs, outputs)
    assert places["transformer.h.3.mlp.c_proj.weight"].fan_in == 192


@pytest.mark.parametrize("sort", [False, True])
def test_llama(sort: bool) -> None:
    one = saved(by_name(LLAMA) if sort else LLAMA)
    found = model_facts([one], [layouts(one)], [forward_order(one)])
    assert (found.head, found.outputs, found.tied) == ("lm_head.weight", 256, False)
    assert [n for n in forward_order(one) if len(LLAMA[n]) > 1] == [n for n in LLAMA if len(LLAMA[n]) > 1]
    assert found.normalised


@pytest.mark.parametrize("sort", [False, True])
def test_bert_classifier(sort: bool) -> None:
    found = facts(by_name(BERT) if sort else BERT)
    assert (found.head, found.outputs, found.tied) == ("classifier.weight", 3, False)
    assert list(found.weight_layers) == [n for n in BERT if len(BERT[n]) > 1 and "embeddings" not in n]


@pytest.mark.parametrize("sort", [False, True])
def test_recurrent(sort: bool) -> None:
    shapes = of(Recurrent())
    one = saved(by_name(shapes) if sort else shapes)
    found = model_facts([one], [layouts(one)], [forward_order(one)])
    assert forward_order(one) == tuple(shapes)
    assert found.recurrent
    assert (found.architecture, found.head, found.outputs) == ("recurrent", "out.weight", 50)
    places = layouts(one)
    assert places["emb.weight"].role == Role.EMBEDDING
    assert places["rnn.weight_ih_l0"].fan_in == 20  # both matrices are drawn from ±1/√hidden
    assert places["rnn.bias_hh_l1_reverse"].role == Role.BIAS


@pytest.mark.parametrize("sort", [False, True])
def test_residual_with_batch_norm(sort: bool) -> None:
    shapes = of(Residual())
    found = facts(by_name(shapes) if sort else shapes)
    assert found.batch_norm
    assert found.normalised
    assert found.residual
    assert (found.architecture, found.head, found.outputs) == ("convolutional", "fc.weight", 10)
    assert found.weight_layers[0] == "conv1.weight"
    given = roles(shapes)
    assert [given[f"bn1.{x}"] for x in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")] == [
        Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_MEAN, Role.RUNNING_VAR, Role.BUFFER,
    ]  # fmt: skip
    assert found.parameters == sum(p.numel() for p in Residual().parameters())


def test_autoencoder_sorted_by_name() -> None:
    shapes = {"decoder.0.bias": (48,), "decoder.0.weight": (48, 8), "decoder.2.bias": (64,), "decoder.2.weight": (64, 48),
              "encoder.0.bias": (48,), "encoder.0.weight": (48, 64), "encoder.2.bias": (8,), "encoder.2.weight": (8, 48)}  # fmt: skip
    assert facts(shapes).weight_layers == ("encoder.0.weight", "encoder.2.weight", "decoder.0.weight", "decoder.2.weight")
    assert facts(shapes).outputs == 64


def test_keras_names() -> None:
    shapes = {
        "batch_normalization/beta": (16,), "batch_normalization/gamma": (16,), "batch_normalization/moving_mean": (16,), "batch_normalization/moving_variance": (16,),
        "conv2d/bias": (16,), "conv2d/kernel": (3, 3, 1, 16), "dense/bias": (32,), "dense/kernel": (100, 32), "dense_1/bias": (10,), "dense_1/kernel": (32, 10),
    }  # fmt: skip
    found = facts(shapes, layout="keras")
    assert found.weight_layers == ("conv2d/kernel", "dense/kernel", "dense_1/kernel")
    assert (found.outputs, found.batch_norm, found.architecture) == (10, True, "convolutional")
    places = layouts(saved(shapes, layout="keras"))
    assert places["conv2d/kernel"].fan_in == 9
    assert places["dense/kernel"].fan_in == 100
    assert [places[f"batch_normalization/{x}"].role for x in ("gamma", "beta", "moving_mean", "moving_variance")] == [
        Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_MEAN, Role.RUNNING_VAR,
    ]  # fmt: skip


def test_keras_variables_by_number() -> None:
    shapes = {
        "layers/batch_normalization/vars/0": (16,), "layers/batch_normalization/vars/1": (16,), "layers/batch_normalization/vars/2": (16,),
        "layers/batch_normalization/vars/3": (16,), "layers/dense/vars/0": (8, 16), "layers/dense/vars/1": (16,), "layers/embedding/vars/0": (50, 8),
        "layers/gru/cell/vars/0": (8, 48), "layers/gru/cell/vars/1": (16, 48), "layers/gru/cell/vars/2": (2, 48), "layers/layer_normalization/vars/0": (16,),
        "layers/layer_normalization/vars/1": (16,),
    }  # fmt: skip
    assert list(roles(shapes, layout="keras").values()) == [
        Role.NORM_GAIN, Role.NORM_BIAS, Role.RUNNING_MEAN, Role.RUNNING_VAR, Role.WEIGHT, Role.BIAS, Role.EMBEDDING, Role.WEIGHT, Role.WEIGHT, Role.BIAS,
        Role.NORM_GAIN, Role.NORM_BIAS,
    ]  # fmt: skip


def test_adapters_positions_and_wrappers() -> None:
    given = roles({
        "base_model.model.q.lora_A.default.weight": (8, 64), "base_model.model.q.lora_B.default.weight": (64, 8), "pos": (1, 16, 40), "cls_token": (1, 1, 40),
        "module._orig_mod.patch_embed.proj.weight": (40, 1, 2, 2), "embeddings.position_ids": (1, 16), "relative_position_bias_table": (49, 4),
    })  # fmt: skip
    assert list(given.values())[:5] == [Role.ADAPTER, Role.ADAPTER, Role.EMBEDDING, Role.EMBEDDING, Role.WEIGHT]
    assert given["embeddings.position_ids"] == Role.BUFFER
    assert {plain(f"{w}net.0.weight") for w in ("module._orig_mod.", "_orig_mod.module.", "module.module.", "_fsdp_wrapped_module.")} == {
        "net.0.weight"
    }


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ({"blocks.0.sa.heads.0.tril": (16, 16)}, Role.BUFFER), ({"pos_encoder.pe": (5000, 1, 32)}, Role.BUFFER), ({"h.0.attn.bias": (1, 1, 8, 8)}, Role.BUFFER),
        ({"h.0.attn.masked_bias": ()}, Role.BUFFER), ({"sqrt_one_minus_alphas_cumprod": (1000,)}, Role.BUFFER), ({"betas": (1000,)}, Role.BUFFER),
        ({"posterior_mean_coef1": (1000,)}, Role.BUFFER), ({"fc.weight_scale_inv": (4, 4)}, Role.BUFFER), ({"fc.scales": (4, 8), "fc.qweight": (32, 8)}, Role.BUFFER),
        ({"fc.scales": (4, 8)}, Role.WEIGHT), ({"fc.weight_u": (4,), "fc.weight_orig": (4, 3)}, Role.BUFFER), ({"fc.weight_g": (4, 1), "fc.weight_v": (4, 3)}, Role.OTHER),
        ({"fc.weight_v": (4, 3), "fc.weight_g": (4, 1)}, Role.WEIGHT), ({"blocks.0.ls1.gamma": (32,)}, Role.OTHER), ({"bert.LayerNorm.gamma": (32,)}, Role.NORM_GAIN),
        ({"bn/gamma": (32,), "bn/beta": (32,)}, Role.NORM_GAIN), ({"act.weight": (1,)}, Role.OTHER), ({"prelu.weight": (32,)}, Role.OTHER),
        ({"norm.weight": (1,), "norm.bias": (1,)}, Role.NORM_GAIN), ({"conv.weight": (1, 1, 1, 1)}, Role.WEIGHT), ({"logit_scale": (1, 1, 1)}, Role.OTHER),
        ({"q_proj.ia3_l.default": (8, 1)}, Role.ADAPTER), ({"fc.hada_w1_a.default": (8, 4)}, Role.ADAPTER), ({"q.lora_magnitude_vector.default": (8,)}, Role.ADAPTER),
        ({"class_embed.weight": (92, 256), "class_embed.bias": (92,)}, Role.WEIGHT), ({"query_embed.weight": (100, 256)}, Role.EMBEDDING),
        ({"time_embed.0.weight": (128, 32), "time_embed.0.bias": (128,)}, Role.WEIGHT), ({"model.24.anchors": (3, 3, 2)}, Role.BUFFER),
        ({"soft_router.weight": (8, 4)}, Role.WEIGHT), ({"mask_decoder.weight": (8, 4)}, Role.WEIGHT), ({"attn.rel_bias": (1, 1, 8, 8)}, Role.EMBEDDING),
    ],
)  # fmt: skip
def test_what_is_saved_beside_weights(shapes: Shapes, expected: str) -> None:
    assert next(iter(roles(shapes).values())) == expected


def test_attention_is_told_by_queries_beside_keys() -> None:
    head = {f"blocks.0.sa.heads.0.{n}.weight": (8, 32) for n in ("key", "query", "value")}
    assert facts({**head, "lm_head.weight": (65, 32)}).architecture == "transformer"
    assert facts({"key.weight": (8, 8), "out.query.weight": (8, 8)}).architecture == "mlp"
    assert facts({"encoder.0.weight": (8, 4, 3), "fc.weight": (2, 8)}).architecture == "convolutional"


def test_shared_weights_count_once() -> None:
    one = saved({"emb.weight": (50, 12), "rnn.weight_ih_l0": (12, 12), "rnn.weight_hh_l0": (12, 12)})
    head = TensorRef("head.weight", "m.bin", 0, "float32", (50, 12), (12, 1), 2400)
    shared = Checkpoint("m.bin", "raw", Status.READ, tensors=(*one.tensors, head))
    found = model_facts([shared], [layouts(shared)], [forward_order(shared)])
    assert (found.parameters, found.tied, found.head) == (50 * 12 + 288, True, "head.weight")


def test_order_is_lost_per_element_type_as_well() -> None:
    one = saved({"a.bias": (3,), "a.weight": (3, 3)})
    two = saved({"0.bias": (3,), "0.weight": (3, 3)}, "float16")
    assert sorted_by_name((*two.tensors, *one.tensors))
    assert not sorted_by_name(saved({"b.weight": (3, 3), "b.bias": (3,)}).tensors)


@pytest.mark.parametrize(
    "name", ["", ".", "weight", "..weight", "/", "a//b", "0", "é.weight", "x" * 5000, "lora_", "1.2.3.4", "_l0", "weight_ih_l99999999999999999999"]
)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (0, 3), (3, 4), (1, 1, 1, 1, 1)])
def test_any_name_has_a_role(name: str, shape: tuple[int, ...]) -> None:
    for layout in ("", "keras"):
        found = facts({name: shape, "other.weight": (3, 3)}, layout=layout)
        assert found.parameters is not None


def test_modules_of_torch_as_they_are() -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32)
    given = roles(of(layer))
    assert given["self_attn.in_proj_weight"] == Role.WEIGHT
    assert given["self_attn.in_proj_bias"] == Role.BIAS
    assert given["norm1.weight"] == Role.NORM_GAIN
    assert given["norm1.bias"] == Role.NORM_BIAS
    assert torch.allclose(layer.norm1.weight, torch.ones(16))


@pytest.mark.parametrize(
    ("order", "head"),
    [
        (
            (
                "embed_in",
                "layers.0.attention.dense",
                "layers.0.mlp.dense_h_to_4h",
                "layers.1.attention.dense",
                "layers.1.mlp.dense_h_to_4h",
                "embed_out",
            ),
            "embed_out",
        ),
        (("conv_in", "down_blocks.0.conv1", "down_blocks.1.conv1", "mid_block.conv1", "up_blocks.0.conv1", "conv_out"), "conv_out"),
        (("conv_stem", "blocks.0.conv", "blocks.10.conv", "classifier"), "classifier"),
        (("stem.0", "stages.0.blocks.0.conv", "stages.1.blocks.0.conv", "head.fc"), "head.fc"),
        (
            ("patch_embed.proj", "blocks.0.attn.qkv", "blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "blocks.1.attn.qkv", "head"),
            "head",
        ),
        (("encoder.0", "encoder.2", "decoder.0", "decoder.2"), "decoder.2"),
        (("lstm", "fc"), "fc"),
        (("features.0", "features.3", "features.10", "classifier.0", "classifier.6"), "classifier.6"),
    ],
)
def test_common_names_after_sorting(order: tuple[str, ...], head: str) -> None:
    shapes: Shapes = {f"{n}.weight": (8, 8) for n in order}
    one = saved(by_name(shapes))
    assert forward_order(one) == tuple(shapes)
    assert facts(by_name(shapes)).head == f"{head}.weight"


def test_a_queue_tells_among_how_many_the_other_view_is_found() -> None:
    shapes = {f"encoder_{of}.fc.weight": (32, 48) for of in "qk"}
    assert facts({**shapes, "queue": (32, 256)}).outputs == 257
    assert facts({**shapes, "queue": (512, 32)}).outputs == 513
    assert facts({**shapes, "queue": (7, 9)}).outputs == 32
