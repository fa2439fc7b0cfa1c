"""One training on the CPU, with the mistakes that lie in its code. What it did comes back as a `Trace`; formats are for `write.py`."""

import contextlib
import copy
import math
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import torch
from torch import nn
from torch.nn import functional as fn

from tests.faults.nets import adapt, build
from tests.faults.plan import Plan, Row, Snapshot, Task, Trace
from tests.faults.schedule import rate
from tests.faults.tasks import make

USUAL = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


class Guarded(Exception):
    """The training script stopped by itself because the loss was not finite."""


def run(plan: Plan, start: int = 0) -> Trace:
    """Train. Another `start` gives the same data other initial weights, another order and other noise."""
    loop = prepared(plan, start)
    with watched(loop.trace):
        loop.fit(start)
    return loop.trace


def prepared(plan: Plan, start: int = 0) -> "Loop":
    """Data, model and optimizer, ready to train."""
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed + 7919 * start)
    task = make(plan)
    model = _pretrained(plan, task) if plan.pretrained else build(plan, task)
    _spoil_weights(plan, model)
    trace = Trace(plan, kind=task.kind, chance=task.chance, classes=task.outputs, train_size=len(task.x), val_size=len(task.x_val))
    trace.steps_per_epoch = max(1, math.ceil(len(task.x) / plan.batch_size))
    return Loop(plan, task, model, trace)


