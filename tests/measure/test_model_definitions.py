"""What names and shapes say of a model, against the model itself: random networks of torch's own layers, wrapped, tied and frozen at random."""

from collections.abc import Callable
from dataclasses import fields

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from postmortem.measure.ordering import forward_order, model_facts, sorted_by_name
from postmortem.measure.structure import layouts, plain
from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.model.tensors import ModelFacts, Role

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.modules.batchnorm._NormBase)
MATRICES = (nn.Linear, nn.MultiheadAttention, *CONVOLUTIONS, *RECURRENT)


class Adapted(nn.Module):
    """A layer with LoRA, by the names that PEFT gives."""

    def __init__(self) -> None:
        super().__init__()
        self.base_layer = nn.Linear(8, 5)
        self.lora_A, self.lora_B = (nn.ModuleDict({"default": nn.Linear(*ends, bias=False)}) for ends in ((8, 2), (2, 5)))


LAYERS: tuple[Callable[[], nn.Module], ...] = (
    lambda: nn.Linear(8, 5), lambda: nn.Linear(5, 1, bias=False), lambda: nn.Conv2d(3, 4, 3), lambda: nn.Conv2d(1, 1, 1, bias=False), lambda: nn.Conv1d(4, 1, 3),
    lambda: nn.ConvTranspose2d(4, 3, 2), lambda: nn.Conv3d(1, 4, 1), lambda: nn.LayerNorm(5), lambda: nn.LayerNorm(1), lambda: nn.BatchNorm1d(1),
    lambda: nn.GroupNorm(1, 4), lambda: nn.RMSNorm(4), lambda: nn.BatchNorm2d(3, affine=False), lambda: nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
    lambda: nn.LSTM(3, 4, 2, bidirectional=True), lambda: nn.LSTM(3, 4, proj_size=2), lambda: nn.GRUCell(3, 4), lambda: nn.RNN(3, 4, bias=False),
    lambda: nn.MultiheadAttention(8, 2), lambda: nn.MultiheadAttention(8, 2, kdim=3, vdim=5, add_bias_kv=True), nn.PReLU, nn.ReLU, nn.Identity, Adapted,
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3)),
    lambda: nn.utils.spectral_norm(nn.Conv2d(3, 4, 1)),
)  # fmt: skip
NAMES = ("net", "body", "x", "fc1", "proj", "q7", "conv", "norm", "layer", "encoder", "down", "gate", "module", "a_b", "Z", "é", "lm_head", "score")
WRAPPERS = ("", "module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod.", "_fsdp_wrapped_module.")


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    def grown(depth: int) -> nn.Module:
        parts = [grown(depth - 1) if depth and draw(st.booleans()) else draw(st.sampled_from(LAYERS))() for _ in range(draw(st.integers(1, 4)))]
        if draw(st.booleans()):
            return nn.Sequential(*parts)
        names = draw(st.lists(st.sampled_from(NAMES), min_size=len(parts), max_size=len(parts), unique=True))
        return nn.ModuleDict(dict(zip(names, parts, strict=True)))

    whole = nn.Module()
    if draw(st.booleans()):
        whole.wte = nn.Embedding(7, 6)
    whole.body = grown(2)
    if hasattr(whole, "wte") and draw(st.booleans()):
        whole.decoder = nn.Linear(6, 7)
        if draw(st.booleans()):
            whole.decoder.weight = whole.wte.weight
    for p in whole.parameters():
        p.requires_grad_(draw(st.booleans()))
    return whole


def saved(model: nn.Module, wrapper: str) -> Checkpoint:
    """As torch saves a state dict: shared tensors share their bytes; nothing is known of what requires a gradient but by `requires_grad`."""
    flags = {n: p.requires_grad for n, p in model.named_parameters(remove_duplicate=False)}
    places: dict[int, int] = {}
    refs = []
    for name, t in model.state_dict(keep_vars=True).items():
        at = places.setdefault(t.data_ptr() if t.numel() else len(places), sum(r.nbytes for r in refs))
        kind = str(t.dtype).removeprefix("torch.")
        refs.append(TensorRef(wrapper + name, "m", at, kind, tuple(t.shape), t.stride(), t.numel() * t.element_size(), requires_grad=flags.get(name)))
    return Checkpoint("m", "raw", Status.READ, tensors=tuple(refs))


