"""float16 ends at 65,504."""

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import WEIGHTS, curve
from postmortem.checklist.optimizers import scale_collapsed
from postmortem.model.run import EventKind

HALF = ("16", "half", "fp16", "amp", "mixed")


@probe(say("half precision is configured"), holds=3.0, fails=-3.0)
def configured(e: Evidence, seen: Sighting) -> Reading | None:
    setting = e.setting("precision")
    if setting is None:
        return Reading(False, say("no half precision is configured"), share=0.3) if e.settings else None
    text = f"{setting.key} {setting.value}".lower()
    if setting.value in (False, None, "no", "32", 32, "fp32", "float32", "none"):
        return Reading(False, say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)
    half = any(word in text for word in HALF) and "bf16" not in text and "bfloat16" not in text
    return Reading(half, say("{key} = {value}", key=setting.key, value=str(setting.value)), setting.file)


@probe(say("the weights are stored in half precision"), WEIGHTS, holds=2.5, fails=-1.0)
def stored(e: Evidence, seen: Sighting) -> Reading | None:
    kind = e.weights.low_precision
    setting = e.setting("precision")
    if kind is None and setting is not None and any(word in str(setting.value).lower() for word in ("fp16", "float16", "amp", "mixed")):
        return None  # autocast keeps float32 weights
    return Reading(kind == "float16", say("parameters are stored as {dtype}", dtype=kind or "float32"))


@probe(say("the loss scaler overflowed"), holds=1.5)
def overflows(e: Evidence, seen: Sighting) -> Reading | None:
    n = len(e.events_of(EventKind.OVERFLOW, EventKind.LOSS_SCALE_FLOOR))
    return Reading(n >= 3, say("{n} overflow messages", n=n)) if n else None


@probe(say("the loss scale was halved again and again, and overflow went on"), curve("loss_scale"), holds=3.5, fails=-0.5)
def halved(e: Evidence, seen: Sighting) -> Reading | None:
    scale = e.curve("loss_scale")
    if scale is None or scale.finite < 2 or "loss_scale" in seen.show:  # there it is the symptom itself
        return None
    return Reading(scale_collapsed(scale), say("from {high:g} to {low:g}", high=scale.highest, low=scale.final))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    return (
        remedies.fix(
            e,
            say("Train in bfloat16, or in float16 with a loss scaler and float32 weights"),
            say("float16 ends at 65,504 and rounds gradients below 6e-8 to zero; bfloat16 has float32's range."),
            (remedies.change(e, "precision", None),),
            {
                "pytorch": "with torch.autocast(device.type, dtype=torch.bfloat16):\n    loss = criterion(model(x), y)\nloss.backward()",
                "transformers": "args = TrainingArguments(..., bf16=True, fp16=False)",
                "lightning": "Trainer(precision='bf16-mixed')",
                "keras": "keras.mixed_precision.set_global_policy('mixed_bfloat16')",
            },
        ),
    )


half_precision_overflow = Cause(
    id="half-precision-overflow",
    title=say("float16 overflows"),
    mechanism=say(
        "The largest float16 is 65,504: a sum over a batch, a squared norm or an attention logit passes it easily, becomes Inf, and Inf − Inf is NaN."
    ),
    probes=(configured, stored, overflows, halved),
    fixes=fixes,
    by_hand=(say("Run the same steps in float32: if the loss stays finite, precision was the cause."),),
)
