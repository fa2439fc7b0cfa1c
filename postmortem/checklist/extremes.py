"""Settings and starts that lie where sound runs have none: what the causes ask of them, asked of every run."""

from collections.abc import Iterator

from postmortem.check import Cause, Evidence, Probe, Reading, Severity, Sighting, say
from postmortem.checklist.causes.bad_initialization import absurd_from_the_start, bad_initialization, negative_biases, symmetric, zero
from postmortem.checklist.causes.batchnorm_eval_mismatch import batchnorm_eval_mismatch, slow
from postmortem.checklist.causes.clipping_too_tight import clipping_too_tight, tiny
from postmortem.checklist.causes.decayed_too_early import configured_decay, decayed_too_early
from postmortem.checklist.causes.learning_rate_too_high import extreme_momentum, far_above_usual, learning_rate_too_high
from postmortem.checklist.causes.learning_rate_too_low import LOW, far_below_usual, learning_rate_too_low
from postmortem.checklist.causes.stopped_too_early import few_updates, stopped_too_early
from postmortem.checklist.causes.too_little_capacity import narrow, too_little_capacity
from postmortem.checklist.causes.too_much_regularization import decay, dropout, too_much_regularization
from postmortem.checklist.levels import course
from postmortem.checklist.policies import preferred
from postmortem.checklist.rates import decades_of_its_kind, pretrained

# what is asked, and whose setting it is
ASKED = (
    (dropout, too_much_regularization),
    (decay, too_much_regularization),
    (tiny, clipping_too_tight),
    (narrow, too_little_capacity),
    (configured_decay, decayed_too_early),
    (far_above_usual, learning_rate_too_high),
    (extreme_momentum, learning_rate_too_high),
    (far_below_usual, learning_rate_too_low),
    (slow, batchnorm_eval_mismatch),
    (few_updates, stopped_too_early),
    (absurd_from_the_start, bad_initialization),
    (zero, bad_initialization),
    (symmetric, bad_initialization),
    (negative_biases, bad_initialization),
)
CAUSES = tuple({cause.id: cause for _, cause in ASKED}.values())
GOT_FAR = 0.3  # share of the loss
FEW, STEADILY, BY_FEW = 8, 0.8, 0.05  # records, too few for a p of 0.001; Kendall's tau of theirs, and its p
NOTHING_SEEN = Sighting(Severity.MINOR, say("A setting lies where sound runs have none."))


def _got_far(e: Evidence) -> bool:
    """The loss fell by a third in a steady trend, or the policy earned or preferred more and more: so low a rate was no hindrance."""
    loss, earned = course(e), preferred(e, "margins") or e.curve("reward")
    if earned is not None and earned.trend is not None and earned.trend.tau > 0.3 and earned.trend.p_value < 0.001:
        return True
    if loss is None or loss.trend is None or not loss.relative_gain > GOT_FAR:
        return False
    at_each = loss.trend.points < FEW and loss.trend.tau < -STEADILY and loss.trend.p_value < BY_FEW
    return at_each or (loss.trend.tau < -0.3 and loss.trend.p_value < 0.001)


def _low_for_what_it_is(e: Evidence) -> bool:
    """Whether a rate far below that of a fresh model is one for a model that learned before as well."""
    decades = decades_of_its_kind(e)
    return not pretrained(e) or decades is None or decades <= LOW


def _meant(asked: Probe, e: Evidence) -> bool:
    """So low a rate was no hindrance, or is that of fine-tuning; so narrow a layer is what an autoencoder is for, and how a critic ends."""
    if asked is narrow:
        return e.family in ("autoencoder", "gan")
    return asked is far_below_usual and (_got_far(e) or not _low_for_what_it_is(e))


def _found(e: Evidence, seen: Sighting) -> Iterator[tuple[Reading, Cause]]:
    for asked, cause in ASKED:
        reading = asked.ask(e, seen) if not _meant(asked, e) and all(need.met(e) for need in asked.needs) else None
        if reading is not None and reading.holds and reading.share == 1.0:
            yield reading, cause


def extreme(e: Evidence, seen: Sighting) -> Reading | None:
    """The first such setting; None when there is none."""
    return next((reading for reading, _ in _found(e, seen)), None)


def unusual(e: Evidence) -> tuple[Cause, ...]:
    """The causes that such settings speak for."""
    return tuple({cause.id: cause for _, cause in _found(e, NOTHING_SEEN)}.values())
