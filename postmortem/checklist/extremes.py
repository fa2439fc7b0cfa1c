"""Settings that lie where sound runs have none: what the causes ask of the configuration, asked of every run."""

from postmortem.check import Evidence, Reading, Sighting
from postmortem.checklist.causes.batchnorm_eval_mismatch import slow
from postmortem.checklist.causes.clipping_too_tight import tiny
from postmortem.checklist.causes.decayed_too_early import configured_decay
from postmortem.checklist.causes.learning_rate_too_high import far_above_usual
from postmortem.checklist.causes.learning_rate_too_low import far_below_usual
from postmortem.checklist.causes.too_little_capacity import narrow
from postmortem.checklist.causes.too_much_regularization import decay, dropout

ASKED = (dropout, decay, tiny, narrow, configured_decay, far_above_usual, far_below_usual, slow)


def extreme(e: Evidence, seen: Sighting) -> Reading | None:
    """The first such setting; None when there is none."""
    readings = (p.ask(e, seen) for p in ASKED if all(need.met(e) for need in p.needs))
    return next((r for r in readings if r is not None and r.holds and r.share == 1.0), None)
