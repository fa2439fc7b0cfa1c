"""The data comes in order."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.levels import course, learned_nothing_at_all, skill, to_chance
from postmortem.checklist.needs import BATCH_STATISTICS, CHANCE, TWO_CHECKPOINTS, curve
from postmortem.checklist.optimizers import clip_norm, rate_decades
from postmortem.checklist.probes import seen_as

CLUSTERED = 0.3  # 0 is a fair draw of the classes, 1 a batch of one class; shuffled data stays within 0.05
SWING, WILD = 0.2, 1.25  # noise and peak, times chance
SKILLED = 0.5  # share of the way from guessing to perfect accuracy, on validation
WORSE = 1.2  # times chance: a batch of classes that the model has just unlearned
WARM = 0.15  # share of the run: later, no batch is new to it
MOVED = 0.1  # relative change of the weights
ORDINARY = 1.0  # decades from the usual rate
AVERAGED = ("epoch", "window", "running")
FEW = 3  # epochs
BELOW, ABOVE = 0.5, 1.5  # × the accuracy of a guess
FEW_SAMPLES = 16  # of a batch, whose mean may be low by luck
UNLEARNED, HARDLY = 0.4, 0.1  # times chance; × the course
APART, UNEVEN = 0.03, 0.25  # times chance
BY_LOT = 0.75  # the same of squared errors: the mean of 32 of them scatters by a quarter, and so does the first, by which guessing is judged


@probe(say("the training loss repeats its course every epoch"), curve("train/loss", 16), holds=2.5, fails=-0.7)
def repeats(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or loss.oscillation is None or not loss.oscillation.period_epochs:
        return None
    o = loss.oscillation
    period = o.period_epochs or 0.0
    whole = abs(period - round(period)) < 0.15 and round(period) in (1, 2)
    return Reading(
        bool(whole and o.strength > 0.4),
        say("its period is {period:.2g} epochs (autocorrelation {strength:.2f})", period=period, strength=o.strength),
    )


@probe(say("batches are worse than guessing although validation is not"), CHANCE, curve("val/loss"), holds=1.6, fails=-0.3)
def batches_worse_than_guessing(e: Evidence, seen: Sighting) -> Reading | None:
    loss, val = e.curve("train/loss"), e.curve("val/loss")
    if loss is None or val is None:
        return None
    peak, level = to_chance(e, loss.highest), to_chance(e, loss.final)
    if peak is None or level is None:
        return None
    wild = peak > 1.3 and loss.noise > (UNEVEN if e.chance.classes else BY_LOT) * (e.chance.loss or 1.0)
    late = loss.highest_step > loss.first_step + WARM * (loss.last_step - loss.first_step)
    skilled = (skill(e, "val") or 0.0) > SKILLED and ((peak > WORSE and late) or (peak > WILD and loss.noise > SWING * (e.chance.loss or 1.0)))
    return Reading(
        wild or skilled,
        detail=say("batch losses reach {peak:.2f} × chance and swing by {noise:.2g}", peak=peak, noise=loss.noise),
        share=1.4 if skilled else 1.0,
    )


@probe(say("the training loss stays above chance while validation lies at it"), CHANCE, curve("val/loss"), holds=2.5, fails=0.0)
def above_validation(e: Evidence, seen: Sighting) -> Reading | None:
    loss, val = e.curve("train/loss"), e.curve("val/loss")
    if loss is None or val is None or loss.finite < 10:
        return None
    train, level = to_chance(e, loss.final if loss.final > loss.start else (loss.start + loss.final) / 2), to_chance(e, val.final)
    if train is None or level is None:
        return None
    return Reading(
        1.03 < train < 2.5 and 0.9 < level < 1.1 and train > level + (APART if e.chance.classes else BY_LOT),
        say("training {train:.2f} ×, validation {level:.2f} × chance", train=train, level=level),
    )


@probe(
    say("the weights move, at an ordinary rate, and the loss stays above guessing: what one batch teaches the next takes back"),
    CHANCE, TWO_CHECKPOINTS, holds=2.0, fails=0.0,
)  # fmt: skip
def taken_back(e: Evidence, seen: Sighting) -> Reading | None:
    change, decades = e.weights.change_median, rate_decades(e)
    if (
        not learned_nothing_at_all(e)
        or change is None
        or change < MOVED
        or (decades is not None and abs(decades) > ORDINARY)
        or clip_norm(e) is not None
    ):
        return None
    return Reading(True, say("they changed by {change:.2g} relative to their size", change=change))


@probe(say("training, counted as it goes, is right less often than guessing, and validation more often"), CHANCE, curve("val/accuracy"), holds=2.5)
def forgets(e: Evidence, seen: Sighting) -> Reading | None:
    train, val, guess = e.series.get("train/accuracy"), e.curve("val/accuracy"), e.chance.accuracy
    if train is None or val is None or guess is None or len(train) < FEW or val.highest > 1.0:
        return None
    lowest, step = min((float(v), float(s)) for v, s in zip(train.values[1:], train.steps[1:], strict=True))
    return Reading(
        lowest < BELOW * guess and val.highest > ABOVE * guess,
        say(
            "at step {step:g} it is {lowest:.1%}, guessing {guess:.1%}, and validation at its best {best:.1%}",
            step=step,
            lowest=lowest,
            guess=guess,
            best=val.highest,
        ),
        train.source,
    )


@probe(say("single late batches are hardly wrong at all, while most are"), CHANCE, curve("train/loss", 16), holds=1.8)
def batches_of_a_kind(e: Evidence, seen: Sighting) -> Reading | None:
    loss, mean = e.curve("train/loss"), course(e)
    level = to_chance(e, mean.final) if mean else None
    if loss is None or mean is None or level is None or loss.reduction in AVERAGED or (e.number("batch_size") or FEW_SAMPLES) < FEW_SAMPLES:
        return None
    values = e.series["train/loss"].values
    lowest = float(min(values[-len(values) // 3 :]))
    return Reading(
        level > UNLEARNED and 0 <= lowest < HARDLY * mean.final,
        say("one has a loss of {lowest:.3g}, the course is at {final:.3g}", lowest=lowest, final=mean.final),
    )


unlike = seen_as("unlike", claim=say("batches differ by more than chance draws from one data set do"), holds=3.0)


@probe(say("shuffling is switched off"), holds=3.0, fails=-1.0)
def switched_off(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("shuffle")
    if setting is None:
        return None
    return Reading(setting.value in (False, 0, "false", "no"), say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)


@probe(say("recorded batches hold few of the classes each"), BATCH_STATISTICS, holds=4.5, fails=-4.0)
def clustered(e: Evidence, seen: Sighting) -> Reading | None:
    if e.batches is None or e.batches.clustering is None:
        return None
    return Reading(
        e.batches.clustering > CLUSTERED,
        say("labels of one batch agree {more:.0%} of the way from a fair draw to a single class", more=max(e.batches.clustering, 0.0)),
    )


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (
        remedies.fix(
            e,
            say("Shuffle the training data"),
            say("Within an epoch the batches differ systematically, so each undoes what the one before taught."),
            (remedies.change(e, "shuffle", True),),
            {
                "pytorch": "loader = DataLoader(train, batch_size=64, shuffle=True)",
                "keras": "model.fit(x, y, shuffle=True)  # a tf.data pipeline: ds.shuffle(len(x))",
            },
        ),
    )


unshuffled_data = Cause(
    id="unshuffled-data",
    title=say("The training data is not shuffled"),
    mechanism=say(
        "Batches of one class (or one source) after another: the model learns to answer the current class and forgets the others, once per epoch."
    ),
    probes=(repeats, batches_worse_than_guessing, above_validation, taken_back, forgets, batches_of_a_kind, switched_off, clustered),
    fixes=fixes,
    by_hand=(say("Print the label histogram of ten consecutive batches."),),
)
