"""What plots and tables are drawn from, taken out of the evidence: nothing here is measured anew."""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from postmortem.measure.decimate import keep_index
from postmortem.measure.smooth import axis, moving_mean, smooth
from postmortem.model.curves import CurveStats
from postmortem.model.evidence import Evidence
from postmortem.model.exhibits import CurveExhibit, DepthExhibit, DistributionExhibit, Exhibits, HeatmapExhibit, Level, Mark, TensorRow
from postmortem.model.run import EventKind, Run, Series
from postmortem.model.sentence import say
from postmortem.model.tensors import CheckpointStats, Role, TensorStats

MOST_CURVES = 16
MOST_LAYERS = 200
MOST_COLUMNS = 60
MOST_ROWS = 1000
MOST_DISTRIBUTIONS = 24
MOST_SPIKES = 12
MOST_MARKS = 200
BINS = 80
NOISY = 0.01  # noise over the range of the smooth: below, a smoothed line adds nothing
FEWEST_SMOOTHED = 30
APART = 0.1  # ln(validation / train) at the end that is worth a mark
PER_CENT = 1.5  # highest value from which on a share is one of a hundred

# The order in which curves are shown; the rest follow as logged.
ORDER = (
    *("train/loss", "val/loss", "train/accuracy", "val/accuracy", "grad_norm", "lr", "loss_scale"),
    *("train/perplexity", "val/perplexity", "train/error", "val/error", "reward", "step_time", "data_time", "throughput"),
)


def exhibits(run: Run, evidence: Evidence, marked: Sequence[Mark] = ()) -> Exhibits:
    """Everything to draw of the last attempt. `marked` comes from `marks`, once the onset is known."""
    shares = _as_shares(run.series)
    return Exhibits(
        curves=(*(_curve(shares.get(s.name, s), evidence.curve(s.name), len(run.earlier)) for s in _shown(run.series)), *_saved_rates(run, evidence)),
        marks=tuple(marked),
        levels=_levels(evidence, shares),
        heatmaps=_heatmaps(evidence.checkpoints),
        distributions=_distributions(evidence),
        depths=_depths(evidence),
        tensors=_rows(evidence.checkpoints),
    )


# --- curves ---------------------------------------------------------------------------------------------------------


def _shown(series: Iterable[Series]) -> list[Series]:
    rank = {name: at for at, name in enumerate(ORDER)}
    named = [s for s in series if len(s) and s.name != "epoch"]
    named.sort(key=lambda s: (rank.get(s.name, len(ORDER) + s.name.startswith("other/")), s.name))
    return named[:MOST_CURVES]


def _as_shares(series: Iterable[Series]) -> dict[str, Series]:
    """Accuracies in per cent as shares, where others of the same plot are shares: a progress bar prints `acc=97.6` beside `Acc: 97.60%`."""
    accuracies = [s for s in series if s.name.split(".")[0].endswith("/accuracy")]
    in_hundreds = [s for s in accuracies if np.any(s.values > PER_CENT)]
    return {s.name: replace(s, values=s.values / 100) for s in in_hundreds} if len(in_hundreds) < len(accuracies) else {}


