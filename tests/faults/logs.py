"""Rows as logs: text of several habits, and files of metrics."""

import csv
import io
import json
import math
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.faults.configured import settings
from tests.faults.plan import Row, Trace
from tests.faults.style import Style

START = 1_730_000_000.0  # seconds since 1970; logs have a clock of their own


def _kept(trace: Trace, style: Style) -> list[Row]:
    """The rows that get logged, with the values that get logged."""
    out = []
    rows = trace.rows
    if (cut := trace.plan.has("cut")) is not None:
        rows = rows[: int(len(rows) * cut)]
    if trace.plan.has("truncate") is not None:  # the process died while it wrote the last checkpoint
        rows = [r for r in rows if r.step <= trace.snapshots[-2].step + trace.steps_per_epoch]
    for row in rows:
        if not row.of_epoch and (style.every == 0 or row.step % style.every):
            continue
        values = {k: v for k, v in row.values.items() if (k != "lr" or style.rate) and (k != "grad_norm" or style.norm)}
        out.append(with_values(row, values))
    return out


def with_values(row: Row, values: dict[str, float]) -> Row:
    return Row(row.step, row.epoch, values, row.of_epoch)


def _clock(step: int) -> float:
    return START + step * 0.21


def _number(name: str, value: float, digits: int) -> str:
    return f"{value:.2e}" if name == "lr" else f"{value:.{digits}f}" if not math.isfinite(value) or abs(value) < 1e6 else f"{value:.{digits}e}"


def header(trace: Trace, style: Style) -> str:
    lines = []
    if style.configuration == "printed":
        lines.append("Namespace(" + ", ".join(f"{k}={v!r}" for k, v in settings(trace.plan, "learning_rate").items()) + ")")
        lines.append(f"model parameters: {trace.parameters} ({trace.trainable} trainable)")
    return "".join(line + "\n" for line in lines)


def text_log(trace: Trace, style: Style, dice: random.Random) -> str:
    out = io.StringIO()
    out.write(header(trace, style))
    notes = list(trace.note)
    columns: list[str] = []
    rows = _kept(trace, style)
    epochs, steps = trace.plan.epochs, max(1, trace.steps_per_epoch)
    for row in rows:
        while notes and notes[0][0] <= row.step and not row.of_epoch:
            out.write(notes.pop(0)[1] + "\n")
        v = {k: _number(k, x, style.digits) for k, x in row.values.items()}
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(_clock(row.step)))
        match style.log:
            case "progress":
                if row.of_epoch:
                    out.write(f"\nepoch {row.epoch} finished: " + ", ".join(f"{k}={x}" for k, x in v.items()) + "\n")
                else:
                    at = row.step % steps + 1
                    bar = "█" * (at * 10 // steps)
                    out.write(
                        f"\rEpoch {row.epoch}/{epochs}: {at * 100 // steps:3d}%|{bar:10}| {at}/{steps} [00:{at // 5:02d}<00:{(steps - at) // 5:02d},  4.76it/s, "
                        + ", ".join(f"{k}={x}" for k, x in v.items())
                        + "]"
                    )
            case "logging":
                kind = f"Validation epoch {row.epoch}" if row.of_epoch else f"epoch {row.epoch} step {row.step}"
                out.write(f"{stamp},{row.step * 7 % 1000:03d} - trainer - INFO - {kind} - " + " ".join(f"{k}: {x}" for k, x in v.items()) + "\n")
            case "print":
                start = f"[{row.epoch:3d}/{epochs}]" if row.of_epoch else f"[{row.epoch}, {row.step + 1:5d}]"
                out.write(f"{start} " + " | ".join(f"{k.replace('_', ' ') if row.of_epoch else k} {x}" for k, x in v.items()) + "\n")
            case "table":
                if not columns:
                    columns = list(v)
                    out.write("  ".join(c.rjust(10) for c in ["epoch", "step", *columns]) + "\n")
                if row.of_epoch or "val_loss" not in columns:
                    out.write("  ".join(x.rjust(10) for x in [str(row.epoch), str(row.step), *(v.get(c, "-") for c in columns)]) + "\n")
            case "dicts":
                names = {"lr": "learning_rate", "val_loss": "eval_loss", "val_acc": "eval_accuracy"}
                kept = {names.get(k, k): x for k, x in row.values.items() if not (row.of_epoch and k in ("lr", "train_loss", "train_acc"))}
                out.write(str({**kept, "epoch": round(row.step / steps, 2)}) + "\n")
            case "nlp":
                kind = "| valid | " if row.of_epoch else "| train | "
                out.write(f"{stamp} {kind}epoch {row.epoch:03d} | step {row.step} | " + " | ".join(f"{k} {x}" for k, x in v.items()) + "\n")
    text = out.getvalue()
    if trace.plan.has("cut") is not None:
        return text[: -dice.randint(6, 25)]
    return text + (dice.choice(["done.\n", "Training complete\n", ""]) if trace.ended == "done" and trace.plan.has("truncate") is None else "")


def _csv(trace: Trace, style: Style, directory: Path) -> None:
    rows = [r for r in _kept(trace, style) if r.of_epoch or style.every]
    names = list(dict.fromkeys(k for r in rows for k in r.values))
    with (directory / "metrics.csv").open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["epoch", "step", *names])
        for r in rows:
            writer.writerow([r.epoch, r.step, *(r.values.get(n, "") for n in names)])
    _cut(trace, directory / "metrics.csv")


