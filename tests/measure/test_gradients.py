"""Gradients read off optimizer state, against the true ones of small real trainings."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from postmortem.measure import checkpoints, gradients, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.decay import shares
from postmortem.model.run import Checkpoint, ParamGroup, Run, Status
from postmortem.model.tensors import CheckpointStats, WeightSummary
from tests.measure.raw import RawFile, run_of, torch_optimizer


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """These networks are tiny: threads cost more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(depth: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(16, 16), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(16, 4))


def state_of(
    root: Path, model: nn.Module, optimizer: torch.optim.Optimizer, kind: str, step: int, *, order: Callable[[list[str]], list[str]] = list
) -> Checkpoint:
    saved = {n: t.detach().numpy() for n, t in model.state_dict().items()}
    file = RawFile(root, f"m{step}.bin")
    refs = tuple(file.add(n, saved[n]) for n in order(list(saved)))
    return Checkpoint(f"m{step}.bin", "raw", Status.READ, step=step, tensors=refs, optimizer=torch_optimizer(root, f"o{step}.bin", optimizer, kind))


def train(
    root: Path,
    make: Callable[[list[nn.Parameter]], torch.optim.Optimizer],
    kind: str,
    *,
    saves: tuple[int, ...] = (40, 80),
    clip: float | None = None,
    dying: bool = False,
) -> tuple[Run, list[dict[str, np.ndarray]]]:
    """Train on noise; the gradients of every step as the optimizer got them, (steps, elements) per parameter."""
    model = network()
    optimizer = make(list(model.parameters()))
    generator = torch.Generator().manual_seed(1)
    history: dict[str, list[np.ndarray]] = {n: [] for n, _ in model.named_parameters()}
    saved = []
    for step in range(1, max(saves) + 1):
        x, y = torch.randn(32, 16, generator=generator), torch.randint(0, 4, (32,), generator=generator)
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        (loss * (1e-4 if dying and step > saves[0] else 1.0)).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        for n, p in model.named_parameters():
            history[n].append(p.grad.numpy().astype(np.float64).ravel().copy())
        optimizer.step()
        if step in saves:
            saved.append(state_of(root, model, optimizer, kind, step))
    return run_of(root, *saved), {n: np.array(g) for n, g in history.items()}


def found(stats: CheckpointStats, source: str) -> dict[str, object]:
    return {g.name: g for g in stats.gradients if g.source == source}


def weighted(history: np.ndarray, beta: float) -> np.ndarray:
    """The bias-corrected running mean of g², by its definition as a sum."""
    steps = len(history)
    weights = (1 - beta) * beta ** np.arange(steps - 1, -1, -1)
    return (weights[:, None] * history**2).sum(0) / (1 - beta**steps)


ADAMS = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.99)),
    "adamw": lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.9, 0.99), weight_decay=0.1),
    "adam-fused": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.99), fused=True),
    "adamw-foreach": lambda p: torch.optim.AdamW(p, lr=1e-3, betas=(0.9, 0.99), foreach=True),
    "adam-amsgrad": lambda p: torch.optim.Adam(p, lr=1e-3, betas=(0.9, 0.99), amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, lr=1e-3, betas=(0.9, 0.99)),
    "radam": lambda p: torch.optim.RAdam(p, lr=1e-3, betas=(0.9, 0.99)),
}


