"""What is looked at on a model and its optimizers: nothing that goes wrong there stops a training, several optimizers are one step."""

import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import postmortem
from postmortem.capture.batches import _far_moments, input_figures
from postmortem.capture.samples import drawn, figures, flat, near_counts
from postmortem.capture.watching import live_units, saturated
from postmortem.sources import read_run


def curves(folder: Path) -> dict[str, dict[float, float]]:
    return {s.name: dict(zip(s.steps.tolist(), s.values.tolist(), strict=True)) for s in read_run([folder]).series}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5))


def train(folder: Path, model: nn.Module, steps: int = 40, dtype: torch.dtype = torch.float32, every: int = 10) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    torch.manual_seed(1)
    truth = torch.randn(20, 5)
    with postmortem.Recorder(folder, every=every) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(steps):
            x = torch.randn(32, 20)
            y = (x @ truth).argmax(1)
            recorder.batch(x.to(dtype), y)
            loss = nn.functional.cross_entropy(model(x.to(dtype)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)


def test_double_precision(tmp_path: Path) -> None:
    train(tmp_path / "single", network())
    train(tmp_path / "double", network().double(), dtype=torch.float64)
    single, double = curves(tmp_path / "single"), curves(tmp_path / "double")
    assert set(double) == set(single)
    for name in ("gradients/0.weight/rms", "weights/2.weight/max", "activations/1/rms", "activations/3/saturated_share"):
        assert double[name][0.0] == pytest.approx(single[name][0.0], rel=1e-3, abs=1e-6), name


def test_a_look_that_fails_stops_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("postmortem.capture.watching.figures", fails)
    with pytest.warns(RuntimeWarning, match="looks at no more layers"):
        train(tmp_path, network())
    told = curves(tmp_path)
    assert len(told["train/loss"]) == 40
    assert not [name for name in told if name.startswith("gradients/")]


def test_two_optimizers_of_one_model_are_one_step(tmp_path: Path) -> None:
    """As in adversarial trainings: each steps by itself, and the gradients of each are taken when it does."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"g": nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2)), "d": nn.Linear(2, 1)})
    first, second = (torch.optim.SGD(model[k].parameters(), lr=0.1) for k in ("d", "g"))
    expected: dict[str, float] = {}
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, first, second)
        for step in range(30):
            noise, real = torch.randn(32, 4), torch.randn(32, 2) + 3.0
            first.zero_grad()
            (nn.functional.softplus(-model["d"](real)) + nn.functional.softplus(model["d"](model["g"](noise).detach()))).mean().backward()
            if not step:
                expected["gradients/d.weight/rms"] = float(model["d"].weight.grad.square().mean().sqrt())
            first.step()
            second.zero_grad()
            loss = nn.functional.softplus(-model["d"](model["g"](noise))).mean()
            loss.backward()
            if not step:
                expected["gradients/g.0.weight/rms"] = float(model["g"][0].weight.grad.square().mean().sqrt())
            second.step()
            recorder.step(loss)
    told = curves(tmp_path)
    for name, value in expected.items():
        assert told[name][0.0] == pytest.approx(value, rel=1e-5), name
    for name in ("d.weight", "g.0.weight"):
        assert all(v > 0 for v in told[f"updates/{name}/ratio"].values())
        assert f"gradients/{name}/missing" not in told
    found = postmortem.analyze(tmp_path, with_exhibits=False)
    assert "frozen-parameters" not in {f.mode for f in found.findings if f.status == "present"}


def test_biases_that_begin_at_zero_and_stay_there_do_not_move(tmp_path: Path) -> None:
    """As those of most transformers: an optimizer of another model's parameters moves nothing, no part of it."""
    model = network()
    for layer in (model[0], model[2], model[4]):
        nn.init.zeros_(layer.bias)
    optimizer = torch.optim.AdamW(network().parameters(), lr=3e-3)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(60):
            x = torch.randn(32, 20)
            loss = nn.functional.cross_entropy(model(x), x[:, :5].argmax(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)
    assert set(curves(tmp_path)["updates/0.bias/ratio"].values()) == {0.0}
    verdict = postmortem.analyze(tmp_path, with_exhibits=False).verdict
    assert (verdict.mode, verdict.cause) == ("loss-not-decreasing", "missing-from-optimizer"), verdict.summary
    train(tmp_path / "moves", model)
    assert curves(tmp_path / "moves")["updates/0.bias/ratio"][0.0] == math.inf


def test_a_scaled_loss_is_taken_out(tmp_path: Path) -> None:
    """A fused optimizer is handed the scale and divides by it as it updates; one whose gradients overflowed leaves the update out."""
    recorded = {}
    for scale in (1.0, 3.0 * 2**10):
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        x, y = torch.randn(32, 20, generator=torch.Generator().manual_seed(3)), torch.arange(32) % 5
        with postmortem.Recorder(tmp_path / str(scale), every=1) as recorder:
            recorder.watch(model, optimizer)
            for times in (1.0, math.inf):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                scaler.scale(loss * times).backward()
                scaler.step(optimizer)
                scaler.update()
                recorder.step(loss)
        run = read_run([tmp_path / str(scale)])
        recorded[scale] = curves(tmp_path / str(scale)), next(h for h in run.histograms if h.name == "gradients/0.weight")
    (plain, counted), (scaled, counted_scaled) = recorded.values()
    assert scaled["gradients/0.weight/rms"] == pytest.approx(plain["gradients/0.weight/rms"])
    assert scaled["grad_norm"] == pytest.approx(plain["grad_norm"])
    assert list(scaled["gradients/0.weight/rms"]) == [0.0]
    assert counted_scaled.edges[-1] == pytest.approx(counted.edges[-1], rel=0.5)  # a bin's width
    assert counted_scaled.counts.sum() == counted.counts.sum()


@pytest.mark.filterwarnings("default")  # of the compiler
@pytest.mark.parametrize("how", ["wrapped", "in place", "a part"])
def test_a_compiled_model_is_compiled_once(tmp_path: Path, how: str) -> None:
    torch._dynamo.reset()
    model: nn.Module = network()
    if how == "wrapped":
        model = torch.compile(model, backend="eager")
    elif how == "in place":
        model.compile(backend="eager")
    else:
        model = nn.Sequential(*model[:2], torch.compile(model[2:], backend="eager"))
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(tmp_path, model)
    assert any(name.startswith("gradients/") for name in curves(tmp_path))


def test_a_transposed_tensor_is_not_copied() -> None:
    for tensor in (torch.randn(7, 5).T, torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last), torch.randn(3), torch.tensor(2.0)):
        assert flat(tensor).data_ptr() == tensor.data_ptr()
        assert sorted(flat(tensor).tolist()) == sorted(tensor.reshape(-1).tolist())
        assert near_counts(tensor).sum() == tensor.numel()
    assert flat(torch.randn(3, 1).expand(3, 4)).shape == (12,)
    assert drawn([]) == ()
    column = torch.arange(300_000.0).view(-1, 3)[:, 1]  # neither whole nor next to each other
    for tensor in (column, column.view(-1, 1000), column[:5], torch.arange(24.0).view(4, 6).T, torch.tensor(3.0), torch.empty(0)):
        (some,) = drawn([tensor])
        assert len(some) == min(tensor.numel(), max(32, tensor.numel() // 512))
        assert set(some.tolist()) <= set(tensor.reshape(-1).tolist())
        assert len(set(some.tolist())) == len(some)
    assert figures([]).sizes == ()


def test_silent_units_and_saturation() -> None:
    x = torch.zeros(4, 6, 5)
    x[1, 2, 3] = -1.0
    x[3, 5, 0] = math.nan
    assert live_units(x) == (2, 5)
    image = torch.zeros(2, 3, 4, 4)
    image[1, 1, 0, 0] = 1e-30
    assert live_units(image) == (1, 3)
    near, of = saturated(torch.rand(64, 4096), 0.0, 1.0)
    assert of == 1 << 16
    assert float(near) / of == pytest.approx(0.02, abs=0.003)


@pytest.mark.parametrize("kind", ["float32", "bfloat16", "float64", "int64", "uint8", "complex64", "transposed", "large", "nothing finite", "empty"])
def test_figures_of_inputs_are_those_of_all_elements(kind: str) -> None:
    """On the host, piece by piece, and as they are taken on an accelerator, against numpy at once."""
    torch.manual_seed(0)
    x = torch.randn(300, 1000) * 5 + 100
    x[3, 4], x[7, 8] = math.nan, math.inf
    match kind:
        case "int64" | "uint8":
            x = torch.randint(0, 200, (300, 1000), dtype=getattr(torch, kind))
        case "bfloat16" | "float64" | "complex64":
            x = x.to(getattr(torch, kind))
        case "transposed":
            x = x.T
        case "large":
            x = x * 1e6 + 1e12
        case "nothing finite":
            x = torch.full((10,), math.nan)
        case "empty":
            x = x[:0]
    wide = (x.abs() if x.is_complex() else x.double()).numpy()
    fine = wide[np.isfinite(wide)].astype(np.float64)
    for found in (input_figures(x), input_figures([x]), _as_far(x)):
        if kind == "empty":
            assert found == {}
        elif not fine.size:
            assert math.isnan(found["mean"])
            assert found["non_finite"] == 10.0
        else:
            wanted = {"mean": fine.mean(), "std": fine.std(), "min": fine.min(), "max": fine.max(), "non_finite": wide.size - fine.size}
            assert found == pytest.approx(wanted, rel=1e-5)


def _as_far(x: torch.Tensor) -> dict[str, float]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("postmortem.capture.batches._near_moments", lambda host: _far_moments(x))
        return input_figures(x)


def test_measuring_large_inputs_takes_little_memory() -> None:
    x = np.ones((64, 1 << 17), np.float32)  # 32 MiB, as whole data sets that are handed over once
    tracemalloc.start()
    try:
        assert input_figures(x)["mean"] == 1.0
        assert tracemalloc.get_traced_memory()[1] < 0.1 * x.nbytes
    finally:
        tracemalloc.stop()


def test_a_model_whose_shapes_the_first_batch_decides_is_recorded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(3):
            loss = nn.functional.cross_entropy(model(torch.randn(4, 6)), torch.tensor([0, 1, 2, 0]))
            loss.backward()
            optimizer.step()
            recorder.step(loss)
    names = {s.name for s in read_run([tmp_path]).series}
    assert {"train/loss", "grad_norm", "gradients/0.weight/rms", "updates/2.bias/ratio"} <= names


@pytest.mark.parametrize("how", ["positional", "named"])
def test_gradients_that_a_closure_computes_within_the_step_are_seen(tmp_path: Path, how: str) -> None:
    """As Lightning steps its optimizers: before the step `.grad` holds what the last one left."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        x = torch.randn(32, 20)
        loss = nn.functional.cross_entropy(model(x), x[:, :5].argmax(1))
        loss.backward()
        expected.append(float(model[0].weight.grad.square().mean().sqrt()))
        return loss

    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(5):
            recorder.step(optimizer.step(closure) if how == "positional" else optimizer.step(closure=closure))
    told = curves(tmp_path)
    assert "gradients/0.weight/missing" not in told
    for step in (0, 1, 2, 4):
        assert told["gradients/0.weight/rms"][float(step)] == pytest.approx(expected[step], rel=1e-5)
    assert len(expected) == 5


@pytest.mark.parametrize("stride", [1, 10, 7])
def test_steps_that_the_job_numbers_in_its_own_way_are_looked_at_as_often(tmp_path: Path, stride: int) -> None:
    """By samples or tokens, or every tenth alone."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with postmortem.Recorder(tmp_path, every=100) as recorder:
        recorder.watch(model, optimizer)
        for n in range(118):
            model(torch.randn(4, 20)).square().mean().backward()
            optimizer.step()
            recorder.step(1.0, step=n * stride)
        assert not model[0]._forward_hooks  # those of a look are off again
    told = curves(tmp_path)
    assert list(told["train/loss"]) == [float(n * stride) for n in range(118)]
    first = {float(n * stride) for n in (0, 1, 2, 4, 8, 16, 32, 64)}
    crossing = {float(-(-s // stride) * stride) for s in range(100, 117 * stride + 1, 100)}
    assert set(told["gradients/0.weight/rms"]) | {float(stride)} == first | crossing | {float(stride)}  # one step tells how far apart they are


def test_what_cannot_be_watched_is_recorded_without(tmp_path: Path) -> None:
    with postmortem.Recorder(tmp_path) as recorder:
        with pytest.warns(RuntimeWarning, match="looks at no layers"):
            recorder.watch(object(), None)
        recorder.step(2.0)
    assert curves(tmp_path)["train/loss"] == {0.0: 2.0}


class Wrapper(torch.optim.Optimizer):
    """As Accelerate wraps an optimizer: hooks registered on it fail, or are never called."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> list[dict]:
        return self.optimizer.param_groups

    def step(self) -> None:
        self.optimizer.step()


def test_the_optimizer_within_a_wrapper_is_watched(tmp_path: Path) -> None:
    model = network()
    optimizer = Wrapper(torch.optim.AdamW(model.parameters(), lr=3e-3))
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(3):
            model(torch.randn(4, 20)).square().mean().backward()
            optimizer.step()
            recorder.step(1.0)
    told = curves(tmp_path)
    assert told["lr"] == {0.0: 3e-3, 1.0: 3e-3, 2.0: 3e-3}
    assert told["updates/0.weight/ratio"][0.0] > 0


def test_where_batches_are_accumulated_the_next_update_is_looked_at(tmp_path: Path) -> None:
    """The job counts batches as steps; those that are to be looked at are none at which the optimizer steps."""
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, optimizer)
        for batch in range(58):
            x = torch.randn(8, 20)
            (nn.functional.cross_entropy(model(x), x[:, :5].argmax(1)) / 4).backward()
            if batch % 4 == 3:
                optimizer.step()
                optimizer.zero_grad()
            recorder.step(1.0)
        assert not model[0]._forward_hooks
    told = curves(tmp_path)
    assert list(told["activations/1/rms"]) == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    updated = [3.0, 7.0, 11.0, 23.0, 31.0, 43.0, 51.0]
    assert list(told["gradients/0.weight/rms"]) == list(told["updates/0.weight/ratio"]) == list(told["grad_norm"]) == updated
    assert min(told["updates/0.weight/ratio"].values()) > 0
    assert list(told["lr"]) == [float(s) for s in range(3, 58, 4)]


def test_an_update_that_is_left_out_is_looked_at_when_it_comes(tmp_path: Path) -> None:
    """A scaler that found infinite gradients does not step."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, optimizer)
        for step in range(15):
            model(torch.randn(4, 20)).square().mean().backward()
            if step not in (0, 1, 2, 10, 11):
                optimizer.step()
            recorder.step(1.0)
    assert list(curves(tmp_path)["updates/0.weight/ratio"]) == [3.0, 4.0, 8.0, 12.0]


def test_the_rate_of_an_optimizer_that_steps_no_more_is_not_recorded(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for step in range(10):
            if step == 6:
                optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
            model(torch.randn(4, 20)).square().mean().backward()
            optimizer.step()
            recorder.step(1.0)
    assert set(curves(tmp_path)["lr"]) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}


def test_a_norm_of_a_part_is_not_called_that_of_all(tmp_path: Path) -> None:
    """Complex parameters are not looked at."""
    weight, scale = nn.Parameter(torch.randn(4, 4, dtype=torch.cfloat)), nn.Parameter(torch.ones(4))
    model = nn.ParameterDict({"weight": weight, "scale": scale})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(3):
            optimizer.zero_grad()
            ((torch.randn(8, 4).to(torch.cfloat) @ weight).abs() * scale).mean().backward()
            optimizer.step()
            recorder.step(1.0)
    told = curves(tmp_path)
    assert len(told["gradients/scale/rms"]) == 3
    assert "grad_norm" not in told


def test_a_model_without_values_is_recorded_without(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train() -> None:
        with postmortem.Recorder(tmp_path) as recorder:
            recorder.watch(model, optimizer)
            for step in range(5):
                model(torch.randn(4, 20, device="meta")).sum().backward()
                optimizer.step()
                recorder.step(float(step))

    with pytest.warns(RuntimeWarning, match="looks at no more layers") as told:
        train()
    assert len(told) == 1
    assert curves(tmp_path)["train/loss"] == {float(s): float(s) for s in range(5)}


def left(folder: Path) -> dict[float, float]:
    return next((told for name, told in curves(folder).items() if name.endswith("/left")), {})


@pytest.mark.parametrize("cleared", ["before the backward", "after the step", "filled with zeros", "never"])
def test_gradients_of_the_update_before_are_met_where_nobody_clears_them(tmp_path: Path, cleared: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, optimizer)
        for _ in range(25):
            loss = model(torch.randn(4, 20)).square().mean()
            if cleared == "before the backward":
                optimizer.zero_grad()
            elif cleared == "filled with zeros":
                optimizer.zero_grad(set_to_none=False)
            loss.backward()
            optimizer.step()
            if cleared == "after the step":
                optimizer.zero_grad()
            recorder.step(loss)
        assert not model[4].bias._backward_hooks
    told = left(tmp_path)
    assert list(told) == [0.0, 1.0, 2.0, 4.0, 8.0, 10.0, 20.0]
    assert told[0.0] == 0.0
    assert all((value > 0) == (cleared == "never") for step, value in told.items() if step)


@pytest.mark.parametrize("counted", ["updates", "batches"])
def test_batches_that_are_accumulated_are_no_gradients_of_the_update_before(tmp_path: Path, counted: str) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        recorder.watch(model, optimizer)
        for batch in range(90):
            model(torch.randn(4, 20)).square().mean().backward()
            if updated := batch % 3 == 2:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
                optimizer.step()
                optimizer.zero_grad()
            if updated or counted == "batches":
                recorder.step(1.0)
    assert not any(left(tmp_path).values())


def test_gradients_that_another_models_loss_leaves_are_not_of_the_update_before(tmp_path: Path) -> None:
    """As a generator's loss leaves them on the discriminator, which is cleared right before its own."""
    generator, judge = nn.Linear(4, 20), network()
    made_by, judged_by = (torch.optim.SGD(m.parameters(), lr=1e-3) for m in (generator, judge))
    with postmortem.Recorder(tmp_path, every=5) as recorder:
        recorder.watch(judge, judged_by)
        for _ in range(20):
            made = generator(torch.randn(8, 4))
            judged_by.zero_grad()
            judge(made.detach()).mean().backward()
            judged_by.step()
            made_by.zero_grad()
            (-judge(made)).mean().backward()
            made_by.step()
            recorder.step(1.0)
    told = left(tmp_path)
    assert len(told) > 5
    assert not any(told.values())