def _curve(series: Series, stats: CurveStats | None, attempt: int) -> CurveExhibit:
    index = keep_index(series.values)
    steps = axis(series)
    values = series.values.copy()
    if stats is not None and stats.non_finite is not None and stats.non_finite.hidden:
        values[(steps >= stats.non_finite.first_step) & (values == 0)] = math.nan
    line: tuple[float, ...] = ()
    keep = np.isfinite(values)
    if int(np.sum(keep)) >= FEWEST_SMOOTHED:
        with np.errstate(all="ignore"):
            level = smooth(values[keep])
            heavy = moving_mean(level, 2 * (len(level) // 50) + 1)
            residual = float(np.median(np.abs(values[keep] - heavy)))
            if residual > NOISY * float(np.ptp(heavy)):
                line = tuple(np.interp(steps[index], steps[keep], heavy).tolist())
    return CurveExhibit(
        name=series.name, steps=tuple(steps[index].tolist()), values=tuple(values[index].tolist()), points=len(series), attempt=attempt, smooth=line
    )


def _saved_rates(run: Run, evidence: Evidence) -> tuple[CurveExhibit, ...]:
    """The learning rate as the checkpoints' optimizers hold it, where no log has it."""
    if any(s.name == "lr" for s in run.series):
        return ()
    found = {
        c.step: max(c.optimizer.learning_rates) for c in evidence.checkpoints if c.step is not None and c.optimizer and c.optimizer.learning_rates
    }
    if len(found) < 2:
        return ()
    steps = tuple(sorted(found))
    return (CurveExhibit("lr", steps, tuple(found[s] for s in steps), len(steps), len(run.earlier)),)


def _levels(evidence: Evidence, shares: Collection[str]) -> tuple[Level, ...]:
    loss = evidence.chance.loss
    losses = () if loss is None else [(n, loss) for n in ("train/loss", "val/loss") if n in evidence.curves]
    out = [Level(name, level, say("chance level, {level:.4g}", level=level)) for name, level in losses]
    for name in ("train/accuracy", "val/accuracy"):
        if evidence.chance.accuracy is not None and name in evidence.curves:
            percent = evidence.curves[name].highest > PER_CENT and name not in shares
            level = evidence.chance.accuracy * (100 if percent else 1)
            out.append(Level(name, level, say("chance level, {level:.4g}", level=level)))
    clip = evidence.number("gradient_clip_norm")
    if clip is not None and clip > 0 and "grad_norm" in evidence.curves:
        out.append(Level("grad_norm", clip, say("clip norm, {clip:.4g}", clip=clip)))
    return tuple(out)


def marks(evidence: Evidence, onset: float | None = None, visible_from: float | None = None) -> tuple[Mark, ...]:
    """Vertical marks on the step axis: the verdict's onset, spikes, the turn, resumes, checkpoints, best validation, the gap, crash, lr
    phases; by step."""
    out: list[Mark] = []
    if onset is not None:
        out.append(Mark(onset, "onset", say("onset")))
    if visible_from is not None and visible_from != onset:
        out.append(Mark(visible_from, "visible", say("visible from here")))
    loss = evidence.curve("train/loss")
    if loss is not None:
        highest = sorted(loss.spikes, key=lambda s: -s.height)[:MOST_SPIKES]
        out += [Mark(s.step, "spike", say("spike to {value:.4g}", value=s.value)) for s in highest]
        if loss.turn_step is not None and loss.turn_step != onset:
            out.append(Mark(loss.turn_step, "turn", say("the training loss turns and rises")))
    gap = evidence.gap
    if gap is not None and gap.opened_step is not None and gap.gap > APART:
        out.append(Mark(gap.opened_step, "gap", say("from here on validation stays further from training than before")))
    out += [Mark(a.first_step, "resume", say("resumed")) for a in evidence.attempts if a.resumed_from is not None]
    out += [Mark(e.step, "resume", say("resumed")) for e in evidence.events_of(EventKind.RESUMED) if e.step is not None]
    broken = {c.path for c in evidence.checkpoints if c.non_finite}
    for checkpoint in evidence.saved:
        if checkpoint.step is not None:
            bad = checkpoint.path in broken or checkpoint.truncated or checkpoint.status.value == "failed"
            out.append(Mark(checkpoint.step, "bad-checkpoint" if bad else "checkpoint", say("{path}", path=checkpoint.path)))
    validation = evidence.curve("val/loss") or evidence.curve("val/accuracy")
    if validation is not None and math.isfinite(validation.best_step):
        out.append(Mark(validation.best_step, "best-validation", say("best validation, {best:.4g}", best=validation.best)))
    if evidence.outcome == "crashed" and evidence.last_step is not None:
        out.append(Mark(evidence.last_step, "crash", say("the run ended here")))
    if evidence.schedule is not None:
        out += [Mark(p.first_step, "lr-phase", say("learning rate: {kind}", kind=p.kind)) for p in evidence.schedule.phases[1:9]]
    unique = {(m.step, m.kind): m for m in reversed(out) if math.isfinite(m.step)}
    return tuple(sorted(unique.values(), key=lambda m: (m.step, m.kind))[:MOST_MARKS])


# --- checkpoints ----------------------------------------------------------------------------------------------------


def _label(checkpoint: CheckpointStats) -> str:
    return checkpoint.path if checkpoint.step is None else f"{checkpoint.step:g}"


def _spread(count: int, most: int) -> list[int]:
    """At most `most` of `count` indices, evenly, first and last among them."""
    many = min(count, most)
    return [round(i * (count - 1) / max(many - 1, 1)) for i in range(many)]


def _layers(checkpoints: Sequence[CheckpointStats]) -> tuple[str, ...]:
    """Names of the weight tensors in the order of the last checkpoint that has any."""
    for checkpoint in reversed(checkpoints):
        names = [t.name for t in checkpoint.tensors if t.role in (Role.WEIGHT, Role.EMBEDDING, Role.ADAPTER)]
        if names:
            return tuple(names[i] for i in _spread(len(names), MOST_LAYERS))
    return ()


def _heatmaps(checkpoints: Sequence[CheckpointStats]) -> tuple[HeatmapExhibit, ...]:
    shown = [checkpoints[i] for i in _spread(len(checkpoints), MOST_COLUMNS)]
    layers = _layers(shown)
    if not layers:
        return ()
    columns: dict[str, list[dict[str, float]]] = {q: [] for q in ("rms", "std", "relative-change", "gradient-rms", "zero-share", "non-finite")}
    for checkpoint in shown:
        columns["rms"].append({t.name: t.rms for t in checkpoint.tensors})
        columns["std"].append({t.name: t.std for t in checkpoint.tensors})
        columns["zero-share"].append({t.name: t.zero / t.count for t in checkpoint.tensors if t.count})
        columns["non-finite"].append({t.name: float(t.non_finite) for t in checkpoint.tensors})
        columns["relative-change"].append({u.name: u.relative_change for u in checkpoint.updates})
        columns["gradient-rms"].append({g.name: g.rms for g in checkpoint.gradients})
    out = []
    for quantity, cells in columns.items():
        table = tuple(tuple(column.get(layer) for column in cells) for layer in layers)
        told = {v for row in table for v in row if v is not None}
        quiet = quantity in ("zero-share", "non-finite") and told <= {0.0}
        if told and not quiet:
            out.append(HeatmapExhibit(quantity, layers, tuple(_label(c) for c in shown), table))
    return tuple(out)


def _distributions(evidence: Evidence) -> tuple[DistributionExhibit, ...]:
    """First and last layers and those that stand out, in the first and the last checkpoint."""
    if not evidence.checkpoints:
        return ()
    ends = evidence.checkpoints[:1] + evidence.checkpoints[1:][-1:]
    layers = _layers(evidence.checkpoints)
    picked = [layers[i] for i in _spread(len(layers), MOST_DISTRIBUTIONS // (2 * len(ends)))]
    last = {t.name: t for t in ends[-1].tensors}
    odd = sorted((n for n in layers if n in last and math.isfinite(last[n].rms)), key=lambda n: -abs(math.log(last[n].rms or 1e-300)))
    picked += [n for n in odd if n not in picked][: MOST_DISTRIBUTIONS // (2 * len(ends))]
    out = []
    for layer in (n for n in layers if n in picked):
        for checkpoint in ends:
            tensor = checkpoint.tensor(layer)
            if tensor is not None and tensor.histogram.counts:
                edges, counts = _coarse(tensor.histogram.edges, tensor.histogram.counts)
                out.append(DistributionExhibit(layer, _label(checkpoint), "weight", edges, counts))
    return tuple(out)


def _coarse(edges: tuple[float, ...], counts: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Neighbouring bins joined until there are at most `BINS`."""
    size = -(-len(counts) // BINS)
    if size <= 1:
        return edges, counts
    cuts = [*range(0, len(counts), size), len(counts)]
    return tuple(edges[c] for c in cuts), tuple(sum(counts[a:b]) for a, b in pairwise(cuts))


def _depths(evidence: Evidence) -> tuple[DepthExhibit, ...]:
    """Gradients and changes from input to output, in the last checkpoint that has them and the first."""
    layers = evidence.model.weight_layers[:MOST_LAYERS] or _layers(evidence.checkpoints)
    if len(layers) < 2:
        return ()
    out = []
    with_gradients = [c for c in evidence.checkpoints if any(g.name in layers for g in c.gradients)]
    for checkpoint in with_gradients[:1] + with_gradients[1:][-1:]:
        found = {g.name: g for g in checkpoint.gradients}
        source = next(g.source for g in checkpoint.gradients if g.name in layers)
        out.append(DepthExhibit("gradient-rms", source, layers, _label(checkpoint), tuple(found[n].rms if n in found else None for n in layers)))
    moved = [c for c in evidence.checkpoints if any(u.name in layers for u in c.updates)]
    for checkpoint in moved[:1] + moved[1:][-1:]:
        change = {u.name: u.relative_change for u in checkpoint.updates}
        out.append(DepthExhibit("relative-change", "checkpoints", layers, _label(checkpoint), tuple(change.get(n) for n in layers)))
    return tuple(out)


def _rows(checkpoints: Sequence[CheckpointStats]) -> tuple[TensorRow, ...]:
    """The table of the last checkpoint; of very many tensors, those with NaN/Inf first and then an even choice."""
    if not checkpoints:
        return ()
    last = checkpoints[-1]
    change = {u.name: u.relative_change for u in last.updates}
    gradient = {g.name: g.rms for g in last.gradients}
    picked: list[TensorStats] = list(last.tensors)
    if len(picked) > MOST_ROWS:
        chosen = {at for at, t in enumerate(picked) if t.non_finite}
        chosen = set(sorted(chosen)[: MOST_ROWS // 2])
        rest = [at for at in range(len(picked)) if at not in chosen]
        chosen.update(rest[i] for i in _spread(len(rest), MOST_ROWS - len(chosen)))
        picked = [picked[at] for at in sorted(chosen)]
    return tuple(
        TensorRow(
            name=t.name,
            dtype=t.dtype,
            shape=t.shape,
            role=t.role,
            mean=t.mean,
            std=t.std,
            low=t.low,
            high=t.high,
            zero_share=t.zero / t.count if t.count else 0.0,
            non_finite=t.non_finite,
            relative_change=change.get(t.name),
            gradient_rms=gradient.get(t.name),
        )
        for t in picked
    )
