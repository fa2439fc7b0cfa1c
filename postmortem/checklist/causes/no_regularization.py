"""Nothing holds the model back: no dropout, no weight decay."""

import math

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.causes.too_much_regularization import weight_decay
from postmortem.checklist.needs import CONFIG
from postmortem.checklist.optimizers import decay_is_decoupled
from postmortem.checklist.probes import not_of_the_settings
from postmortem.checklist.signs import training_is_stated

MOST = 0.5  # dropout
PER_GAP = 0.15  # dropout per unit of ln(validation / train)
DECAY_PER_GAP, LEAST_DECAY, MOST_DECAY = 0.05, 0.01, 0.1  # weight decay of AdamW per unit of the same; its bounds
COUPLED = 0.01  # × the same, where it goes through the gradient


@probe(say("neither dropout nor weight decay is configured"), CONFIG, holds=0.9, fails=-2.0)
def none_configured(e: Evidence, seen: Sighting) -> Reading | None:
    decay = weight_decay(e)
    if decay is None and not training_is_stated(e):
        return None
    dropout = e.number("dropout")
    return Reading(not decay and not dropout, say("weight decay {decay}, dropout {dropout}", decay=f"{decay or 0:g}", dropout=f"{dropout or 0:g}"))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    gap = e.gap.gap if e.gap is not None else 1.0
    dropout = round(min(MOST, max(0.1, PER_GAP * gap)), 1)
    decoupled = decay_is_decoupled(e)
    decay = remedies.rounded(min(MOST_DECAY, max(LEAST_DECAY, DECAY_PER_GAP * gap)) * (1.0 if decoupled else COUPLED))
    name = "AdamW" if decoupled else remedies.optimizer_class(e)
    return (
        remedies.fix(
            e,
            say("Add dropout of {p:g}", p=dropout),
            say(
                "Validation loss ends at {times:.3g} × training loss; nothing is configured that would hold the model back.",
                times=math.exp(min(gap, 50)),
            ),
            (remedies.change(e, "dropout", dropout),),
            {"pytorch": f"nn.Sequential(nn.Linear(d, h), nn.ReLU(), nn.Dropout({dropout:g}), ...)"},
        ),
        remedies.fix(
            e,
            say("Add weight decay of {value:g}", value=decay),
            say(
                "Validation loss ends at {times:.3g} × training loss; decay keeps weights small that the data does not need.",
                times=math.exp(min(gap, 50)),
            ),
            (remedies.change(e, "weight_decay", decay),),
            {
                "pytorch": f"optimizer = torch.optim.{name}(model.parameters(), lr=lr, weight_decay={decay:g})",
                "transformers": f"args = TrainingArguments(..., weight_decay={decay:g})",
            },
        ),
    )


no_regularization = Cause(
    id="no-regularization",
    title=say("Nothing regularises the model"),
    mechanism=say("Without dropout, weight decay or augmentation nothing keeps the model from fitting the noise of its training set."),
    probes=(none_configured, not_of_the_settings(fails=-3.0)),
    fixes=fixes,
)
