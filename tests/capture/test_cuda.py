"""The recorder on a GPU: what it records there, that it does not wait for the device layer by layer, how it sees a device that fails."""

import contextlib
import math
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import postmortem
from postmortem.capture.samples import drawn, figures
from postmortem.model.run import Run
from postmortem.sources import read_run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
FEATURES, CLASSES, BATCH = 20, 5, 32


@pytest.fixture(autouse=True)
def _full_precision() -> Iterator[None]:
    """Matrix products of float32 are those of float32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


def network(depth: int = 2, width: int = 64) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(FEATURES, width), nn.ReLU()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(width, CLASSES))


def batches(n: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    torch.manual_seed(1)
    truth = torch.randn(FEATURES, CLASSES)
    inputs = [torch.randn(BATCH, FEATURES) for _ in range(n)]
    return [(x, (x @ truth).argmax(1)) for x in inputs]


def train(folder: Path, device: str, steps: int = 10, *, model: nn.Module | None = None, every: int = 100) -> Path:
    torch.manual_seed(0)
    model = (network() if model is None else model).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with postmortem.Recorder(folder, every=every, classes=CLASSES) as recorder:
        recorder.watch(model, optimizer)
        for x, y in batches(steps):
            inputs, labels = x.to(device), y.to(device)
            recorder.batch(inputs, labels)
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)
    return recorder.path


def read(folder: Path) -> Run:
    return read_run([folder])


def curves(run: Run) -> dict[str, dict[float, float]]:
    return {s.name: dict(zip(s.steps.tolist(), s.values.tolist(), strict=True)) for s in run.series}


# --- the same figures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_figures_are_those_of_the_host(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(700, 900).T, torch.zeros(5), torch.randn(300, 7) * 1e-3, torch.tensor([1.0, math.nan, math.inf, 0.0]), torch.randn(())]
    tensors += [torch.nn.functional.dropout(torch.randn(3, 8, 5, 5), 0.5).to(memory_format=torch.channels_last), torch.empty(0, 3)]
    tensors = [t.to(dtype) for t in tensors]
    every = frozenset(range(len(tensors)))
    near, far = figures(tensors, every), figures([t.cuda() for t in tensors], every)
    for statistic, wanted in near.statistics().items():
        np.testing.assert_allclose(far.statistics()[statistic], wanted, rtol=1e-4, err_msg=statistic)  # the host adds up bfloat16 one by one
    np.testing.assert_array_equal(far.high, near.high)
    assert far.zeros.tolist() == near.zeros.tolist()
    for mine, wanted_one in zip(far.histograms, near.histograms, strict=True):
        assert (mine[0].tolist(), mine[1].tolist()) == (wanted_one[0].tolist(), wanted_one[1].tolist())
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(drawn([t.cuda() for t in tensors]), drawn(tensors), strict=True))


def test_a_tensor_of_many_pieces_is_counted_whole() -> None:
    tensor = torch.randn(3_000_017)
    (far,), (near,) = figures([tensor.cuda()], frozenset({0})).histograms, figures([tensor], frozenset({0})).histograms
    assert far[0].tolist() == near[0].tolist()
    assert far[1].tolist() == near[1].tolist()


def test_counting_takes_little_of_the_devices_memory() -> None:
    tensor = torch.randn(1 << 26, device="cuda")
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    figures([tensor, tensor.view(1 << 13, 1 << 13).T], frozenset({0, 1}))
    assert torch.cuda.max_memory_allocated() - before < 0.04 * tensor.nbytes


def test_tensors_on_several_devices_are_looked_at_together() -> None:
    """A part of the model that is kept on the host."""
    tensors = [torch.ones(10), torch.ones(40, device="cuda") * 2]
    found = figures(tensors, frozenset({0, 1}))
    assert found.statistics()["rms"] == pytest.approx([1.0, 2.0])
    assert [counts.tolist() for _, counts in found.histograms] == [[10], [40]]
    assert [a.tolist() for a in drawn(tensors)] == [[1.0] * 10, [2.0] * 32]


def test_a_training_is_recorded_as_on_the_host(tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        train(tmp_path / device, device)
    near, far = read(tmp_path / "cpu"), read(tmp_path / "cuda")
    wanted, told = curves(near), curves(far)
    assert set(told) == set(wanted)
    for name in wanted:
        if name not in ("memory", "step_time", "throughput"):
            assert told[name].keys() == wanted[name].keys(), name
            for step in (0.0, 1.0, 8.0):
                if step in wanted[name]:
                    # of sums in another order, nine Adam steps on
                    assert told[name][step] == pytest.approx(wanted[name][step], rel=1e-2 if step else 1e-4, abs=1e-6), (name, step)
    for mine, host in zip(far.histograms, near.histograms, strict=True):
        assert (mine.name, mine.step, mine.counts.sum()) == (host.name, host.step, host.counts.sum())
    assert told["memory"][8.0] == pytest.approx(torch.cuda.max_memory_allocated() / 2**30, rel=0.5)
    settings = {s.key: s.value for s in far.settings}
    assert settings["versions.cuda"] == torch.version.cuda


# --- nothing waits ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """The synchronising calls that torch makes inside, as its own debug mode tells them."""
    torch.cuda.synchronize()
    told: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield told
        finally:
            torch.cuda.set_sync_debug_mode("default")
    told += [str(w.message) for w in caught if "synchronizing CUDA operation" in str(w.message)]


def waits_by_step(folder: Path, depth: int, steps: int) -> list[int]:
    model = network(depth).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    recorder = postmortem.Recorder(folder, classes=CLASSES)
    recorder.watch(model, optimizer)
    pinned = [(x.pin_memory(), y.pin_memory()) for x, y in batches(4)]
    out = []
    for step in range(steps):
        with waits() as told:
            inputs, labels = (t.to("cuda", non_blocking=True) for t in pinned[step % 4])
            recorder.batch(inputs, labels)
            loss = nn.functional.cross_entropy(model(inputs), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)
        out.append(len(told))
    recorder.close()
    return out


def test_waiting_does_not_grow_with_the_model(tmp_path: Path) -> None:
    shallow, deep = (waits_by_step(tmp_path / str(depth), depth, 66) for depth in (1, 24))
    looked = [0, 1, 2, 4, 8, 16, 32, 64]
    assert all(0 < deep[step] <= 12 for step in looked), deep
    assert [deep[step] for step in looked] == [shallow[step] for step in looked]
    others = [n for step, n in enumerate(deep) if step not in looked]
    # The batch after a looked-at step is looked at too; losses come without being waited for.
    assert not any(n for step, n in enumerate(deep) if 33 < step < 64), deep
    assert sum(n == 0 for n in others) > 40, deep


def test_a_loss_that_the_next_step_writes_over_is_kept(tmp_path: Path) -> None:
    total = torch.zeros((), device="cuda")
    with postmortem.Recorder(tmp_path, every=1000) as recorder:
        for step in range(40):
            total.fill_(step)
            recorder.step(total)
    assert list(curves(read(tmp_path))["train/loss"].values()) == [float(s) for s in range(40)]


# --- precision, compiled models, graphs -------------------------------------------------------------------------------


def train_scaled(folder: Path, steps: int, *, fused: bool, enabled: bool = True, scale: float, every: int = 100) -> float:
    """In float16 with a scaled loss, or in neither; the scale that is left."""
    torch.manual_seed(0)
    model = network().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=fused)
    scaler = torch.amp.GradScaler("cuda", enabled=enabled, init_scale=scale)
    with postmortem.Recorder(folder, every=every) as recorder:
        recorder.watch(model, optimizer)
        for x, y in batches(steps):
            recorder.batch(x, y)
            with torch.autocast("cuda", torch.float16, enabled=enabled):
                loss = nn.functional.cross_entropy(model(x.cuda()), y.cuda())
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            recorder.step(loss)
    return scaler.get_scale()


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_of_a_scaled_loss_are_the_models_own(tmp_path: Path, fused: bool) -> None:
    for name, scaled in (("plain", False), ("scaled", True)):
        train_scaled(tmp_path / name, 5, fused=fused, enabled=scaled, scale=3.0 * 2**12)
    plain, mixed = read(tmp_path / "plain"), read(tmp_path / "scaled")
    wanted, told = curves(plain), curves(mixed)
    for name in ("gradients/0.weight/rms", "gradients/6.weight/max", "grad_norm"):
        assert told[name][0.0] == pytest.approx(wanted[name][0.0], rel=0.05), name
    for one in mixed.histograms:
        if one.name == "gradients/0.weight" and one.step == 0:
            filled = np.flatnonzero(one.counts)
            assert one.edges[filled[-1]] <= told["gradients/0.weight/max"][0.0] * 1.001
            assert max(-one.edges[0], one.edges[-1]) >= told["gradients/0.weight/max"][0.0] * 0.999


@pytest.mark.parametrize("fused", [False, True])
def test_updates_that_a_scaler_leaves_out_are_no_bad_gradients(tmp_path: Path, fused: bool) -> None:
    assert train_scaled(tmp_path, 80, fused=fused, scale=2.0**40, every=10) < 2.0**40
    told = curves(read(tmp_path))
    assert all(map(math.isfinite, told["gradients/0.weight/rms"].values()))
    assert 0.0 not in told["gradients/0.weight/rms"]
    found = postmortem.analyze(tmp_path, with_exhibits=False)
    assert not {"non-finite", "exploding-gradients", "loss-not-decreasing", "frozen-parameters"} & {
        f.mode for f in found.findings if f.status == "present"
    }


def test_bfloat16_autocast_and_weights(tmp_path: Path) -> None:
    model = network().cuda().to(torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.watch(model, optimizer)
        for x, y in batches(5):
            recorder.batch(x.cuda().bfloat16(), y.cuda())
            with torch.autocast("cuda", torch.bfloat16):
                loss = nn.functional.cross_entropy(model(x.cuda().bfloat16()), y.cuda())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.step(loss)
    told = curves(read(tmp_path))
    assert told["weights/0.weight/rms"][4.0] == pytest.approx(float(model[0].weight.detach().float().pow(2).mean().sqrt()), rel=0.05)
    assert {"gradients/0.weight/rms", "activations/1/dead_share", "data/train_std"} <= set(told)


def test_a_captured_training_step_is_replayed_as_it_is(tmp_path: Path) -> None:
    """In a CUDA graph nothing is looked at, and no optimizer is said to stand still because no hook saw it step."""
    torch.manual_seed(0)
    model = network().cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(3e-3, device="cuda"), capturable=True)
    given = batches(100)
    x, y = (t.cuda() for t in given[0])

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with postmortem.Recorder(tmp_path, every=10, classes=CLASSES) as recorder:
        recorder.watch(model, optimizer)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                recorder.step(step())
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = step()
        seen = []
        for inputs, labels in given[3:]:
            x.copy_(inputs)
            y.copy_(labels)
            recorder.batch(x, y)
            graph.replay()
            recorder.step(loss)
            seen.append(loss.item())
    told = curves(read(tmp_path))
    assert list(told["train/loss"].values())[3:] == pytest.approx(seen)
    assert told["lr"][50.0] == pytest.approx(3e-3)
    found = postmortem.analyze(tmp_path, with_exhibits=False)
    assert found.verdict.severity is None, found.verdict.summary


@pytest.mark.filterwarnings("default")  # of the compiler
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_model_is_compiled_once(tmp_path: Path, mode: str) -> None:
    torch._dynamo.reset()
    model = network().cuda()
    model.compile(mode=mode)
    with torch._dynamo.config.patch(error_on_recompile=True):
        train(tmp_path, "cuda", 40, model=model, every=10)
    told = curves(read(tmp_path))
    assert len(told["train/loss"]) == 40
    assert all(map(math.isfinite, told["train/loss"].values()))
    assert "gradients/0.weight/rms" in told


# --- a device that fails ----------------------------------------------------------------------------------------------

SCRIPT = """
import sys, torch, postmortem
from torch import nn
how, folder = sys.argv[1:]
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5)).cuda()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
with postmortem.Recorder(folder, every=10) as recorder:
    recorder.watch(model, optimizer)
    for step in range(60):
        x, y = torch.randn(32, 20).cuda(), torch.randint(0, 5, (32,)).cuda()
        if step == 45 and how == "assert":
            y[3] = 70
        recorder.batch(x, y)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        if step == 45 and how == "memory":
            kept = [torch.empty(1 << 33, dtype=torch.uint8, device="cuda") for _ in range(1000)]
        optimizer.step()
        recorder.step(loss)
