"""`postmortem inspect`: the tensors of a checkpoint."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from postmortem.cli.text import plain
from postmortem.errors import NothingReadable, UsageError
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.model.codec import encode
from postmortem.model.run import Run
from postmortem.model.tensors import CheckpointStats, ModelFacts, OptimizerFacts, TensorStats, WeightSummary
from postmortem.sources import read_run
from postmortem.supervision import doing

DECAYED = 0.5  # share of a gradient's square that decay alone makes up
MOST_RATES = 4
MOST_NAMES = 8
_WHOSE = {
    "saved": "",
    "matched": "",
    "ambiguous": "whose memory is whose is a guess where tensors share a shape",
    "no": "whose memory is whose cannot be told",
}
LEAST_HEAD = 4  # rows; two that are alike are no head


def inspect_checkpoint(path: str, *, as_json: bool) -> None:
    """Print a line per tensor. Raises `UsageError` and `NothingReadable`."""
    if not Path(path).exists():
        raise UsageError(f"there is no {path}")
    run = read_run([Path(path)], progress=lambda what, _: doing(what))
    if not run.checkpoints:
        why = next((str(s.detail) for s in run.sources if s.detail is not None), "no reader knows this format")
        raise NothingReadable(f"no checkpoint could be read there: {why}")
    stats, summary, model = measure_checkpoints(run, lambda what, _: doing(what))
    if as_json:
        found = {"model": encode(model), "weights": encode(summary), "checkpoints": [encode(s) for s in stats]}
        print(json.dumps(found, indent=1, allow_nan=False))  # noqa: T201
        return
    console = Console(highlight=False)
    for checkpoint in stats:
        _print(checkpoint, run, console)
    for line in (*_outline(model), *_over_all(summary)):
        console.print(Text(line), soft_wrap=True)


def _outline(model: ModelFacts) -> Iterator[str]:
    """What names and shapes tell of the model."""
    if model.parameters is None:
        return
    part = "" if model.trainable is None else ", all trainable" if model.trainable == model.parameters else f", {model.trainable:,} of them trainable"
    parts = [f"{model.parameters:,} parameters{part}"]
    if model.heads:
        keys = f" ({model.key_heads} of keys)" if model.key_heads not in (None, model.heads) else ""
        size = f" of {model.head_size}" if model.head_size else ""
        parts.append(f"{model.heads} heads{keys}{size} (by {model.heads_told_by})")
    elif model.head_size:
        parts.append(f"heads of {model.head_size} (by {model.heads_told_by})")
    if model.head is not None:
        parts.append(
            f"output layer {model.head}"
            + (f" with {model.outputs} outputs" if model.outputs else "")
            + (", the embedding again" if model.tied else "")
        )
    parts += ["adapters"] * model.adapters
    yield plain(f"model: {', '.join(filter(None, (model.architecture, *parts)))}")
    for name, (count, trainable) in model.modules.items() if len(model.modules) > 1 else ():
        yield plain(f"  {name}: {count:,}" + (f", {trainable:,} trainable" if trainable is not None and trainable != count else ""))


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
    for line in asides(checkpoint):
        console.print(Text(line), soft_wrap=True)
    rms = {g.name: g.rms for g in checkpoint.gradients}
    names = [plain(t.name) for t in checkpoint.tensors]
    rows = [_row(t, rms.get(t.name)) for t in checkpoint.tensors]
    lines = tensor_lines(names, rows, console.width if console.is_terminal else None)
    console.print(Text("\n".join(lines)), soft_wrap=True)  # at once: five times as quick as one after another


def asides(checkpoint: CheckpointStats) -> Iterator[str]:
    """What is known of the checkpoint as a whole."""
    if checkpoint.unread:
        more = ", …" if len(checkpoint.unread) > MOST_NAMES else ""
        yield plain(f"not measured, for their bytes are missing or no numbers: {', '.join(checkpoint.unread[:MOST_NAMES])}{more}")
    if checkpoint.optimizer is not None:
        yield plain(_optimizer(checkpoint.optimizer))
    rates = [u.effective_rate for u in checkpoint.updates if u.effective_rate is not None]
    if rates:
        since = next((f" since step {u.from_step:g}" for u in checkpoint.updates if u.from_step is not None), "")
        yield f"effective learning rate{since}: {median(rates):.2g} (median over {len(rates)} tensors, {min(rates):.2g} to {max(rates):.2g})"
    yield from _movement(checkpoint)
    yield from _gradients(checkpoint)
    yield from _rows(checkpoint)
    if checkpoint.prior is not None:
        labels = f", {checkpoint.prior.from_labels:.3f} nats from the training labels" if checkpoint.prior.from_labels is not None else ""
        yield f"output bias: its softmax is {checkpoint.prior.from_uniform:.3f} nats from uniform over {checkpoint.prior.outputs} outputs{labels}"


def _optimizer(facts: OptimizerFacts) -> str:
    rates = sorted(set(facts.learning_rates))
    parts = [
        facts.kind or "of unknown kind",
        f"{facts.step:g} steps" if facts.step is not None else "",
        f"learning rate {', '.join(f'{r:g}' for r in rates[:MOST_RATES])}{', …' if len(rates) > MOST_RATES else ''}" if rates else "",
        f"{len(facts.stateless)} of its parameters have no state" if facts.stateless else "",
        f"{len(facts.absent)} tensors that could learn are not in it" if facts.absent else "",
        _WHOSE[facts.names_known] if facts.has_state else "",
    ]
    return f"optimizer: {', '.join(filter(None, parts))}"


def _movement(checkpoint: CheckpointStats) -> Iterator[str]:
    """How far the tensors moved since the checkpoint before."""
    moved = [u for u in checkpoint.updates if not u.identical and math.isfinite(u.relative_change)]
    if not moved:
        return
    since = "" if moved[0].from_step is None else f" since step {moved[0].from_step:g}"
    changes = [u.relative_change for u in moved]
    each = [u.change_per_step for u in moved if u.change_per_step is not None]
    growth = [u.growth_per_step for u in moved if u.growth_per_step is not None]
    parts = [f"moved{since} by {median(changes):.2g} of their norm (median over {len(moved)} tensors, {min(changes):.2g} to {max(changes):.2g})"]
    if each:
        parts.append(f"update-to-weight ratio at least {median(each):.2g} a step")
    if growth:
        grown = median(growth) * 1000
        parts.append(f"norms {math.expm1(grown):+.2%} per 1,000 steps" if grown < 1 else f"norms × {math.exp(min(grown, 700)):.3g} per 1,000 steps")
    turned = [u.cosine for u in moved if u.cosine is not None]
    if turned:
        parts.append(f"cosine with the change before {median(turned):.2f}")
    still = len(checkpoint.updates) - sum(not u.identical for u in checkpoint.updates)
    if still:
        parts.append(f"{still} tensors bit-identical")
    yield ", ".join(parts)


def _gradients(checkpoint: CheckpointStats) -> Iterator[str]:
    """How much of the gradients is signal, and how much of them the optimizer's ε hides or decay makes up."""
    ratios = [g.mean_ratio for g in checkpoint.gradients if g.mean_ratio is not None and math.isfinite(g.mean_ratio)]
    hidden = {g.name: g.below_epsilon for g in checkpoint.gradients if g.below_epsilon}
    decay = {g.name: g.decay_share for g in checkpoint.gradients if g.decay_share and g.decay_share > DECAYED}
    parts = []
    if ratios:
        each = f"median over {len(ratios)} tensors, {min(ratios):.2g} to {max(ratios):.2g}"
        parts.append(f"mean over RMS {median(ratios):.2g} ({each}; near 1 steps agree, above it they grow)")
    if hidden:
        most = max(hidden, key=lambda name: hidden[name])
        parts.append(f"√v below ε in {len(hidden)} tensors, most in {plain(most)} ({hidden[most]:.1%})")
    if decay:
        parts.append(f"mostly weight decay in {len(decay)} tensors")
    if parts:
        yield f"gradients: {', '.join(parts)}"