def _jsonl(trace: Trace, style: Style, directory: Path) -> None:
    path = directory / "metrics.jsonl"
    path.write_text(
        "".join(json.dumps({"step": r.step, "epoch": r.epoch, **r.values, "time": round(_clock(r.step), 2)}) + "\n" for r in _kept(trace, style))
    )
    _cut(trace, path)


def _cut(trace: Trace, path: Path) -> None:
    """A process that was killed leaves half a line."""
    if trace.plan.has("cut") is not None:
        path.write_bytes(path.read_bytes()[:-11])


def _tensorboard(trace: Trace, style: Style, directory: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(directory / "tb"))
    names = {"loss": "train/loss", "train_loss": "epoch/train_loss", "val_loss": "val/loss", "val_acc": "val/accuracy", "train_acc": "train/accuracy"}
    for r in _kept(trace, style):
        for k, v in r.values.items():
            writer.add_scalar(names.get(k, k), v, r.step, walltime=_clock(r.step))
    writer.close()


def _log_history(trace: Trace, style: Style) -> list[dict[str, Any]]:
    out = []
    for r in _kept(trace, style if style.every else replace(style, every=10)):
        at = {"epoch": round(r.step / max(1, trace.steps_per_epoch), 3), "step": r.step + (not r.of_epoch)}
        if r.of_epoch and "val_loss" not in r.values:
            continue
        names = {"lr": "learning_rate", "val_loss": "eval_loss", "val_acc": "eval_accuracy"}
        out.append({names.get(k, k): v for k, v in r.values.items() if not (r.of_epoch and k in ("train_loss", "train_acc", "lr"))} | at)
    return out


def write_trainer_state(trace: Trace, style: Style, directory: Path, upto: int | None = None) -> None:
    history = [h for h in _log_history(trace, style) if upto is None or h["step"] <= upto]
    last = history[-1]["step"] if history else 0
    state = {
        "best_metric": None,
        "best_model_checkpoint": None,
        "epoch": history[-1]["epoch"] if history else 0,
        "global_step": last,
        "is_local_process_zero": True,
        "log_history": history,
        "logging_steps": style.every or 10,
        "max_steps": trace.plan.epochs * trace.steps_per_epoch,
        "num_train_epochs": trace.plan.epochs,
        "train_batch_size": trace.plan.batch_size,
    }
    (directory / "trainer_state.json").write_text(json.dumps(state, indent=2))


def _lightning(trace: Trace, style: Style, directory: Path) -> None:
    place = directory / "lightning_logs" / "version_0"
    place.mkdir(parents=True)
    rows = []
    for r in _kept(trace, style):
        at = {"epoch": r.epoch - 1, "step": max(0, r.step - 1) if r.of_epoch else r.step}
        names = {"loss": "train_loss_step", "train_loss": "train_loss_epoch", "lr": "lr-Optimizer"}
        values = {names.get(k, k): v for k, v in r.values.items()}
        if r.of_epoch:  # validation is written first, then the epoch's means
            rows.append(at | {k: v for k, v in values.items() if k.startswith("val")})
            rows.append(at | {k: v for k, v in values.items() if k.startswith("train")})
        else:
            rows.append(at | values)
    names = sorted({k for r in rows for k in r})
    with (place / "metrics.csv").open("w", newline="") as f:
        writer = csv.DictWriter(f, names)
        writer.writeheader()
        writer.writerows(r for r in rows if len(r) > 2)
    _cut(trace, place / "metrics.csv")
    (place / "hparams.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in settings(trace.plan, "lr").items()))


def _wandb(trace: Trace, style: Style, directory: Path) -> None:
    import wandb

    quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, x_disable_meta=True)
    run = wandb.init(project="training", dir=str(directory), mode="offline", config=settings(trace.plan, "lr"), settings=quiet)
    names = {"loss": "train/loss", "train_loss": "train/loss_epoch", "val_loss": "val/loss", "val_acc": "val/accuracy", "train_acc": "train/accuracy"}
    for r in _kept(trace, style):
        run.log({"epoch": r.epoch, **{names.get(k, k): v for k, v in r.values.items()}}, step=r.step)
    run.finish(exit_code=int(trace.ended != "done" or trace.plan.has("cut") is not None))


def _mlflow(trace: Trace, style: Style, directory: Path) -> None:
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    client = mlflow.MlflowClient((directory.resolve() / "mlruns").as_uri())
    run = client.create_run(client.create_experiment("training")).info.run_id
    for k, v in settings(trace.plan, "lr").items():
        client.log_param(run, k, v)
    for r in _kept(trace, style):
        for k, v in r.values.items():
            client.log_metric(run, k, v, int(_clock(r.step) * 1000), r.step)
    client.set_terminated(run, "RUNNING" if trace.plan.has("cut") is not None else "FINISHED" if trace.ended == "done" else "FAILED")


FILE_WRITERS = {
    "csv": _csv,
    "jsonl": _jsonl,
    "tensorboard": _tensorboard,
    "trainer_state": write_trainer_state,
    "lightning": _lightning,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
