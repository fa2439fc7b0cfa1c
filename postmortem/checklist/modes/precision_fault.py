"""fp16 loss scale collapses; bf16 updates round away."""

from postmortem.check import Check, Cleared, Clue, Evidence, Reading, Severity, Sighting, Unknown, probe, say
from postmortem.checklist.causes.half_precision_overflow import half_precision_overflow
from postmortem.checklist.causes.loss_scale_collapse import loss_scale_collapse
from postmortem.checklist.causes.update_below_precision import update_below_precision
from postmortem.checklist.limits import asked, is_above, is_below
from postmortem.checklist.quoting import first_line
from postmortem.checklist.signs import excerpt, file_of, scales_of_overflows
from postmortem.model.run import EventKind
from postmortem.model.sentence import Sentence

LOW = 128.0  # loss scales that leave little to halve
LOWEST = 1.0  # of a loss scale, which is a power of two
SEARCHED = 4096.0  # a dynamic scale begins at 2^16 or 2^32 and is halved until it fits: one that stays above was looked for, and found
FEW = 3  # notices; records
MANY = 8  # overflow messages in a row: the first sixteen of a scaler that starts at 2^16 are normal, when it settles


def detect(e: Evidence) -> Sighting | Cleared | Unknown:
    floor = next(iter(e.events_of(EventKind.LOSS_SCALE_FLOOR)), None)
    if floor is not None:
        return Sighting(
            Severity.FATAL,
            say("The loss scale reached its minimum: {text}", text=first_line(floor.text)),
            floor.step,
            floor.step,
            ("loss_scale",),
            floor.source,
            "floor",
        )
    scale = e.curve("loss_scale")
    if scale is not None and scale.finite >= 2 and 0 <= scale.final <= LOWEST and scale.highest > 64 and scale.final == scale.lowest:
        return Sighting(
            Severity.SERIOUS,
            say("The loss scale fell from {high:g} to {low:g}.", high=scale.highest, low=scale.final),
            scale.best_step,
            scale.best_step,
            ("loss_scale",),
            "",
            "scale",
        )
    overflows = e.events_of(EventKind.OVERFLOW)
    loss = e.curve("train/loss")
    scales = scales_of_overflows(e)
    if overflows and scales and min(scales) <= LOWEST:
        return Sighting(
            Severity.FATAL,
            say("Overflow after overflow: the loss scale is down to {low:g}.", low=min(scales)),
            overflows[0].step,
            overflows[0].step,
            (),
            overflows[0].source,
            "overflow",
        )
    falling = len(scales) >= 2 and scales[-1] < scales[0] and scales[-1] <= LOW
    if falling and (excerpt(e) or loss is None or loss.finite < FEW):
        return Sighting(
            Severity.SERIOUS,
            say("The loss scale falls from overflow to overflow, down to {low:g}.", low=scales[-1]),
            overflows[0].step,
            overflows[0].step,
            (),
            overflows[0].source,
            "overflow",
        )
    if len(overflows) >= FEW and loss is None and not (scales and min(scales) >= SEARCHED):
        return Sighting(
            Severity.SERIOUS,
            say("{n} steps were skipped because of overflow, and no loss was logged between them.", n=len(overflows)),
            overflows[0].step,
            overflows[0].step,
            (),
            overflows[0].source,
            "overflow",
        )
    if loss is not None and len(overflows) > max(2 * MANY, 0.3 * loss.points):
        return Sighting(
            Severity.SERIOUS,
            say("{n} steps were skipped because of overflow.", n=len(overflows)),
            overflows[0].step,
            overflows[0].step,
            (),
            overflows[0].source,
            "overflow",
        )
    if overflows or scale is not None:
        return Cleared(say("{n} overflow messages, no collapse.", n=len(overflows)), _figures(e))
    if _half(e):
        return Unknown(
            say("Not measured: half precision is configured, and the loss scale was not logged."),
            "loss_scale",
            say("log GradScaler.get_scale() at every logged step"),
        )
    half = asked(say("half precision is configured or saved"), False, say("{what}", what=_precision(e)))
    return Cleared(say("Nothing says that float16 with a loss scaler was used."), (half, *_figures(e)))


def _figures(e: Evidence) -> tuple[Clue, ...]:
    """The loss scale and the messages of overflow."""
    scale, loss, overflows = e.curve("loss_scale"), e.curve("train/loss"), e.events_of(EventKind.OVERFLOW)
    most = max(2 * MANY, 0.3 * loss.points) if loss is not None else 2
    file = overflows[0].source if overflows else ""
    return (
        is_below(say("the lowest loss scale at which a step was left out"), min(scales_of_overflows(e), default=None), SEARCHED, file),
        is_below(say("the loss scale at the end"), scale.final if scale is not None and scale.finite else None, 2 * LOWEST, file_of(e, "loss_scale")),
        is_above(say("the number of steps skipped because of overflow"), len(overflows), most, file),
    )


def _precision(e: Evidence) -> Sentence | str:
    setting = e.setting("precision")
    if setting is not None:
        return f"{setting.key} = {setting.value}"
    return e.weights.low_precision or say("no word of it")


def _half(e: Evidence) -> bool:
    setting = e.setting("precision")
    text = f"{setting.key} {setting.value}".lower() if setting is not None and setting.value not in (None, False, "no", 32, "32") else ""
    return e.weights.low_precision == "float16" or ("16" in text and "bf16" not in text and "bfloat16" not in text)


@probe(say("the scale kept falling"), holds=1.0, fails=-1.0)
def fell(e: Evidence, seen: Sighting) -> Reading | None:
    scales = scales_of_overflows(e)
    return Reading(scales[-1] < scales[0], say("from {a:g} to {b:g}", a=scales[0], b=scales[-1])) if len(scales) > 1 else None


CHECK = Check(
    id="precision-fault",
    title=say("Precision at fault"),
    symptom=say("The fp16 loss scale collapses, or bf16 updates round away."),
    detect=detect,
    probes=(fell,),
    prior=1.5,
    causes=((loss_scale_collapse, 0.0), (half_precision_overflow, -0.5), (update_below_precision, -2.5)),
    consequences=("crash", "loss-not-decreasing", "underfitting", "frozen-parameters", "resume-fault"),
)
