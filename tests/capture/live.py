"""Trainings with one planted fault each, logged as many scripts do, with the recorder beside the log or without it.

Run `python tests/capture/live.py [--device cuda] [--seed N] [FAULT …]`: trains each both ways and prints what is said of them, as a table.
"""

import argparse
import json
import math
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

import postmortem
from postmortem.model.diagnosis import Diagnosis

STEPS, EVALUATIONS, BATCH = 240, 8, 32
SAMPLES, FEATURES, CLASSES = 960, 20, 5

# fault → (modes, causes), any of which is right, that the recorder should bring out
FAULTS: dict[str, tuple[tuple[str, ...], tuple[str | None, ...]]] = {
    "none": (("healthy",), (None,)),
    "none-tokens": (("healthy",), (None,)),
    "shuffled-labels": (("underfitting", "overfitting"), ("wrong-labels",)),
    "unscaled": (("data-fault",), ("preprocessing",)),
    "zero": (("data-fault",), ("constant-inputs",)),
    "constant": (("data-fault",), ("constant-inputs",)),
    "nan": (("data-fault",), ("non-finite-inputs",)),
    "labels-out-of-range": (("data-fault",), ("out-of-range-labels",)),
    "constant-samples": (("data-fault",), ("constant-inputs",)),
    "few-copies": (("healthy",), (None,)),
    "duplicates": (("data-fault",), ("duplicate-samples",)),
    "sorted": (("oscillating-loss",), ("unshuffled-data",)),
    "repeated-batch": (("overfitting",), ("repeated-batch",)),
    "imbalance": (("validation-fault",), ("class-imbalance",)),
    "shifted-validation": (("validation-fault",), ("train-validation-shift",)),
    "detached": (("frozen-parameters",), ("detached-graph",)),
    "dead": (("dead-units",), ("bad-initialization",)),
    "killed": (("dead-units", "exploding-gradients"), ("learning-rate-too-high",)),
    "sigmoids": (("vanishing-gradients",), ("saturating-activations",)),
    "saturated": (("vanishing-gradients",), ("saturating-activations", "bad-initialization")),
    "wrong-optimizer": (("loss-not-decreasing",), ("missing-from-optimizer",)),
    "part-of-optimizer": (("frozen-parameters",), ("missing-from-optimizer",)),
    "no-step": (("loss-not-decreasing",), ("optimizer-idle",)),
    "order-restarted": (("resume-fault",), ("data-order-restarted",)),
}
HARMLESS = ("order-restarted",)  # such a resume costs nothing here: it is told as a minor finding, beside whatever else the training shows
SURE = 0.7  # of a cause that is named


class Net(nn.Module):
    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.act: nn.Module = nn.Sigmoid() if fault in ("sigmoids", "saturated") else nn.ReLU()
        self.embed = nn.EmbeddingBag(100, FEATURES) if fault == "none-tokens" else nn.Identity()
        self.first, self.last = nn.Linear(FEATURES, 64), nn.Linear(64, CLASSES)
        self.middle = nn.ModuleList(nn.Linear(64, 64) for _ in range({"sigmoids": 11, "saturated": 6}.get(fault, 1)))
        self.cut = fault == "detached"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.act(self.first(self.embed(x)))
        for layer in self.middle:
            hidden = self.act(layer(hidden))
        return self.last(hidden.detach() if self.cut else hidden)


@dataclass
class Data:
    x: torch.Tensor
    y: torch.Tensor
    held_out: torch.Tensor
    told: torch.Tensor
    ordered: bool = False  # never shuffled

    def to(self, device: str) -> "Data":
        return replace(self, **{n: getattr(self, n).to(device) for n in ("x", "y", "held_out", "told")})


