"""What the recorder writes comes back through the reader, whatever ends the training."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import postmortem
from postmortem.capture.samples import drawn, far_counts, figures, near_counts, occupied
from postmortem.capture.waiting import MOST
from postmortem.capture.writing import line
from postmortem.model.run import EventKind, Run
from postmortem.sources import read_run

STEPS = 70


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5))


def train(folder: Path, *, steps: int = STEPS, fail_at: int = -1, poison_at: int = -1, watch: bool = True, **kwargs) -> Path:
    torch.manual_seed(0)
    model, truth = network(), torch.randn(20, 5)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    with postmortem.Recorder(folder, every=20, config={"batch_size": 32, "optim": {"lr": 3e-3}}, classes=5, **kwargs) as recorder:
        if watch:
            recorder.watch(model, optimizer)
        for step in range(steps):
            x = torch.randn(32, 20)
            y = (x @ truth).argmax(1)
            if step == poison_at:
                x[0, 0] = math.nan
            recorder.batch(x, y)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            recorder.step(loss)
            if step == fail_at:
                raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
            if step % 10 == 9:
                recorder.log(val_loss=loss.item(), val_accuracy=0.5)
    return recorder.path


def read(folder: Path) -> Run:
    return read_run([folder])


def test_everything_comes_back(tmp_path: Path) -> None:
    train(tmp_path)
    run = read(tmp_path)
    assert [s.reader for s in run.sources] == ["capture"]
    assert str(run.sources[0].status) == "read"
    names = {s.name: s for s in run.series}
    assert len(names["train/loss"]) == STEPS
    assert names["train/loss"].steps.tolist() == list(range(STEPS))
    assert set(names["lr"].values) == {3e-3}
    assert len(names["val/loss"]) == len(names["val/accuracy"]) == 7
    looked = [0, 1, 2, 4, 8, 16, 20, 40, 60]
    assert names["grad_norm"].steps.tolist() == looked
    for wanted in ("memory", "data/train_mean", "data/non_finite", "data/largest_class_share", "data/labels_out_of_range", "data/duplicate_share",
                   "step_time", "throughput", "gradients/0.weight/rms", "weights/4.bias/max", "updates/2.weight/ratio", "activations/1/dead_share",
                   "activations/3/saturated_share", "activations/4/silent_inputs"):  # fmt: skip
        assert wanted in names, wanted
    assert names["gradients/0.weight/rms"].steps.tolist() == looked
    assert abs(names["data/train_mean"].values).max() < 0.3
    assert names["data/labels_out_of_range"].values.max() == 0
    kinds = {h.name for h in run.histograms}
    assert {"gradients/0.weight", "weights/0.weight", "data/train_labels"} <= kinds
    for one in run.histograms:
        assert np.all(np.diff(one.edges) > 0)
        assert len(one.edges) == len(one.counts) + 1
    labels = next(h for h in run.histograms if h.name == "data/train_labels")
    assert labels.counts.sum() == 32
    settings = {s.key: s.value for s in run.settings}
    assert settings["batch_size"] == 32
    assert settings["optim.lr"] == 3e-3
    assert settings["versions.torch"] == torch.__version__
    assert settings["parameters"] == sum(p.numel() for p in network().parameters())
    assert run.setting("optimizer").value == "AdamW"
    assert run.outcome == "finished"
    assert run.framework == "pytorch"


def test_histograms_hold_every_finite_value() -> None:
    values = np.array([0.0, -0.0, 1.0, 1.6, -3.0, 1e-40, 3e38, math.inf, math.nan], np.float32)
    ((keys, counts),) = occupied(near_counts(torch.from_numpy(values))[None])
    assert sum(counts) == 7
    from postmortem.sources.logs.captured import _histogram

    edges, filled = _histogram([keys.tolist(), counts.tolist()])
    assert filled.sum() == 7
    for low, high, n in zip(edges[:-1], edges[1:], filled, strict=True):
        inside = values[np.isfinite(values) & (values >= low) & (values < high)]
        if low > 0 and n:
            assert len(inside) == n, (low, high)


def test_figures_are_those_of_torch() -> None:
    torch.manual_seed(1)
    tensors = [torch.randn(7, 11), torch.zeros(5), torch.randn(5000) * 1e-3, torch.randn(4, 4).to(torch.bfloat16), torch.tensor([1.0, math.nan])]
    found = figures(tensors, frozenset({0, 2}))
    told = found.statistics()
    for n, tensor in enumerate(tensors[:4]):
        assert told["rms"][n] == pytest.approx(float(tensor.float().pow(2).mean().sqrt()), rel=1e-5)
        assert told["max"][n] == pytest.approx(float(tensor.float().abs().max()))
    assert told["zero_share"][:3] == [0.0, 1.0, 0.0]
    assert math.isnan(told["rms"][4])
    assert [sum(counts) for _, counts in found.histograms] == [77, 0, 5000, 0, 0]
    assert [len(p) for p in drawn([*tensors, torch.zeros(4_000_000)])] == [32, 5, 32, 16, 2, 2048]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_counting_on_an_accelerator_gives_what_counting_on_the_host_gives(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    tensor = torch.cat([torch.randn(20_000) * 10.0 ** torch.randint(-6, 4, (20_000,)), torch.tensor([math.nan, math.inf, -math.inf, 0.0])])
    tensor = tensor.to(dtype).reshape(4, -1).T
    tensors = [tensor, tensor[:2], torch.zeros((), dtype=dtype), torch.randn(600_000).to(dtype), tensor[1]]
    for one, far in zip(tensors, far_counts(tensors), strict=True):
        assert near_counts(one).tolist() == far.roll(512).tolist()
        assert far.sum() == one.numel()


def test_an_exception_is_recorded_with_the_last_batch(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="out of memory"):
        train(tmp_path, fail_at=33)
    run = read(tmp_path)
    last = run.events[-1]
    assert last.kind == EventKind.OUT_OF_MEMORY
    assert last.step == 34
    assert last.data["batch_train_std"] == pytest.approx(1.0, abs=0.2)
    assert last.data["frame"].startswith("test_recorder.py:")
    assert run.outcome == "crashed"
    verdict = postmortem.analyze(tmp_path).verdict
    assert (verdict.mode, verdict.cause) == ("crash", "out-of-memory")


def test_the_batch_of_a_nan_loss_is_recorded(tmp_path: Path) -> None:
    train(tmp_path, poison_at=45)
    bad = next(s for s in read(tmp_path).series if s.name == "data/non_finite")
    assert bad.values[bad.steps == 45].tolist() == [1.0]
    verdict = postmortem.analyze(tmp_path).verdict
    assert (verdict.mode, verdict.cause) == ("data-fault", "non-finite-inputs")


def test_a_repeated_batch_and_overlapping_splits(tmp_path: Path) -> None:
    x, y = torch.randn(16, 8), torch.zeros(16, dtype=torch.long)
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        for _ in range(30):
            recorder.batch(x, y)
            recorder.step(1.0)
        recorder.batch(x[:8], y[:8], split="val")
        recorder.step(1.0)
        recorder.batch(torch.randn(8, 8), y[:8], split="test")
    names = {s.name: s for s in read(tmp_path).series}
    assert names["data/duplicate_share"].values[-1] == 1.0
    assert names["data/split_overlap"].values.tolist() == [1.0, 0.0]
    assert names["data/largest_class_share"].values[-1] == 1.0
    assert "data/val_mean" in names


def test_epochs_are_no_repetition(tmp_path: Path) -> None:
    torch.manual_seed(0)
    data = torch.randn(160, 8)
    with postmortem.Recorder(tmp_path, every=5) as recorder:
        for epoch in range(4):
            for part in data.split(16):
                recorder.batch(part, epoch=epoch)
                recorder.step(1.0, epoch=epoch)
    assert next(s for s in read(tmp_path).series if s.name == "data/duplicate_share").values.max() == 0.0


def test_a_restart_writes_a_file_of_its_own(tmp_path: Path) -> None:
    train(tmp_path)
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.at(STEPS)
        for _ in range(20):
            recorder.step(0.5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["capture-0001.postmortem", "capture-0002.postmortem"]
    loss = next(s for s in read(tmp_path).series if s.name == "train/loss")
    assert loss.steps.tolist() == list(range(STEPS + 20))


def test_recording_never_stops_a_training(tmp_path: Path) -> None:
    recorder = postmortem.Recorder(tmp_path)
    os.close(recorder._file._descriptor)
    with pytest.warns(RuntimeWarning, match="records no more"):
        recorder.step(1.0)
    recorder.step(1.0)
    recorder.batch(torch.zeros(1))
    recorder._file._descriptor = -1
    recorder.close()


def test_training_is_the_same_with_and_without(tmp_path: Path) -> None:
    def weights(record: bool) -> list[torch.Tensor]:
        torch.manual_seed(7)
        model = nn.Sequential(nn.Linear(20, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 5))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorder = postmortem.Recorder(tmp_path, every=3) if record else None
        if recorder:
            recorder.watch(model, optimizer)
        for _ in range(20):
            x = torch.randn(8, 20)
            if recorder:
                recorder.batch(x, torch.zeros(8, dtype=torch.long))
            loss = model(x).pow(2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if recorder:
                recorder.step(loss)
        if recorder:
            recorder.close()
        assert not [m for m in model.modules() if m._forward_hooks]
        return [p.detach().clone() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(weights(record=True), weights(record=False), strict=True))


# --- a process that is killed, a file that is damaged ---------------------------------------------------------------

LOOP = """
import sys, postmortem
recorder = postmortem.Recorder(sys.argv[1])
step = 0
while True:
    recorder.step(1.0 / (step + 1))
    print(step, flush=True)
    step += 1