@pytest.mark.parametrize("kind", ADAMS)
@pytest.mark.parametrize("clip", [None, 0.05])
@pytest.mark.parametrize("large", [False, True])
def test_adam_and_its_kin(tmp_path: Path, kind: str, clip: float | None, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr(gradients, "DIRECT", 0)
        monkeypatch.setattr(trajectory, "DIRECT", 0)
        monkeypatch.setattr(checkpoints, "COMPILED_FROM", 0)
    run, history = train(tmp_path, ADAMS[kind], kind, clip=clip)
    stats, summary, _ = measure_checkpoints(run)
    for i, step in enumerate((40, 80)):
        read = found(stats[i], "adam")
        assert set(read) == set(history)
        for name, g in history.items():
            expected = weighted(g[:step], 0.99)
            mean = (0.1 * 0.9 ** np.arange(step - 1, -1, -1))[:, None] * g[:step]
            steady = np.sqrt((mean.sum(0) ** 2).mean()) / (1 - 0.9**step)
            assert read[name].rms == pytest.approx(math.sqrt(expected.mean()), rel=1e-4)
            assert read[name].mean_ratio == pytest.approx(steady / math.sqrt(expected.mean()), rel=1e-3)
            assert read[name].zero_share == 0
            assert read[name].step == step
    assert summary.gradient_source == "adam"
    assert stats[1].optimizer.names_known == "matched"
    assert stats[1].optimizer.lag == 0


@pytest.mark.parametrize("dying", [False, True])
def test_the_window_sees_a_gradient_die(tmp_path: Path, dying: bool) -> None:
    run, history = train(tmp_path, lambda p: torch.optim.Adam(p, lr=1e-4, betas=(0.9, 0.99)), "adam", dying=dying)
    stats, _, _ = measure_checkpoints(run)
    window, running = found(stats[1], "adam-window"), found(stats[1], "adam")
    assert not found(stats[0], "adam-window")
    for name, g in history.items():
        truth = math.sqrt(weighted(g[40:], 0.99).mean())
        if dying:  # 1e-4 of before: the running mean still remembers, the window is at the rounding of float32
            assert running[name].rms > 1000 * truth
            assert window[name].rms < 0.02 * running[name].rms
        else:
            assert window[name].rms == pytest.approx(truth, rel=1e-3)


def test_rmsprop(tmp_path: Path) -> None:
    run, history = train(tmp_path, lambda p: torch.optim.RMSprop(p, lr=1e-4, alpha=0.95), "rmsprop")
    read = found(measure_checkpoints(run)[0][1], "rmsprop")
    for name, g in history.items():
        assert read[name].rms == pytest.approx(math.sqrt(weighted(g, 0.95).mean()), rel=1e-4)
        assert read[name].mean_ratio is None


def test_centred_rmsprop_keeps_the_mean_as_well(tmp_path: Path) -> None:
    run, history = train(tmp_path, lambda p: torch.optim.RMSprop(p, lr=1e-4, alpha=0.95, centered=True, momentum=0.5), "rmsprop")
    read = found(measure_checkpoints(run)[0][1], "rmsprop")
    for name, g in history.items():
        mean = (0.05 * 0.95 ** np.arange(len(g) - 1, -1, -1))[:, None] * g
        steady = np.sqrt((mean.sum(0) ** 2).mean()) / (1 - 0.95 ** len(g))
        assert read[name].mean_ratio == pytest.approx(steady / math.sqrt(weighted(g, 0.95).mean()), rel=1e-3)


class TransformersAdafactor(torch.optim.Optimizer):
    """The second moment as transformers' Adafactor keeps it (Shazeer & Stern, 2018, algorithm 4)."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1e-4, "decay_rate": -0.8, "eps": (1e-30, 1e-3)})

    def step(self) -> None:
        for p in self.param_groups[0]["params"]:
            state = self.state[p]
            state["step"] = state.get("step", 0) + 1
            beta = 1 - state["step"] ** -0.8
            square = p.grad**2 + 1e-30
            parts = {"exp_avg_sq_row": square.mean(-1), "exp_avg_sq_col": square.mean(-2)} if p.ndim > 1 else {"exp_avg_sq": square}
            for slot, value in parts.items():
                state[slot] = beta * state.get(slot, torch.zeros_like(value)) + (1 - beta) * value


@pytest.mark.parametrize("make", [lambda p: torch.optim.Adafactor(p, lr=1e-4), TransformersAdafactor], ids=["torch", "transformers"])
def test_adafactor_from_its_rows(tmp_path: Path, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
    run, history = train(tmp_path, make, "adafactor")
    stats, summary, _ = measure_checkpoints(run)
    read = found(stats[1], "adafactor")
    for name, g in history.items():
        mean = np.zeros(g.shape[1])
        for t, now in enumerate(g, 1):
            mean = (1 - t**-0.8) * mean + t**-0.8 * now**2
        assert read[name].rms == pytest.approx(math.sqrt(mean.mean()), rel=1e-3)
        assert (read[name].zero_share, read[name].non_finite, read[name].step) == (0, 0, 80)
    assert stats[1].optimizer.names_known == "matched"
    assert summary.gradient_source == "adafactor"


@pytest.mark.parametrize("make", [lambda p: torch.optim.Adafactor(p, lr=1e-4), TransformersAdafactor], ids=["torch", "transformers"])
def test_adafactor_sees_units_without_a_gradient(tmp_path: Path, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
    model = nn.Linear(6, 8, bias=False)
    optimizer = make(list(model.parameters()))
    for _ in range(4):
        model.weight.grad = torch.ones_like(model.weight)
        model.weight.grad[:2] = 0
        model.weight.grad[:, :3] = 0
        optimizer.step()
    read = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adafactor", 4)))[0][0].gradients[0]
    assert read.zero_share == pytest.approx(1 - 6 / 8 * 3 / 6)


class Lion(torch.optim.Optimizer):
    """Chen et al., 2023, algorithm 2."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1e-4, "betas": (0.9, 0.99), "weight_decay": 0.1})

    def step(self) -> None:
        for p in self.param_groups[0]["params"]:
            mean = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
            p.data.add_(torch.sign(0.9 * mean + 0.1 * p.grad) + 0.1 * p.data, alpha=-1e-4)
            mean.mul_(0.99).add_(p.grad, alpha=0.01)


@pytest.mark.parametrize(("kind", "make", "beta"), [("lion", Lion, 0.99), ("adamax", lambda p: torch.optim.Adamax(p, lr=1e-4), 0.9)])
def test_a_running_mean_without_a_second_moment(
    tmp_path: Path, kind: str, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], beta: float
) -> None:
    run, history = train(tmp_path, make, kind)
    read = found(measure_checkpoints(run)[0][1], "momentum")
    filled = 1 - beta**80 if kind == "adamax" else 1.0  # Lion does not count steps
    for name, g in history.items():
        mean = ((1 - beta) * beta ** np.arange(79, -1, -1))[:, None] * g
        assert read[name].rms == pytest.approx(np.sqrt((mean.sum(0) ** 2).mean()) / filled, rel=1e-3)
        assert read[name].mean_ratio is None


