"""The data holds NaN or Inf."""

from postmortem.check import Cause, Evidence, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.needs import BATCH_STATISTICS


@probe(say("recorded batches hold NaN or Inf"), BATCH_STATISTICS, holds=4.5, fails=-4.0)
def recorded(e: Evidence, seen: Sighting) -> Reading | None:
    b = e.batches
    if b is None:
        return None
    return Reading(
        b.non_finite > 0,
        say("up to {n:g} values of a batch, in {share:.0%} of the batches that were looked at", n=b.non_finite, share=b.non_finite_share),
    )


non_finite_inputs = Cause(
    id="non-finite-inputs",
    title=say("Inputs or targets hold NaN or Inf"),
    mechanism=say(
        "Missing values were read as NaN, or a division by zero or a logarithm in the preprocessing made them. One of them makes loss and gradients NaN, "
        "and one optimizer step spreads that to every weight."
    ),
    probes=(recorded,),
    fixes=remedies.only(
        say("Fill or drop missing values, and refuse a batch that is not finite"),
        say("What goes into the model is not finite."),
        {
            "pytorch": "assert torch.isfinite(x).all(), f'batch {i}: {(~torch.isfinite(x)).sum()} values'",
            "keras": "x = np.nan_to_num(x)  # better: find out where they come from",
        },
    ),
    by_hand=(say("Go once through the training set without training and print the index of each sample that is not finite."),),
)
