"""`Run` → `Evidence`. All arithmetic lives here; nothing is judged."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from postmortem.measure.batches import batch_stats
from postmortem.measure.chance import chance
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.curves import curve_stats
from postmortem.measure.family import family_of
from postmortem.measure.gap import gap_stats
from postmortem.measure.intents import intents_of, without_stated
from postmortem.measure.layers import layer_stats, of_layers, with_recorded
from postmortem.measure.pace import pace_stats
from postmortem.measure.schedule import schedule_stats
from postmortem.measure.units import tokens_of
from postmortem.measure.words import words_of
from postmortem.model.curves import CurveStats
from postmortem.model.evidence import Evidence
from postmortem.model.run import Run, Series
from postmortem.model.sentence import Sentence, say

Progress = Callable[[str, float], None]
MOST_OTHERS = 500  # curves without a name in the vocabulary that are measured, the first ones
ERRORS_OF_TEXT = frozenset({"cer", "wer"})  # of characters and of words


INSTALLED = "versions."  # of packages: that one of them is there says nothing of what the run does with it


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user stated about the run (`postmortem.toml` or flags), which no file of it says."""

    family: str = ""
    frozen: tuple[str, ...] = ()  # glob patterns of tensor names that are meant to stand still
    ignore: frozenset[str] = frozenset()  # modes not to look for
    aliases: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # logged key → canonical series name


def measure(run: Run, stated: Stated | None = None, progress: Progress | None = None) -> tuple[Evidence, tuple[Sentence, ...]]:
    """The evidence of a run's last attempt, and what had to be assumed for it."""
    stated = stated or Stated()
    run = replace(run, settings=tuple(s for s in run.settings if not s.key.startswith(INSTALLED)))
    by_name = {s.name: s for s in run.series}
    tokens = tokens_of(by_name)
    if tokens is not None:
        by_name["val/loss"] = _per_token(by_name["val/loss"], tokens)
    grad_norm = by_name.get("grad_norm")
    unnamed = [name for name in by_name if name.startswith("other/") and not of_layers(name)]
    unmeasured = frozenset(unnamed[MOST_OTHERS:])
    curves: dict[str, CurveStats] = {
        name: curve_stats(
            s, grad_norm if name == "train/loss" else None, right=by_name.get(name.replace("/loss", "/accuracy")), steps_per_epoch=run.steps_per_epoch
        )
        for name, s in by_name.items()
        if len(s) and not of_layers(name) and name not in unmeasured
    }
    checkpoints, weights, model = measure_checkpoints(run, progress)
    layers = layer_stats(by_name)
    weights = with_recorded(without_stated(weights, stated.frozen), layers)
    inferred, why = family_of([*by_name, *(s.logged_as for s in run.series)], run.settings, model)
    family = stated.family or inferred
    train = curves.get("train/loss") or curves.get("val/loss")
    level = chance(
        model, run.settings, train, curves.get("val/accuracy") or curves.get("train/accuracy"), family, train_accuracy=curves.get("train/accuracy"),
        framework=run.framework, parts=_parts(by_name), val_loss=curves.get("val/loss"), val_f1=curves.get("val/f1"), val_auc=curves.get("val/auc"),
        transcribes=any(ERRORS_OF_TEXT & set(words_of(s.logged_as)) for s in run.series)
        or any("ctc" in words_of(s.value) for s in run.settings if isinstance(s.value, str)),
        scored=[(by_name.get(f"{split}/loss"), by_name.get(f"{split}/r2")) for split in ("val", "train")],
    )  # fmt: skip
    train_series, val_series = by_name.get("train/loss"), by_name.get("val/loss")
    floor = curves["train/loss"].floor if "train/loss" in curves else 0.0
    gap = gap_stats(train_series, val_series, floor) if train_series is not None and val_series is not None else None
    rates = [
        (c.step, max(c.optimizer.learning_rates))
        for c in checkpoints
        if c.step is not None and c.optimizer is not None and c.optimizer.learning_rates
    ]
    steps = [x for s in run.series if len(s) for x in (float(s.steps[0]), float(s.steps[-1]))]
    last_epoch = max((float(s.epochs[-1]) for s in run.series if s.epochs is not None and len(s) and s.epochs[-1] == s.epochs[-1]), default=None)
    last_step = max(steps, default=None)
    if last_epoch is None and last_step is not None and run.steps_per_epoch:
        last_epoch = last_step / run.steps_per_epoch
    left = next((s for s in run.earlier[-1].series if s.name == "lr"), None) if run.earlier else None
    rate = schedule_stats(by_name.get("lr"), run.settings, rates, left)
    intents = intents_of(run.settings, model, stated.frozen)
    evidence = Evidence(
        curves=MappingProxyType(curves), series=MappingProxyType(by_name), gap=gap, schedule=rate,
        chance=level, pace=pace_stats(run.series, run.settings), checkpoints=checkpoints, weights=weights, model=model, saved=run.checkpoints,
        events=run.events, settings=run.settings, sources=run.sources, attempts=run.attempts, family=family, family_stated=bool(stated.family),
        framework=run.framework, outcome=run.outcome, axis=run.axis, steps_per_epoch=run.steps_per_epoch, first_step=min(steps, default=None),
        last_step=last_step, last_epoch=last_epoch, planned_steps=run.planned_steps, planned_epochs=run.planned_epochs,
        intents=MappingProxyType(intents), ignored=stated.ignore, batches=batch_stats(by_name, run.histograms, run.events), layers=layers,
    )  # fmt: skip
    summed = say("Validation loss is a sum over {tokens:.0f} tokens, by the perplexity beside it: it is divided by them.", tokens=tokens or 0.0)
    return evidence, (*_assumed(evidence, why), *((summed,) if tokens is not None else ()))


def _per_token(series: Series, tokens: float) -> Series:
    return replace(series, values=series.values / tokens, quantum=None if series.quantum is None else series.quantum / tokens)


def _parts(names: Iterable[str]) -> int:
    """Losses of training that are logged beside the loss: what it is a sum of."""
    return sum(n.startswith("other/") and "loss" in n.lower() and not {"val", "valid", "test", "eval"} & set(words_of(n)) for n in names)


def _assumed(evidence: Evidence, why: Sentence) -> tuple[Sentence, ...]:
    out: list[Sentence] = []
    if evidence.family_stated:
        out.append(say("Family: {family}, as stated.", family=evidence.family))
    elif evidence.family:
        out.append(say("Family: {family}, because {why}.", family=evidence.family, why=why))
    if evidence.gap is not None and (train := evidence.curve("train/loss")) is not None and train.floor < 0:
        out.append(say("The loss goes below 0 and never below −1, as one does from which an overlap (Dice) or a cosine similarity is subtracted: "
                       "validation and training are compared by their distances from −1."))  # fmt: skip
    if evidence.chance.loss is not None:
        out.append(say("A model that knows nothing would have a loss of {loss:.4g} ({classes} classes, from the {basis}).", loss=evidence.chance.loss,
                       classes=evidence.chance.classes, basis=evidence.chance.basis))  # fmt: skip
    out.extend(say("Intent: {intent}, because {why}.", intent=intent, why=why) for intent, why in evidence.intents.items())
    return tuple(out)
