"""Too few samples for what the model can memorise."""

from postmortem.check import Cause, Change, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.trained_too_long import stop_at_best
from postmortem.checklist.levels import to_chance, training_curves
from postmortem.checklist.needs import VALIDATION
from postmortem.checklist.probes import not_of_the_settings
from postmortem.checklist.signs import training_samples

FEW = 500  # samples
PER_SAMPLE = 20.0  # parameters per sample from which memorising is easy
FEWEST = 12  # epochs of the whole set
LIMITS = ("train_samples", "max_", "subset", "limit")


@probe(say("there are few training samples"), holds=2.2, fails=-1.0)
def few(e: Evidence, seen: Sighting) -> Reading | None:
    samples = training_samples(e)
    if samples is None:
        return None
    return Reading(samples < FEW, say("{n:g} training samples", n=samples))


@probe(say("there are far more parameters than samples"), holds=0.9, fails=-0.5)
def outnumbered(e: Evidence, seen: Sighting) -> Reading | None:
    samples, parameters = training_samples(e), e.model.parameters or e.number("parameters")
    if not samples or not parameters:
        return None
    return Reading(parameters / samples > PER_SAMPLE, say("{ratio:.3g} parameters per sample", ratio=parameters / samples))


@probe(say("the training set is learned by heart"), VALIDATION, holds=0.8, fails=-1.0)
def by_heart(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    level = to_chance(e, loss.final) if loss is not None else None
    return None if level is None else Reading(level < 0.1, say("train loss ends at {level:.2g} × chance", level=level))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    setting = e.setting("train_samples")
    more: tuple[Change, ...] = ()
    # a log's "train: 1437" counts what there is; a limit was set
    if setting is not None and (remedies.editable(e, setting) or any(word in setting.key.lower() for word in LIMITS)):
        more = (remedies.change(e, "train_samples", None),)
        epochs, best = e.number("epochs"), e.epoch_at(e.gap.best_step) if e.gap is not None else None
        to = max(FEWEST, round(best or 0))
        if epochs is not None and to < epochs:  # an epoch of the whole set has many times the steps
            more = (*more, remedies.change(e, "epochs", to))
    data = remedies.fix(
        e,
        say("Train on more data, or augment what there is"),
        say("The model knows its training set by heart and fails on new data."),
        more,
        {"pytorch": "train = datasets.X(..., transform=v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.ToTensor()]))"},
    )
    return (data, *stop_at_best(e, seen)) if more else (*stop_at_best(e, seen), data)


too_little_data = Cause(
    id="too-little-data",
    title=say("Too little training data"),
    mechanism=say(
        "A model with more freedom than there are samples can fit each of them separately; what it learns then no longer holds for new ones."
    ),
    probes=(few, outnumbered, by_heart, not_of_the_settings(fails=-3.0)),
    fixes=fixes,
    by_hand=(say("Train on half of the data: if validation gets clearly worse, more data will make it better."),),
)