def test_adagrad(tmp_path: Path) -> None:
    run, history = train(tmp_path, lambda p: torch.optim.Adagrad(p, lr=1e-3, initial_accumulator_value=0.5), "adagrad")
    read = found(measure_checkpoints(run)[0][1], "adagrad")
    for name, g in history.items():
        assert read[name].rms == pytest.approx(math.sqrt((g**2).mean()), rel=1e-2)


@pytest.mark.parametrize("clip", [None, 0.05])
def test_momentum_is_a_sum_without_a_second_moment(tmp_path: Path, clip: float | None) -> None:
    run, history = train(tmp_path, lambda p: torch.optim.SGD(p, lr=1e-3, momentum=0.9), "sgd", clip=clip)
    stats, summary, _ = measure_checkpoints(run)
    read = found(stats[1], "momentum")
    for name, g in history.items():
        buffer = (0.9 ** np.arange(len(g) - 1, -1, -1))[:, None] * g
        assert read[name].rms == pytest.approx(math.sqrt((buffer.sum(0) ** 2).mean()), rel=1e-4)
        assert read[name].mean_ratio is None
        assert read[name].below_epsilon is None
    truth = [math.sqrt((g**2).mean()) for n, g in history.items() if n.endswith("weight")]
    assert summary.gradient_depth_ratio == pytest.approx(math.log10(truth[0] / truth[-1]), abs=0.5)  # what persists weighs more in the buffer