def matrices(model: nn.Module) -> list[str]:
    """Names of weights of layers that multiply, in the order of the state dict."""
    found = set()
    for path, module in model.named_modules():
        if isinstance(module, MATRICES) and "lora" not in path:
            for n, p in module.named_parameters(recurse=False):
                if p.dim() > 1 and "bias" not in n:
                    found.add(f"{path}.{n}")
        if path.endswith("parametrizations.weight"):
            found.add(f"{path}.original" if hasattr(module, "original") else f"{path}.original1")
    return [n for n in model.state_dict() if n in found]


def first_words(names: list[str]) -> dict[str, str]:
    """The part that each belongs to."""
    paths = [n.lower().split(".")[:-1] for n in names]
    common = len({p[0] for p in paths}) == 1 and all(len(p) > 1 for p in paths)
    return {n: ".".join(p[: 2 if common else 1]) for n, p in zip(names, paths, strict=True)}


def slow_facts(model: nn.Module, names: list[str], layers: list[str]) -> dict[str, object]:
    """What `ModelFacts` says it holds, from the modules. `names`: of parameters, without second ones. `layers` : weights in the order of the file."""
    own = dict(model.named_parameters(remove_duplicate=False))
    every = list(model.modules())
    attention, cells, kernels = (any(isinstance(m, kinds) for m in every) for kinds in (nn.MultiheadAttention, RECURRENT, CONVOLUTIONS))
    parts: dict[str, tuple[int, int | None]] = {}
    for n, part in first_words(names).items():
        count, trained = parts.get(part, (0, 0))
        parts[part] = (count + own[n].numel(), (trained or 0) + own[n].numel() * own[n].requires_grad)
    head = own[layers[-1]] if layers else None
    return {
        "parameters": sum(p.numel() for p in model.parameters()), "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad) if names else None,
        "weight_layers": tuple(layers), "head": layers[-1] if layers else None, "outputs": None if head is None else head.shape[0], "recurrent": cells,
        "normalised": any(isinstance(m, NORMS) for m in every), "residual": True if attention else None,
        "batch_norm": any(getattr(m, "running_var", None) is not None for m in every), "adapters": any(isinstance(m, Adapted) for m in every),
        "tied": head is not None and sum(p is head for p in own.values()) > 1, "modules": parts,
        "architecture": "transformer" if attention else "recurrent" if cells else "convolutional" if kernels else "mlp" if layers else "",
        "heads": None, "key_heads": None, "head_size": None, "heads_told_by": "",
    }  # fmt: skip


@given(networks(), st.sampled_from(WRAPPERS))
@settings(max_examples=50, deadline=None)
def test_random_networks(model: nn.Module, wrapper: str) -> None:
    one = saved(model, wrapper)
    assume(one.tensors)
    order, places = forward_order(one), layouts(one)
    found = model_facts([one], [places], [order])
    defined = [n.removeprefix(wrapper) for n in order]
    layers = sorted(matrices(model), key=lambda n: ("lm_head" in n, list(model.state_dict()).index(n)))
    if sorted_by_name(one.tensors):  # their order is lost, and was guessed
        assert {n.removeprefix(wrapper) for n in found.weight_layers} == set(layers)
        layers = [n for n in defined if n in layers]
    expected = slow_facts(model, [n for n, _ in model.named_parameters()], layers)
    assert expected.keys() == {f.name for f in fields(ModelFacts)}
    for field, wanted in expected.items():
        told = getattr(found, field)
        bare = tuple(plain(n) for n in told) if isinstance(told, tuple) else plain(told) if isinstance(told, str) else told
        assert bare == (tuple(plain(n) for n in wanted) if isinstance(wanted, tuple) else plain(wanted) if field == "head" and wanted else wanted), (
            field
        )
    learnt = {n for n, p in places.items() if p.role not in (Role.BUFFER, Role.RUNNING_MEAN, Role.RUNNING_VAR)}
    assert learnt == {wrapper + n for n, _ in model.named_parameters(remove_duplicate=False)}
