"""One batch holds values that the model cannot take: NaN inputs, an absurd target, a wrong scale."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.too_much_regularization import DROPOUT, dropout
from postmortem.checklist.leaps import unlogged_leap
from postmortem.checklist.levels import loss_curve
from postmortem.checklist.needs import BATCH_STATISTICS, FIRST_BAD_BATCH, curve
from postmortem.checklist.optimizers import ABSURD_NORM, clip_norm
from postmortem.checklist.probes import usual_rate

FIRST = 3  # records
A_FEW, SELDOM = 0.6, 0.3  # of the first epoch; × the weight of beginning within it
AT_FIRST, HARDLY = 0.2, -0.4  # the same for the first few batches of all


@probe(say("it began within the first epoch of seeing the data"), holds=1.2, fails=-1.2)
def within_first_epoch(e: Evidence, seen: Sighting) -> Reading | None:
    loss = loss_curve(e)
    if loss is None or loss.non_finite is None:
        return None
    epoch = e.epoch_at(loss.non_finite.first_step)
    if epoch is None:
        return None
    share = 1.0
    if loss.non_finite.points_before == 0 and epoch < A_FEW:  # a single batch seldom is among the first: what was there before them is
        share = HARDLY if epoch < AT_FIRST else SELDOM
    return Reading(epoch <= 1.05, say("the first non-finite record is in epoch {epoch:.2g}", epoch=max(epoch, 0.01)), share=share)


@probe(say("the dropout is so high that it alone can throw the outputs out of bounds"), holds=-1.5)
def drowned(e: Evidence, seen: Sighting) -> Reading | None:
    return dropout.ask(e, seen) if (e.number("dropout") or 0.0) > DROPOUT else None


@probe(say("the loss or its gradient was absurd before it broke"), curve("grad_norm"), holds=-2.0, fails=0.0)
def absurd_before(e: Evidence, seen: Sighting) -> Reading | None:
    loss, norm = loss_curve(e), e.curve("grad_norm")
    if loss is None or loss.non_finite is None or norm is None or not norm.finite or clip_norm(e) is not None:
        return None
    return Reading(norm.first > ABSURD_NORM and loss.non_finite.points_before <= FIRST, say("the first gradient norm is {norm:.3g}", norm=norm.first))


@probe(say("one record stands far out and the loss comes back"), curve("train/loss", 8), holds=2.0, fails=0.0)
def one_record(e: Evidence, seen: Sighting) -> Reading | None:
    loss = e.curve("train/loss")
    if loss is None or not loss.spikes or unlogged_leap(e) is not None:
        return None  # a leap of the rate explains the record as well, and what shows it
    worst = max(loss.spikes, key=lambda s: s.height)
    return Reading(
        worst.recovery == "fast" and worst.width <= 3,
        say("at step {step:g} the loss was {ratio:.3g} × its level, for {width} records", step=worst.step, ratio=worst.ratio, width=worst.width),
    )


@probe(say("recorded inputs hold NaN or absurd values"), BATCH_STATISTICS, holds=4.0, fails=-3.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    if e.batches is None:
        return None
    return Reading(e.batches.non_finite > 0, say("{n:g} non-finite inputs in a batch", n=e.batches.non_finite))


@probe(say("the batch of the first non-finite loss holds NaN or Inf itself"), FIRST_BAD_BATCH, curve("train/loss"), holds=2.0, fails=-1.0)
def batch_known(e: Evidence, seen: Sighting) -> Reading | None:
    loss, lost = e.curve("train/loss"), e.series.get("data/non_finite")
    if loss is None or loss.non_finite is None or lost is None:
        return None
    there = lost.values[lost.steps == loss.non_finite.first_step]
    if not len(there):
        return None
    return Reading(bool(there[-1] > 0), say("that of step {step:g} holds {n:g} such values", step=loss.non_finite.first_step, n=float(there[-1])))


bad_batch = Cause(
    id="bad-batch",
    title=say("One batch holds bad values"),
    mechanism=say(
        "A NaN in the inputs makes loss and gradients NaN, and one optimizer step spreads it to every weight. A batch of absurd scale does the same with numbers."
    ),
    probes=(within_first_epoch, drowned, absurd_before, one_record, usual_rate(holds=0.6, fails=-2.5), recorded, batch_known),
    fixes=remedies.only(
        say("Check every batch for non-finite and extreme inputs before it is used; skip steps with a non-finite loss"),
        say("Nothing in the curve announced it: it came with one batch."),
        {
            "pytorch": "assert torch.isfinite(x).all(), f'batch {i}: {x.isnan().sum()} NaN'\nloss = criterion(model(x), y)\nif not torch.isfinite(loss):\n    print('skipped batch', i); continue",
            "keras": "model.fit(..., callbacks=[keras.callbacks.TerminateOnNaN()])",
        },
    ),
    by_hand=(say("Go once through the training set without training and print the index of each sample with a NaN or a value above 1,000."),),
)
