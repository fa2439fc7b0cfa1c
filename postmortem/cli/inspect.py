"""`postmortem inspect`: the tensors of a checkpoint."""

import json
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from postmortem.cli.text import plain
from postmortem.errors import NothingReadable, UsageError
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.codec import encode
from postmortem.model.evidence import CheckpointStats
from postmortem.model.run import Run
from postmortem.sources import read_run


def inspect_checkpoint(path: str, *, as_json: bool) -> None:
    """Print a line per tensor. Raises `UsageError` and `NothingReadable`."""
    if not Path(path).exists():
        raise UsageError(f"there is no {path}")
    run = read_run([Path(path)])
    if not run.checkpoints:
        why = next((str(s.detail) for s in run.sources if s.detail is not None), "no reader knows this format")
        raise NothingReadable(f"no checkpoint could be read there: {why}")
    stats, _, model = measure_checkpoints(run)
    if as_json:
        print(json.dumps({"model": encode(model), "checkpoints": [encode(s) for s in stats]}, indent=1, allow_nan=False))  # noqa: T201
        return
    console = Console(highlight=False)
    for checkpoint in stats:
        _print(checkpoint, run, console)


def _print(checkpoint: CheckpointStats, run: Run, console: Console) -> None:
    saved = next((c for c in run.checkpoints if c.path == checkpoint.path), None)
    parameters = sum(t.count for t in checkpoint.tensors)
    console.print(Text(plain(f"{checkpoint.path}: {len(checkpoint.tensors)} tensors, {parameters:,} elements, {saved.format if saved else ''}")))
    if saved is not None and saved.detail is not None:
        console.print(Text(plain(str(saved.detail))))
    if saved is not None and saved.refused:
        console.print(Text(plain("refused: " + ", ".join(saved.refused))))
    if checkpoint.optimizer is not None and checkpoint.optimizer.unmeasured is not None:
        console.print(Text(plain(f"gradients not measured: {checkpoint.optimizer.unmeasured}")))
    rms = {g.name: g.rms for g in checkpoint.gradients}
    table = Table(box=None, pad_edge=False)
    for name in ("tensor", "shape", "dtype", "mean", "std", "min", "max", "zero", "NaN/Inf", "grad RMS"):
        table.add_column(name, justify="left" if name in ("tensor", "shape", "dtype") else "right", overflow="fold")
    for t in checkpoint.tensors:
        gradient = f"{rms[t.name]:.2g}" if t.name in rms else ""
        zero = f"{t.zero / t.count:.0%}" if t.count else ""
        table.add_row(
            Text(plain(t.name)),
            "×".join(map(str, t.shape)) or "()",
            t.dtype,
            f"{t.mean:.3g}",
            f"{t.std:.3g}",
            f"{t.low:.3g}",
            f"{t.high:.3g}",
            zero,
            str(t.non_finite or ""),
            gradient,
        )
    console.print(table)