"""


@pytest.mark.parametrize(("how", "cause"), [("memory", "out-of-memory"), ("assert", "device-assert")])
def test_a_device_that_fails_is_recorded(tmp_path: Path, how: str, cause: str) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, how, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stderr[-2000:]
    found = postmortem.analyze(tmp_path, with_exhibits=False)
    assert (found.verdict.mode, found.verdict.cause) == ("crash", cause), (found.verdict.summary, done.stderr[-1500:])
    event = next(e for e in reversed(read(tmp_path).events) if str(e.kind) == cause)
    assert event.step is not None
    assert 45 <= event.step <= 48
    assert list(curves(read(tmp_path))["train/loss"])[:40] == [float(s) for s in range(40)]


# --- frameworks -------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")  # of the frameworks themselves
@pytest.mark.parametrize("precision", [{}, {"fp16": True}, {"bf16": True}])
def test_transformers_trainer(tmp_path: Path, precision: dict[str, bool]) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=3)
    args = transformers.TrainingArguments(
        str(tmp_path / "out"),
        max_steps=40,
        per_device_train_batch_size=8,
        logging_steps=5,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        **precision,
    )
    torch.manual_seed(0)
    dataset = [{"input_ids": i, "labels": i[0] % 3} for i in torch.randint(0, 50, (64, 8))]
    with postmortem.Recorder(tmp_path / "run", every=10) as recorder:
        transformers.Trainer(
            transformers.BertForSequenceClassification(config), args, train_dataset=dataset, callbacks=[recorder.for_transformers()]
        ).train()
    run = read(tmp_path / "run")
    told = curves(run)
    assert {"train/loss", "lr", "grad_norm", "memory", "data/train_mean", "gradients/classifier.weight/rms"} <= set(told)
    assert 1e-6 < told["gradients/classifier.weight/rms"][20.0] < 1.0
    assert run.outcome == "finished"


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("precision", ["32-true", "16-mixed", "bf16-mixed"])
def test_lightning_trainer(tmp_path: Path, precision: str) -> None:
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = network()

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            return nn.functional.cross_entropy(self.layer(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.AdamW(self.parameters(), lr=3e-3)

    x, y = (torch.cat(part) for part in zip(*batches(40), strict=True))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH, pin_memory=True)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        lightning.Trainer(
            max_epochs=1, accelerator="cuda", devices=1, precision=precision, logger=False, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, callbacks=[recorder.for_lightning()], default_root_dir=tmp_path,
        ).fit(Module(), loader)  # fmt: skip
    run = read(tmp_path)
    told = curves(run)
    assert {"train/loss", "lr", "grad_norm", "memory", "data/train_mean", "gradients/layer.0.weight/rms", "activations/layer.1/dead_share"} <= set(
        told
    )
    assert 1e-6 < told["gradients/layer.0.weight/rms"][20.0] < 1.0
    assert run.outcome == "finished"
