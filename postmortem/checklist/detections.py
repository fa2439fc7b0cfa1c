"""Evaluations of a detector that find nothing at all, which one of them is enough to show."""

import re

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.signs import file_of

PRECISION = re.compile(r"(?:^|[^a-z])m?AP(?:[^a-z]|$)|average precision", re.IGNORECASE)  # `AP`, `bbox_mAP_50`, `metrics/mAP50`
SCORES = ("val/score", "test/score", "train/score")
BY_STEP, BY_EPOCH = 1000.0, 3.0  # before, a detector may well find nothing yet


def finds_nothing(e: Evidence) -> Sighting | None:
    """Every average precision of every evaluation is 0, or −1, which says that there was nothing to find. Of a training that has hardly begun 0 says
    nothing; of an evaluation that was logged alone it does."""
    name = next((n for n in SCORES if e.curve(n) is not None and PRECISION.search(e.series[n].logged_as)), None)
    if name is None:
        return None
    found = [name, *(n for n in e.curves if n.startswith("other/") and PRECISION.search(n.removeprefix("other/")))]
    if any(e.curves[n].finite == 0 or e.curves[n].highest > 0.0 for n in found):
        return None
    score, loss = e.curves[name], e.curve("train/loss")
    trained = loss is None or (loss.last_step if e.axis == "step" else 0.0) >= BY_STEP or (e.last_epoch or 0.0) >= BY_EPOCH
    no_truth = score.highest < 0.0
    if not (trained or no_truth):
        return None
    logged = e.series[name].logged_as
    told = (
        say("{name} is −1 in all evaluations: by that the evaluator says that it found no truth to compare with.", name=logged)
        if no_truth
        else say("{name} is 0 in all {n} evaluations: not one of the boxes meets a true one.", name=logged, n=score.finite)
    )
    return Sighting(Severity.SERIOUS, told, score.first_step, score.first_step, (name, "train/loss"), file_of(e, name), "finds-nothing")