def test_plain_descent_remembers_nothing_and_that_proves_nothing(tmp_path: Path) -> None:
    stats, summary, _ = measure_checkpoints(train(tmp_path, lambda p: torch.optim.SGD(p, lr=1e-2), "sgd")[0])
    facts = stats[1].optimizer
    assert (facts.has_state, facts.keeps_state, facts.stateless) == (False, False, ())
    assert not stats[1].gradients
    assert summary.gradient_depth_ratio is None


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("adadelta", torch.optim.Adadelta),
        ("rprop", torch.optim.Rprop),
        ("asgd", torch.optim.ASGD),
        ("8bit", torch.optim.Adam),
    ],
)
def test_what_is_not_understood_is_not_measured(tmp_path: Path, kind: str, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer]) -> None:
    stats, _, _ = measure_checkpoints(train(tmp_path, make, kind)[0])
    assert stats[1].gradients == ()
    assert stats[1].optimizer.has_state
    assert kind in str(stats[1].optimizer.unmeasured)


@pytest.mark.parametrize("scale", [1e-12, 1e-23, 1e12])
def test_gradients_beyond_the_range_of_their_squares(tmp_path: Path, scale: float) -> None:
    model = nn.Linear(32, 32, bias=False)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.0, eps=1e-8)
    for _ in range(5):
        model.weight.grad = torch.full_like(model.weight, scale)
        optimizer.step()
    read = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 5)))[0][0].gradients[0]
    assert read.rms == pytest.approx(scale, rel=0.05)
    assert read.below_epsilon == (1.0 if scale < 1e-8 else 0.0)
    assert read.zero_share == (1.0 if scale < 1e-22 else 0.0)  # the mean is all that is left


def three_steps(model: nn.Module) -> torch.optim.Optimizer:
    """Of Adam, on noise: eight inputs, three classes."""
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(16, 8)), torch.randint(0, 3, (16,))).backward()
        optimizer.step()
    return optimizer


def test_units_without_a_gradient(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():
        model[0].bias.fill_(-50.0)
    optimizer = three_steps(model)
    _, summary, _ = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 3)))
    assert summary.gradient_zero_share == 1
    assert summary.gradient_dead_layers == ("0.weight", "2.weight")
    assert summary.lowest_hidden_bias == pytest.approx(-50, abs=0.1)


def test_the_share_of_elements_that_never_had_a_gradient(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 10), nn.ReLU(), nn.Linear(10, 3))
    with torch.no_grad():
        model[0].bias[:4] = -50.0
    optimizer = three_steps(model)
    _, summary, _ = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 3)))
    squares = [optimizer.state[model[i].weight]["exp_avg_sq"] for i in (0, 2)]
    assert summary.gradient_zero_share == pytest.approx(sum(int((s == 0).sum()) for s in squares) / sum(s.numel() for s in squares))
    assert 0.3 < summary.gradient_zero_share < 0.6
    assert summary.gradient_dead_layers == ()


def test_a_vanishing_gradient_shows_in_depth(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(9) for layer in (nn.Linear(12, 12), nn.Sigmoid())), nn.Linear(12, 3))
    optimizer = torch.optim.Adam(model.parameters())
    truth: list[list[float]] = [[], []]
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(64, 12)), torch.randint(0, 3, (64,))).backward()
        truth[0].append(float((model[0].weight.grad.double() ** 2).mean()))
        truth[1].append(float((model[18].weight.grad.double() ** 2).mean()))
        optimizer.step()
    _, summary, _ = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 20)))
    assert summary.gradient_depth_ratio == pytest.approx(0.5 * math.log10(np.mean(truth[0]) / np.mean(truth[1])), abs=0.1)
    assert summary.gradient_depth_ratio < -5


