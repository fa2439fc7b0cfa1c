"""What was looked at, in numbers: the model, the batch, the outputs, each parameter's gradient, the first update; and what one batch cannot tell."""

import math
from collections.abc import Iterator
from statistics import median
from typing import Any

from postmortem.capture.batches import arrays, label_figures, parts, whole_numbers
from postmortem.capture.watching import spread
from postmortem.model.sentence import Sentence, say
from postmortem.preflight.calling import inputs_and_labels
from postmortem.preflight.facts import Facts
from postmortem.preflight.trial import Gradient

MOST_PARTS = 20  # of a model that are listed
MOST_GRADIENTS = 24  # parameters whose gradients are listed, spread evenly over the model
MOST_CLASSES = 10
MOST_NAMES = 5


def overview(model: Any, facts: Facts, batch: Any, *, own_optimizer: bool) -> list[Sentence]:
    """The sentences. `batch` is None where none was looked at."""
    return [
        *_model(model),
        *(() if batch is None else _batch(batch, facts.figures)),
        *_forward(facts),
        *_gradients(facts.trial.gradients),
        *_steps(facts, own_optimizer=own_optimizer),
        say("One batch cannot tell shuffled or wrong labels, overfitting, leakage, a bad schedule or an instability that comes later."),
    ]


def _model(model: Any) -> Iterator[Sentence]:
    total = sum(p.numel() for p in model.parameters())
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    yield say("The model has {total:,} parameters, {trainable:,} of them trainable.", total=total, trainable=trainable)
    for name, child in list(model.named_children())[:MOST_PARTS]:
        count, free = sum(p.numel() for p in child.parameters()), sum(p.numel() for p in child.parameters() if p.requires_grad)
        if count:
            yield say("{name} ({kind}): {count:,} parameters, {free:,} trainable.", name=name, kind=type(child).__name__, count=count, free=free)
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    if frozen:
        shown = ", ".join(frozen[:MOST_NAMES]) + (" …" if len(frozen) > MOST_NAMES else "")
        yield say("Frozen parameter tensors ({n}): {names}.", n=len(frozen), names=shown)


def _batch(batch: Any, figures: dict[str, float]) -> Iterator[Sentence]:
    inputs, _ = parts(batch)
    first = next(arrays(inputs), None)
    if first is not None:
        shape, kind = str(tuple(first.shape)), str(first.dtype).removeprefix("torch.")
        low, high, mean, std = (figures.get(f"train_{k}") for k in ("min", "max", "mean", "std"))
        if low is None or high is None:
            yield say("The inputs have the shape {shape} and are {kind}.", shape=shape, kind=kind)
        elif whole_numbers(inputs):
            yield say(
                "The inputs have the shape {shape} and are {kind}: indices from {low:g} to {high:g}.", shape=shape, kind=kind, low=low, high=high
            )
        else:
            yield say(
                "The inputs have the shape {shape} and are {kind}: from {low:.4g} to {high:.4g}, mean {mean:.4g}, standard deviation {std:.4g}.",
                shape=shape, kind=kind, low=low, high=high, mean=mean, std=std,
            )  # fmt: skip
    _, labels = inputs_and_labels(batch)
    told = next(arrays(labels), None)
    if told is not None:
        shape, kind = str(tuple(told.shape)), str(told.dtype).removeprefix("torch.")
        counts = sorted(label_figures(labels, None)[1].items(), key=lambda pair: -pair[1])
        if counts:
            shown = ", ".join(f"{c} × {n}" for c, n in counts[:MOST_CLASSES]) + (" …" if len(counts) > MOST_CLASSES else "")
            yield say("The labels have the shape {shape} and are {kind}; class × number: {counts}.", shape=shape, kind=kind, counts=shown)
        else:
            yield say("The labels have the shape {shape} and are {kind}.", shape=shape, kind=kind)


def _forward(facts: Facts) -> Iterator[Sentence]:
    trial = facts.trial
    if trial.output_range is not None:
        low, high = trial.output_range
        yield say("The outputs have the shape {shape} and lie between {low:.4g} and {high:.4g}.", shape=str(trial.outputs), low=low, high=high)
    if trial.losses and facts.chance:
        yield say(
            "The first loss is {loss:.4g}; guessing among {c} classes gives {chance:.4g}.", loss=trial.losses[0], c=facts.classes, chance=facts.chance
        )


def _gradients(gradients: list[Gradient]) -> Iterator[Sentence]:
    if not gradients:
        return
    graded = [g for g in gradients if not g.missing]
    yield say(
        "{n} of {of} trainable parameter tensors have a gradient, with RMS from {low:.2g} to {high:.2g}.",
        n=len(graded),
        of=len(gradients),
        low=min((g.rms for g in graded), default=0.0),
        high=max((g.rms for g in graded), default=0.0),
    )
    for g in spread(gradients, MOST_GRADIENTS):
        if g.missing:
            yield say("{name}: no gradient.", name=g.name)
        elif g.non_finite:
            yield say("{name}: {bad:,} of {of:,} elements of the gradient are not finite.", name=g.name, bad=g.non_finite, of=g.size)
        else:
            yield say(
                "{name}: gradient of norm {norm:.2g}, from {low:.2g} to {high:.2g}, mean {mean:.2g}, standard deviation {std:.2g}.",
                name=g.name, norm=g.rms * math.sqrt(g.size), low=g.low, high=g.high, mean=g.mean, std=g.std,
            )  # fmt: skip


def _steps(facts: Facts, *, own_optimizer: bool) -> Iterator[Sentence]:
    trial = facts.trial
    ratios = {n: r for n, r in trial.updates.items() if math.isfinite(r)}
    if ratios:
        least, most = min(ratios, key=ratios.__getitem__), max(ratios, key=ratios.__getitem__)
        yield say(
            "The first update moved weights by {mid:.2g} of their size, the median of {n} tensors: from {low:.2g} ({least}) to {high:.2g} ({most}).",
            mid=median(ratios.values()), n=len(ratios), low=ratios[least], least=least, high=ratios[most], most=most,
        )  # fmt: skip
    if len(trial.losses) > 1:
        what = "the training's own optimizer" if own_optimizer else "AdamW"
        yield say(
            "{n} steps with {what} on this one batch took the loss from {first:.4g} to {last:.4g}.",
            n=trial.steps, what=what, first=trial.losses[0], last=trial.losses[-1],
        )  # fmt: skip
    if trial.raised_from is not None:
        yield say("A warm-up had left the learning rate at {low:.3g}; the trial used {rate:.3g}.", low=trial.raised_from, rate=trial.learning_rate)