def _rows(checkpoint: CheckpointStats) -> Iterator[str]:
    """Rows that are zero, that equal one another, that never moved."""
    still = {u.name: u.still_rows for u in checkpoint.updates if not u.identical and u.still_rows}
    for t in checkpoint.tensors:
        said = []
        if t.dead_rows:
            said.append(f"{t.dead_rows:.1%} of its rows are zero")
        if t.identical_rows:
            said.append(f"{t.identical_rows:.1%} equal another row")
        if t.twin_heads:
            said.append(f"{t.twin_heads} of its {t.heads} heads equal another one")
        elif t.heads is None and t.repeated_rows and t.repeated_rows >= LEAST_HEAD:
            said.append(f"{t.repeated_rows} rows stand there once more in the same order, as duplicate heads do")
        if t.name in still:
            said.append(f"{still[t.name]:.1%} did not move")
        if said:
            yield plain(f"{t.name}: {', '.join(said)}")


def _over_all(summary: WeightSummary) -> Iterator[str]:
    """What only all checkpoints together tell, and of the last one what its kind of tensor tells."""
    for name, (first, last) in summary.finite_in.items():
        yield plain(f"{name}: finite in {first}" if first == last else f"{name}: finite from {first} to {last}")
    if summary.lowest_norm_gain is not None and summary.highest_norm_gain is not None:
        yield f"normalisation gains: medians from {summary.lowest_norm_gain:.3g} to {summary.highest_norm_gain:.3g}"
    if summary.memory_lag is not None:
        yield f"gradients since the save before: {10**summary.memory_lag:.3g} times what the optimizer's second moments say (median over layers)"
    if summary.running_var_off is not None:
        yield f"running variances of batch normalisation: a factor of {math.exp(summary.running_var_off):.3g} from 1 (median)"


_HEADS = ("shape", "dtype", "mean", "std", "min", "max", "zero", "NaN/Inf", "grad RMS")


def _row(tensor: TensorStats, gradient: float | None) -> tuple[str, ...]:
    return (
        "×".join(map(str, tensor.shape)) or "()",
        tensor.dtype,
        *(f"{value:.3g}" for value in (tensor.mean, tensor.std, tensor.low, tensor.high)),
        f"{tensor.zero / tensor.count:.0%}" if tensor.count else "",
        str(tensor.non_finite or ""),
        f"{gradient:.2g}" if gradient is not None else "",
    )


def tensor_lines(names: Sequence[str], rows: Sequence[tuple[str, ...]], width: int | None) -> Iterator[str]:
    """A line per tensor; where that is wider than `width` (None: no limit), the name above its figures."""
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    figures = [
        "  ".join(cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))) for row in (_HEADS, *rows)
    ]
    longest = max((cell_len(name) for name in names), default=0)
    beside = width is None or max(longest, 6) + 2 + len(figures[0]) <= width
    for name, figure in zip(("tensor", *names), figures, strict=True):
        yield f"{set_cell_size(name, max(longest, 6))}  {figure}".rstrip() if beside else f"{name}\n  {figure}".rstrip()