def test_frozen_and_missing_parameters(tmp_path: Path) -> None:
    model = network()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("6"))
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    nn.functional.cross_entropy(model(torch.randn(4, 16)), torch.randint(0, 4, (4,))).backward()
    optimizer.step()
    facts = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 1)))[0][0].optimizer
    assert facts.names_known == "matched"
    assert set(facts.absent) == {n for n, _ in model.named_parameters() if not n.startswith("6")}
    everything = torch.optim.Adam(model.parameters())
    everything.step()
    facts = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, everything, "adam", 2)))[0][0].optimizer
    assert facts.absent == ()
    assert set(facts.stateless) == {n for n, _ in model.named_parameters() if not n.startswith("6")}


@pytest.mark.parametrize("saves", [1, 2])
def test_what_lies_below_adapters_is_not_missed(tmp_path: Path, saves: int) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model.lora_A, model.lora_B = nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False)
    adapters = [model.lora_A.weight, model.lora_B.weight]
    for known, left in ((adapters, ()), (adapters[:1], ("lora_B.weight",))):
        optimizer = torch.optim.Adam(known)
        made = []
        for step in range(1, saves + 1):
            for p in known:
                p.grad = torch.randn(p.shape)
            optimizer.step()
            made.append(state_of(tmp_path, model, optimizer, "adam", step))
        facts = measure_checkpoints(run_of(tmp_path, *made))[0][-1].optimizer
        assert (facts.names_known, facts.absent) == ("matched", left)


def test_a_truncated_optimizer_proves_nothing_about_states(tmp_path: Path) -> None:
    run, _ = train(tmp_path, ADAMS["adam"], "adam", saves=(3,))
    one = run.checkpoints[0]
    cut = replace(one, truncated=True, optimizer=replace(one.optimizer, states=one.optimizer.states[:2]))
    facts = measure_checkpoints(run_of(tmp_path, cut))[0][0].optimizer
    assert facts.stateless == ()
    assert facts.absent is None


def test_names_when_the_file_lost_its_order_and_groups_split_decay(tmp_path: Path) -> None:
    model = network()
    decay = [p for n, p in model.named_parameters() if not n.endswith("bias")]
    rest = [p for n, p in model.named_parameters() if n.endswith("bias")]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}])
    for i, p in enumerate(model.parameters()):
        p.grad = torch.full_like(p, 10.0**-i)
    optimizer.step()
    for order in (list, sorted):
        stats, _, _ = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adamw", 1, order=order)))
        read = found(stats[0], "adam")
        assert {n: round(math.log10(read[n].rms)) for n, _ in model.named_parameters()} == {
            n: -i for i, (n, _) in enumerate(model.named_parameters())
        }
        assert stats[0].optimizer.names_known == "matched"


def test_two_orders_that_fit_are_a_guess(tmp_path: Path) -> None:
    """Two groups of which nothing is remembered yet: the tensors as they were defined, or weights before biases."""
    model = network()
    split = [[p for n, p in model.named_parameters() if n.endswith("bias") == bias] for bias in (False, True)]
    for groups, known in ((split, "ambiguous"), ([[*split[0], *split[1]]], "matched")):
        optimizer = torch.optim.AdamW([{"params": params} for params in groups])
        stats, _, _ = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adamw", 1)))
        assert stats[0].optimizer.names_known == known


def test_saved_names_win(tmp_path: Path) -> None:
    model = network(1)
    names = [n for n, _ in model.named_parameters()]
    optimizer = torch.optim.Adam(reversed(list(model.parameters())))
    for i, p in enumerate(model.parameters()):
        p.grad = torch.full_like(p, 10.0**-i)
    optimizer.step()
    one = state_of(tmp_path, model, optimizer, "adam", 1)
    group = one.optimizer.groups[0]
    named = replace(one, optimizer=replace(one.optimizer, groups=(ParamGroup(group.params, group.settings, tuple(reversed(names))),)))
    stats, _, _ = measure_checkpoints(run_of(tmp_path, named))
    assert {g.name: round(math.log10(g.rms)) for g in stats[0].gradients} == {n: -i for i, n in enumerate(names)}
    assert stats[0].optimizer.names_known == "saved"