def data(fault: str) -> Data:
    truth = torch.randn(FEATURES, CLASSES)
    x, held_out = torch.randn(SAMPLES, FEATURES), torch.randn(320, FEATURES)
    y, told = (x @ truth).argmax(1), (held_out @ truth).argmax(1)
    out = Data(x, y, held_out, told, ordered=fault in ("sorted", "order-restarted"))
    match fault:
        case "none-tokens":
            ids = torch.randint(0, 100, (SAMPLES + 320, 12))
            kind = ids.remainder(CLASSES).float().mean(1).mul(2.0).round().long().clamp(2, 6).sub(2)
            out = Data(ids[:SAMPLES], kind[:SAMPLES], ids[SAMPLES:], kind[SAMPLES:])
        case "shuffled-labels":
            out.y, out.told = y[torch.randperm(len(y))], told[torch.randperm(len(told))]
        case "unscaled":
            out.x, out.held_out = x * 200 + 100, held_out * 200 + 100
        case "zero" | "constant":
            value = float(fault == "constant")
            out.x, out.held_out = torch.full_like(x, value), torch.full_like(held_out, value)
        case "nan":
            x[700, 3] = math.nan
        case "labels-out-of-range":
            y[-40:] = CLASSES
        case "constant-samples":
            out.x, out.held_out = x[:, :1].expand(-1, FEATURES).clone(), held_out[:, :1].expand(-1, FEATURES).clone()
        case "few-copies":
            out.x[1::8], out.y[1::8] = x[::8], y[::8]
            out.ordered = True
        case "duplicates":
            out.x, out.y = x[:96].repeat(10, 1), y[:96].repeat(10)
            out.x, out.y = out.x.view(10, 96, -1).transpose(0, 1).reshape(SAMPLES, -1), out.y.view(10, 96).T.reshape(-1)
            out.ordered = True
        case "sorted":
            order = y.argsort()
            out.x, out.y = x[order], y[order]
        case "repeated-batch":
            out.x, out.y = x[:BATCH].repeat(SAMPLES // BATCH, 1), y[:BATCH].repeat(SAMPLES // BATCH)
            out.ordered = True
        case "imbalance":
            keep = torch.cat([torch.where(y == 0)[0].repeat(20), torch.where(y != 0)[0][:40]])
            keep = keep[torch.randperm(len(keep))[:SAMPLES]]
            out.x, out.y = x[keep] + 0.01 * torch.randn(len(keep), FEATURES), y[keep]
        case "shifted-validation":
            out.held_out = held_out * 0.1 + 4.0
    return out


def network(fault: str) -> Net:
    model = Net(fault)
    with torch.no_grad():
        if fault == "dead":
            model.first.bias.fill_(-100.0)
        if fault == "saturated":
            for layer in (model.first, *model.middle):
                layer.weight.mul_(100.0)
    return model


def optimizer_of(fault: str, model: Net) -> torch.optim.Optimizer:
    if fault == "wrong-optimizer":
        return torch.optim.AdamW(Net().to(model.last.bias.device).parameters(), lr=3e-3)
    if fault == "part-of-optimizer":
        return torch.optim.AdamW([model.last.bias], lr=3e-3)
    return torch.optim.AdamW(model.parameters(), lr=1.0 if fault == "killed" else 3e-3)


def train(folder: Path, fault: str, *, record: bool, every: int = 20, seed: int = 0, device: str = "cpu") -> None:
    """Writes `metrics.jsonl` and `config.json`, and a capture when `record`. What the training itself raises ends it."""
    torch.manual_seed(seed)
    given, model = data(fault).to(device), network(fault).to(device)
    optimizer = optimizer_of(fault, model)
    folder.mkdir(parents=True)
    rate = optimizer.param_groups[0]["lr"]
    config = {"model": "mlp", "num_classes": CLASSES, "optimizer": "adamw", "lr": rate, "batch_size": BATCH, "loss": "cross_entropy"}
    (folder / "config.json").write_text(json.dumps(config))
    first = STEPS // 2 + 5 if fault == "order-restarted" else STEPS
    with (folder / "metrics.jsonl").open("w") as log:
        order = torch.arange(len(given.x))
        for start, end in ((0, first), (first, STEPS)):
            if start == end:
                continue
            recorder = postmortem.Recorder(folder, every=every, classes=CLASSES) if record else None
            if recorder:
                recorder.watch(model, optimizer)
                recorder.at(start)
            try:
                _steps(range(start, end), given, order, model, optimizer, fault, rate, log, recorder)
            except (IndexError, RuntimeError) as error:  # labels out of range, on the host and on a GPU
                if recorder:
                    recorder.exception(error)
                    recorder.close("failed")
                (folder / "train.log").write_text(f"Traceback (most recent call last):\n{type(error).__name__}: {error}\n")
                return
            if recorder:
                recorder.close()


def _steps(steps, given, order, model, optimizer, fault, rate, log, recorder) -> None:
    began = steps.start
    for step in steps:
        at = (step - began) * BATCH % len(given.x)  # a resumed run begins its data anew, as most scripts do
        if at == 0 and not given.ordered:
            order = torch.randperm(len(given.x))
        inputs, labels = given.x[order[at : at + BATCH]], given.y[order[at : at + BATCH]]
        epoch = step * BATCH / len(given.x)
        if recorder:
            recorder.batch(inputs, labels, epoch=math.floor(epoch))
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        if fault != "no-step":
            optimizer.step()
        line = {"step": step, "train_loss": loss.item(), "lr": rate}
        if recorder:
            recorder.step(loss, epoch=epoch)
        if step % (STEPS // EVALUATIONS) == STEPS // EVALUATIONS - 1:
            model.eval()
            with torch.no_grad():
                out = model(given.held_out)
            model.train()
            line["val_loss"] = nn.functional.cross_entropy(out, given.told).item()
            line["val_accuracy"] = (out.argmax(1) == given.told).float().mean().item()
            if recorder:
                recorder.batch(given.held_out[:160], given.told[:160], split="val")
                recorder.log(val_loss=line["val_loss"], val_accuracy=line["val_accuracy"])
        log.write(json.dumps(line) + "\n")


def right(fault: str, diagnosis: Diagnosis) -> bool:
    """Whether the planted fault is named: by the verdict, or by a finding where it does no harm."""
    modes, causes = FAULTS[fault]
    verdict = diagnosis.verdict
    if fault in HARMLESS:
        found = diagnosis.finding(modes[0])
        return found.status == "present" and found.causes[0].cause in causes and (found.causes[0].confidence or 0.0) > SURE
    return verdict.mode in modes and verdict.cause in causes


def told(diagnosis: Diagnosis) -> str:
    """The verdict, and what else is minor."""
    verdict = diagnosis.verdict
    minor = [f"{f.mode} / {f.causes[0].cause}" for f in diagnosis.findings if f.status == "present" and f.severity == "minor" and f.causes]
    return "; ".join([f"{verdict.mode} / {verdict.cause or '–'}", *(f"minor: {m}" for m in minor)])


def apart(folder: Path, fault: str, **how) -> None:
    """`train` in a process of its own: labels out of range end every later call of a GPU in theirs."""
    process = multiprocessing.get_context("spawn").Process(target=train, args=(folder, fault), kwargs=how)
    process.start()
    process.join()


def compare(faults: Sequence[str], trained: Callable[[Path, str, bool], None], hit: Callable[[str, Diagnosis], bool]) -> None:
    """Train each, (run, fault, record), without the recorder and with it, and print what is said of them, as a table."""
    torch.set_num_threads(1)
    hits = [0, 0]
    print("| planted fault | log alone | with the recorder |\n| --- | --- | --- |")
    for fault in faults:
        cells = []
        for n, record in enumerate((False, True)):
            with tempfile.TemporaryDirectory() as folder:
                trained(Path(folder) / "run", fault, record)  # as the callable is declared
                diagnosis = postmortem.analyze(Path(folder) / "run", with_exhibits=False)
            hits[n] += hit(fault, diagnosis)
            cells.append(f"{told(diagnosis)}{' ✓' if hit(fault, diagnosis) else ''}")
        print(f"| {fault} | {cells[0]} | {cells[1]} |", flush=True)
    print(f"\n{hits[0]} of {len(faults)} by the log alone, {hits[1]} with the recorder")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("faults", nargs="*", default=list(FAULTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    def trained(run: Path, fault: str, record: bool) -> None:
        alone = given.device != "cpu" and fault == "labels-out-of-range"
        (apart if alone else train)(run, fault, record=record, seed=given.seed, device=given.device)

    compare(given.faults, trained, right)


if __name__ == "__main__":
    main()
