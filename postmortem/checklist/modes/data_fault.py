"""The data itself is broken."""

from postmortem.check import Check, Cleared, Evidence, Severity, Sighting, Unknown, say
from postmortem.checklist.causes.bad_batch import bad_batch
from postmortem.checklist.causes.preprocessing import preprocessing
from postmortem.checklist.needs import BATCH_STATISTICS


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    bad, spread = e.curve("data/non_finite"), e.curve("data/train_std")
    outside = e.curve("data/labels_out_of_range")
    if bad is not None and bad.highest > 0:
        return Sighting(
            Severity.FATAL, say("Recorded batches hold {n:g} non-finite inputs.", n=bad.highest), bad.first_step, bad.first_step, ("data/non_finite",)
        )
    if outside is not None and outside.highest > 0:
        return Sighting(
            Severity.FATAL,
            say("Recorded batches hold {n:g} labels outside the head's classes.", n=outside.highest),
            outside.first_step,
            outside.first_step,
            ("data/labels_out_of_range",),
        )
    if spread is not None and spread.highest == 0:
        return Sighting(Severity.FATAL, say("All recorded inputs are constant."), spread.first_step, spread.first_step, ("data/train_std",))
    return Cleared(say("The recorded batches are finite and vary."))


CHECK = Check(
    id="data-fault",
    title=say("Broken data"),
    symptom=say("The data itself is broken: non-finite or constant inputs, labels out of range, duplicates."),
    detect=detect,
    needs=(BATCH_STATISTICS,),
    prior=3.0,
    causes=((bad_batch, -0.5), (preprocessing, -0.5)),
    consequences=("non-finite", "loss-not-decreasing", "underfitting", "crash", "validation-fault"),
)