"""


def test_kill_loses_at_most_the_last_record(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", LOOP, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for _ in range(300):
        process.stdout.readline()
    os.kill(process.pid, signal.SIGKILL)
    told = process.stdout.read().split()
    process.wait(30)
    process.stdout.close()
    last = int(told[-1]) if told else 299  # the last step that the process said to be done
    run = read(tmp_path)
    loss = next(s for s in run.series if s.name == "train/loss")
    assert loss.steps[-1] >= last
    assert loss.steps.tolist() == list(range(len(loss)))
    assert np.allclose(loss.values, 1.0 / (loss.steps + 1))
    assert run.outcome == "running"


def test_every_cut_is_read_up_to_its_last_whole_record(tmp_path: Path) -> None:
    data = train(tmp_path / "whole", steps=12).read_bytes()
    ends = [i + 1 for i, b in enumerate(data) if b == 10]
    for cut in range(0, len(data), 97):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "capture-0001.postmortem").write_bytes(data[:cut])
        run = read(folder)
        whole = sum(end - 1 <= cut for end in ends)  # but for its line feed a record is whole
        status = str(run.sources[0].status) if run.sources else "skipped"
        assert status in (("read", "partial") if whole else ("failed", "skipped")), cut
        if cut not in ends and cut + 1 not in ends and whole:
            assert status == "partial"


def test_one_damaged_byte_loses_one_record(tmp_path: Path) -> None:
    path = train(tmp_path, steps=30)
    data = bytearray(path.read_bytes())
    lines = data.split(b"\n")
    victim = next(n for n, one in enumerate(lines) if b'"k":"steps","s":[9]' in one)
    at = sum(len(one) + 1 for one in lines[:victim]) + 30
    data[at] ^= 1
    path.write_bytes(data)
    run = read(tmp_path)
    loss = next(s for s in run.series if s.name == "train/loss")
    assert loss.steps.tolist() == [*range(9), *range(10, 30)]
    assert "1 damaged" in str(run.sources[0].detail)


@pytest.mark.parametrize(
    "record",
    [
        {"k": "steps", "s": 3, "v": []},
        {"k": "steps", "s": [1], "v": {"loss": "x"}},
        {"k": "steps", "s": ["nan"], "t": "x", "e": 4, "v": {"loss": [None, {}]}},
        {"k": "data", "s": None, "v": {"x": 1}},
        {"k": "data", "s": 1, "v": {"x": []}, "labels": {"a": 1, "nan": 2, "1": "inf"}},
        {"k": "layers", "s": 1, "what": "gradients", "names": [1, None], "v": {"rms": [1, 2, 3]}, "h": [[[5000], [1]], [[1], ["x"]], 7]},
        {"k": "layers", "s": 1, "what": [], "names": {}, "v": 0},
        {"k": "event", "kind": 4, "text": ["x"], "batch": "y"},
        {"k": "model", "facts": {"groups": [[]], "model": {"a": [1, {"b": 2}]}}},
        {"k": "start", "format": "postmortem-capture/1", "config": [1], "versions": 3, "git": None, "gpus": "many", "time": "inf"},
        {"k": ["x"]},
        {},
    ],
)
def test_a_record_of_another_shape_is_no_error(tmp_path: Path, record: dict) -> None:
    good = line({"k": "steps", "s": [0], "t": [1.0], "v": {"loss": [2.5]}})
    (tmp_path / "capture-0001.postmortem").write_bytes(line({"k": "start", "format": "postmortem-capture/1"}) + line(record) + good)
    run = read(tmp_path)
    assert str(run.sources[0].status) == "read"
    assert next(s for s in run.series if s.name == "train/loss").values[-1] == 2.5


def test_what_is_no_loss_ends_no_recording(tmp_path: Path) -> None:
    """Several losses are recorded as their mean, as tensors of several are."""
    given = [1.0, 2, True, np.float32(3), np.array([4.0]), np.array([5.0, 7.0]), torch.tensor([8.0, 10.0]), torch.tensor(9, dtype=torch.int8)]
    none = [None, "x", [1.0], {"loss": 1.0}, 1j, torch.tensor(1j), torch.empty(0), np.array(["x"])]
    with postmortem.Recorder(tmp_path) as recorder:
        for loss in (*given, *none, 10.0):
            recorder.step(loss)
    loss = next(s for s in read(tmp_path).series if s.name == "train/loss")
    assert dict(zip(loss.steps.tolist(), loss.values.tolist(), strict=True)) == {
        **dict(enumerate([1.0, 2.0, 1.0, 3.0, 4.0, 6.0, 9.0, 9.0])), len(given) + len(none): 10.0
    }  # fmt: skip


def steps_written(path: Path) -> list[int]:
    """Steps of each record of them."""
    return [len(json.loads(one[9:])["s"]) for one in path.read_bytes().splitlines() if b'"k":"steps"' in one]


def test_far_numbers_wait_and_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator that has to be waited for: nothing is fetched until those of several steps are."""
    monkeypatch.setattr("postmortem.capture.waiting._on_host", lambda tensor: False)
    with postmortem.Recorder(tmp_path, every=1000) as recorder:
        for step in range(1, 40):
            recorder.step(torch.tensor(float(step)), step=600 + step)
    loss = next(s for s in read(tmp_path).series if s.name == "train/loss")
    assert loss.values.tolist() == [float(s) for s in range(1, 40)]
    assert steps_written(recorder.path) == [MOST, MOST, MOST, MOST, 39 - 4 * MOST]