def test_an_optimizer_of_another_model_is_not_forced_to_fit(tmp_path: Path) -> None:
    model, other = network(), nn.Linear(7, 7)
    optimizer = torch.optim.Adam(other.parameters())
    other(torch.randn(2, 7)).sum().backward()
    optimizer.step()
    facts = measure_checkpoints(run_of(tmp_path, state_of(tmp_path, model, optimizer, "adam", 1)))[0][0].optimizer
    assert facts.names_known == "no"
    assert facts.absent is None


def decayed(
    root: Path, kind: str, make: Callable[[list[nn.Parameter]], torch.optim.Optimizer], *, flag: bool = True
) -> tuple[CheckpointStats, WeightSummary]:
    """A network of ten sigmoid layers, whose first gradients vanish, trained with decay."""
    torch.manual_seed(0)
    model = nn.Sequential(*(layer for _ in range(9) for layer in (nn.Linear(12, 12), nn.Sigmoid())), nn.Linear(12, 3))
    optimizer = make(list(model.parameters()))
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(torch.randn(64, 12)), torch.randint(0, 3, (64,))).backward()
        optimizer.step()
    saved = state_of(root, model, optimizer, kind, 20)
    if not flag:
        state = saved.optimizer
        groups = tuple(replace(g, settings={k: v for k, v in g.settings.items() if k != "decoupled_weight_decay"}) for g in state.groups)
        saved = replace(saved, optimizer=replace(state, groups=groups))
    stats, summary, _ = measure_checkpoints(run_of(root, saved))
    return stats[0], summary


COUPLED = {
    "adam": lambda p: torch.optim.Adam(p, lr=1e-4, weight_decay=0.05),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-4, weight_decay=0.05),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-4, weight_decay=0.05),
    "sgd": lambda p: torch.optim.SGD(p, lr=1e-4, momentum=0.5, weight_decay=0.05),
}


@pytest.mark.parametrize("kind", COUPLED)
@pytest.mark.parametrize("flag", [True, False])
def test_a_gradient_behind_decay_is_not_told(tmp_path: Path, kind: str, flag: bool) -> None:
    one, summary = decayed(tmp_path, kind, COUPLED[kind], flag=flag)
    share = {g.name: g.decay_share for g in one.gradients}
    assert share["0.weight"] > 0.9  # its memory holds nothing but λw, of weights that were a little larger before
    assert share["18.bias"] < 0.1
    assert summary.gradient_depth_ratio is None or summary.gradient_depth_ratio > -3  # of those layers that are told


@pytest.mark.parametrize("flag", [True, False])
def test_decoupled_decay_leaves_the_memory_alone(tmp_path: Path, flag: bool) -> None:
    make = lambda p: torch.optim.AdamW(p, lr=1e-3, weight_decay=0.05)  # noqa: E731  # as the table above
    one, summary = decayed(tmp_path, "adamw" if flag else "adam", make, flag=flag)
    assert not any(g.decay_share for g in one.gradients)
    assert summary.gradient_depth_ratio < -5


def test_decay_of_nothing_is_no_share(tmp_path: Path) -> None:
    one, _ = decayed(tmp_path, "adam", lambda p: torch.optim.Adam(p, lr=1e-3))
    assert {g.decay_share for g in one.gradients} == {0.0}


def test_decay_beyond_all_bounds_is_all_of_it() -> None:
    assert shares({"w": 1e200, "v": 1e-200}, {"w": 1e-30, "v": 1e30}, sure=True) == {"w": 1.0, "v": 0.0}
    assert shares({"w": 1e200}, {"w": 1e-30}, sure=False) == {"w": 0.0}