@contextlib.contextmanager
def watched(trace: Trace) -> Iterator[None]:
    """How the training within ended, and what it would have left on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        try:
            yield
        except Guarded:
            trace.ended = "guarded"
        except (Exception, KeyboardInterrupt):
            trace.ended = "raised"
            trace.stderr += traceback.format_exc()
        except SystemExit:  # Lightning's answer to Ctrl-C, which it logs itself
            trace.ended = "raised"
    for w in {str(w.message): w for w in caught if "target size" in str(w.message) or "lr_scheduler" in str(w.message)}.values():
        where = "/home/user/project/" + Path(w.filename).name if "faults" in w.filename else w.filename
        trace.stderr = warnings.formatwarning(w.message, w.category, where, w.lineno, "") + trace.stderr


@contextlib.contextmanager
def at_home(trace: Trace) -> Iterator[TextIO]:
    """Train within what the run leaves: its directory is the current one, and what is printed is its log, which is given."""
    with (
        (trace.left / "train.log").open("w") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        contextlib.chdir(trace.left),
        watched(trace),
    ):
        warnings.simplefilter("ignore")
        yield log


def _pretrained(plan: Plan, task: Task) -> nn.Module:
    """A model that learned before: the same task ("full"), or the same inputs with other answers ("narrow")."""
    other = task if plan.pretrained == "full" else replace(task, y=(task.y + 1) % task.outputs, y_val=(task.y_val + 1) % task.outputs)
    model = build(plan, task)
    before = replace(
        plan,
        pretrained=None,
        adapters=0,
        freeze_backbone=False,
        epochs=6,
        schedule="none",
        warmup_steps=0,
        lr=2e-3,
        optimizer="adam",
        wrong=(),
        resume_at=None,
    )
    Loop(
        before, other, model, Trace(before, kind=task.kind, chance=task.chance, classes=task.outputs, steps_per_epoch=len(task.x) // plan.batch_size)
    ).fit()
    if plan.pretrained == "narrow":
        model.head.reset_parameters()
    if plan.adapters:
        adapt(model, plan.adapters)
    elif plan.freeze_backbone:
        for name, p in model.named_parameters():
            p.requires_grad_(name.startswith("head"))
    return model


def _spoil_weights(plan: Plan, model: nn.Module) -> None:
    matrices = [(n, p) for n, p in model.named_parameters() if p.ndim >= 2]
    with torch.no_grad():
        if (factor := plan.has("init_scale")) is not None:
            for name, p in matrices:
                if factor > 1 or not name.startswith("head"):
                    p.mul_(factor)
        if plan.has("init_zero"):
            for _, p in matrices:
                p.zero_()
        if (value := plan.has("init_constant")) is not None:
            for _, p in matrices:
                p.fill_(value)
        if (bias := plan.has("bias_fill")) is not None:
            for name, p in model.named_parameters():
                if p.ndim == 1 and name.endswith("bias") and not name.startswith("head") and "norm" not in name and ".ln" not in name:
                    p.fill_(bias)
    if plan.has("frozen"):
        for name, p in model.named_parameters():
            if not name.startswith("head"):
                p.requires_grad_(False)
    if plan.has("detach"):
        model.head.register_forward_pre_hook(_detached)


def _detached(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(i.detach() for i in inputs)


def struck(plan: Plan, step: int, steps_per_epoch: int) -> str:
    """Raise what happens to the process at this step; the name of what happens to the batch instead, "" for nothing."""
    kind, share = plan.has("accident", ("", 0.0))
    if not kind or step != int(plan.epochs * steps_per_epoch * share):
        return ""
    match kind:
        case "interrupt":
            raise KeyboardInterrupt
        case "memory":
            raise torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 1.17 GiB. GPU 0 has a total capacity of 23.68 GiB of which 411.06 MiB is free. Process 2917 has 23.27 GiB memory in use. "
                "Of the allocated memory 21.64 GiB is allocated by PyTorch, and 1.20 GiB is reserved by PyTorch but unallocated."
            )
        case "file":
            Path("/home/user/data/shard_0071.npy").read_bytes()
        case "key":
            {"labels": step}["label"]
    return str(kind)


class Loop:
    def __init__(self, plan: Plan, task: Task, model: nn.Module, trace: Trace) -> None:
        self.plan, self.task, self.model, self.trace = plan, task, model, trace
        self.total = plan.epochs * trace.steps_per_epoch
        self.dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(plan.precision or "", torch.float32)
        if self.dtype is not torch.float32:
            model.to(self.dtype)
        trace.parameters = sum(p.numel() for p in model.parameters())
        trace.trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self.optimizer = self._optimizer()
        self.schedule_from = 0
        self.step = 0

    def _optimizer(self) -> torch.optim.Optimizer:
        plan, model = self.plan, self.model
        if plan.has("stale_optimizer"):
            model = copy.deepcopy(model)
        parameters = list(model.parameters())
        if plan.has("only_head") or plan.has("frozen") == "filtered" or plan.adapters or plan.freeze_backbone:
            parameters = list(model.head.parameters()) if plan.has("only_head") else [p for p in parameters if p.requires_grad]
        if plan.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay)
        return USUAL[plan.optimizer](parameters, lr=plan.lr, weight_decay=plan.weight_decay)

    def rate(self, step: int) -> float:
        return rate(self.plan, step - self.schedule_from, self.trace.steps_per_epoch)

    def loss(self, x: torch.Tensor, y: torch.Tensor, *, evaluating: bool = False) -> tuple[torch.Tensor, float]:
        """Loss of a batch and the share that is right (NaN where that means nothing)."""
        plan, kind = self.plan, self.task.kind
        if self.dtype is not torch.float32 and x.is_floating_point():
            x = x.to(self.dtype)
        if plan.has("constant_sample") is not None:
            x = (x - x.flatten(1).mean(1).view(-1, *[1] * (x.ndim - 1))) / x.flatten(1).std(1).view(-1, *[1] * (x.ndim - 1))
        if kind == "pairs":
            logits, y = self.model((x, y)), torch.arange(len(x))
        else:
            logits = self.model(x)
        if self.dtype is not torch.float32:
            y = y.to(self.dtype) if y.is_floating_point() else y
        if kind in ("regress", "vae"):
            if plan.has("broadcast") and not evaluating:
                y = y.flatten()
            loss = fn.mse_loss(logits, y.flatten(1) if kind == "vae" else y)
            if kind == "vae" and self.model.variational:
                loss = loss + 0.002 * self.model.kl
            return (-loss if plan.has("sign") and not evaluating else loss), math.nan
        if kind == "lm":
            logits, y = logits.flatten(0, 1), y.flatten()
        right = (logits.argmax(1) == y).float().mean().item()
        if plan.has("softmax_twice"):
            logits = logits.softmax(1)
        if plan.has("log_zero") and not evaluating:
            p = torch.sigmoid(logits * plan.has("log_zero"))
            target = fn.one_hot(y, logits.shape[1]).to(p.dtype)
            return -(target * p.log() + (1 - target) * (1 - p).log()).sum(1).mean(), right
        smoothing = 0.0 if evaluating else plan.label_smoothing
        loss = fn.cross_entropy(logits, y, label_smoothing=smoothing)
        return (-loss if plan.has("sign") and not evaluating else loss), right

    def fit(self, start: int = 0) -> None:
        plan, trace = self.plan, self.trace
        dice = torch.Generator().manual_seed(plan.seed + 3 + 7919 * start)
        if plan.has("save_initial", True) and plan.seed % 3 == 0:
            self.save(0)
        for epoch in range(1, plan.epochs + 1):
            if plan.resume_at == epoch:
                self.resume(epoch)
            self.epoch(epoch, dice)
            saves = max(1, plan.epochs // 4)
            if epoch % saves == 0 or epoch == plan.epochs:
                self.save(epoch)
            if plan.has("guard") and not math.isfinite(trace.curve("train_loss")[-1]):
                raise Guarded

    def resume(self, epoch: int) -> None:
        self.trace.note.append((self.step, f"Resuming from checkpoint of epoch {epoch - 1} (step {self.step})"))
        state = copy.deepcopy(self.optimizer.state_dict())
        self.optimizer = self._optimizer()
        if not self.plan.has("optimizer_lost"):
            self.optimizer.load_state_dict(state)
        if self.plan.has("schedule_lost"):
            self.schedule_from = self.step

    def epoch(self, epoch: int, dice: torch.Generator) -> None:
        plan, task, trace, model = self.plan, self.task, self.trace, self.model
        model.train()
        order = torch.arange(len(task.x)) if plan.has("sorted") or plan.has("same_batch") else torch.randperm(len(task.x), generator=dice)
        losses, rights, sizes = [], [], []
        for at in range(0, len(order), plan.batch_size):
            pick = order[at : at + plan.batch_size]
            if len(pick) < 2:
                continue
            x, y = task.x[pick], task.y[pick]
            x, y = self.accident(x, y)
            lr = self.rate(self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            if not plan.has("no_zero_grad"):
                self.optimizer.zero_grad()
            loss, right = self.loss(x, y)
            values = {"loss": loss.item(), "lr": lr}
            if loss.requires_grad:
                loss.backward()
            values["grad_norm"] = float(nn.utils.clip_grad_norm_(model.parameters(), plan.grad_clip or math.inf, foreach=False))
            if not plan.has("no_step"):
                self.optimizer.step()
            trace.rows.append(Row(self.step, epoch, values))
            losses.append(values["loss"])
            rights.append(right)
            sizes.append(len(pick))
            self.step += 1
        total = sum(sizes)
        row = {"train_loss": sum(a * b for a, b in zip(losses, sizes, strict=True)) / total, "lr": lr}
        if task.kind in ("class", "pairs"):
            row["train_acc"] = sum(a * b for a, b in zip(rights, sizes, strict=True)) / total
        trace.rows.append(Row(self.step, epoch, row | self.validate(), of_epoch=True))

    def validate(self) -> dict[str, float]:
        task = self.task
        self.model.eval()
        size = self.plan.batch_size if task.kind == "pairs" else 120
        losses, rights, sizes = [], [], []
        with torch.no_grad():
            for at in range(0, len(task.x_val) - (size - 1 if task.kind == "pairs" else 0), size):
                x, y = task.x_val[at : at + size], task.y_val[at : at + size]
                loss, right = self.loss(x, y, evaluating=True)
                losses.append(loss.item() * len(x))
                rights.append(right * len(x))
                sizes.append(len(x))
        out = {"val_loss": sum(losses) / sum(sizes)}
        return out if math.isnan(rights[0]) else out | {"val_acc": sum(rights) / sum(sizes)}

    def accident(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What happens at one step of the run."""
        plan = self.plan
        if (scale := plan.has("bad_batch")) is not None and self.step == int(self.total * 0.55):
            if self.task.kind == "regress":
                return x, y * scale
            return (x * scale, y) if x.is_floating_point() else (x, y[torch.randperm(len(y))])
        return (x[:, :-1], y) if struck(plan, self.step, self.trace.steps_per_epoch) == "shape" else (x, y)

    def save(self, epoch: int) -> None:
        # what the usual loops save: the model as it is, the optimizer's state, and the schedule's count
        self.trace.snapshots.append(
            Snapshot(
                self.step,
                epoch,
                copy.deepcopy(self.model),
                copy.deepcopy(self.optimizer.state_dict()),
                {"last_epoch": self.step - self.schedule_from, "base_lrs": [self.plan.lr], "_last_lr": [self.rate(max(0, self.step - 1))]},
            )
        )