class Way:
    """An event of a way to the host that takes so many questions."""

    asked = waited = 0

    def __init__(self, long: int) -> None:
        self.left = long

    def query(self) -> bool:
        Way.asked += 1
        self.left -= 1
        return self.left < 0

    def synchronize(self) -> None:
        Way.waited += self.left > 0


@pytest.mark.parametrize(("long", "waited"), [(0, False), (3, False), (MOST - 1, False), (MOST + 1, True)])
def test_numbers_on_their_way_are_waited_for_only_when_as_many_again_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, long: int, *, waited: bool
) -> None:
    """As on CUDA. No step is missing or in another place, whatever the way takes."""
    monkeypatch.setattr("postmortem.capture.waiting._on_host", lambda tensor: False)
    monkeypatch.setattr("postmortem.capture.waiting.sent", lambda tensors: (torch.stack([t.float() for t in tensors]), Way(long)))
    monkeypatch.setattr(Way, "waited", 0)
    recorder = postmortem.Recorder(tmp_path, every=1000)
    for step in range(3 * MOST):
        recorder.step(torch.tensor(float(step)), step=700 + step, accuracy=0.5)  # none of which is looked at
        assert sum(steps_written(recorder.path)) >= step + 1 - 2 * MOST  # what a kill loses
    assert (Way.waited > 0) == waited
    recorder.close()
    loss = next(s for s in read(tmp_path).series if s.name == "train/loss")
    assert dict(zip(loss.steps, loss.values, strict=True)) == {700 + step: step for step in range(3 * MOST)}


def test_a_device_that_is_lost_costs_the_numbers_that_lay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(tensors: list[torch.Tensor]) -> None:
        raise RuntimeError("device-side assert triggered")

    monkeypatch.setattr("postmortem.capture.waiting._on_host", lambda tensor: False)
    monkeypatch.setattr("postmortem.capture.waiting.sent", lost)
    with postmortem.Recorder(tmp_path, every=1000) as recorder:
        for step in range(5):
            recorder.step(torch.tensor(1.0), lr=0.1 + step)
    found = {s.name: s for s in read(tmp_path).series}
    assert found["lr"].values.tolist() == [0.1 + step for step in range(5)]
    assert "train/loss" not in found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_records_nothing(tmp_path: Path) -> None:
    """A loader's worker, which has the recorder of its parent."""
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.step(1.0)
        before = recorder.path.read_bytes()
        if not (child := os.fork()):
            recorder.step(2.0)
            recorder.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert recorder.path.read_bytes() == before
        recorder.step(3.0)
    assert next(s for s in read(tmp_path).series if s.name == "train/loss").values.tolist() == [1.0, 3.0]


def test_importing_costs_nothing() -> None:
    code = "import sys, postmortem; postmortem.Recorder; print(sorted({'torch','transformers','keras','lightning','accelerate','numba'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_a_step_is_quick(tmp_path: Path) -> None:
    with postmortem.Recorder(tmp_path) as recorder:
        recorder.step(1.0)
        start = time.process_time()
        for _ in range(500):
            recorder.step(1.0)
        assert (time.process_time() - start) / 500 < 2e-3  # seconds; measured 4e-5 on an idle machine


def test_a_record_that_a_fast_writer_refuses_is_written_all_the_same(tmp_path: Path) -> None:
    """Half of a surrogate pair, a number beyond 64 bits, and an array in one record."""
    data = line({"k": "steps", "text": "\ud800", "big": 1 << 70, "a": np.arange(3, dtype=np.uint16)})
    assert data.endswith(b"}\n")
    assert b"[0,1,2]" in data
    assert b"[0,1,2]" in line({"a": np.arange(3, dtype=np.uint16)})
