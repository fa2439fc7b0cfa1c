"""What a contrastive loss shows of outputs that are told apart by nothing: the cross-entropy of picking the partner among all of a batch."""

from math import log

from postmortem.check import Evidence, Severity, Sighting, say
from postmortem.checklist.levels import course, risen_score
from postmortem.checklist.signs import excerpt

NO_BETTER = 0.003  # relative distance from the level of guessing, at the start and at the end
NOTHING = 0.02  # share of the start
MANY = 10  # epochs or records
ENTROPIES = ("infonce", "info_nce", "ntxent", "nt_xent", "nt-xent", "simclr", "moco", "clip", "contrastive_loss", "contrastive loss")


def picks_at_random(e: Evidence) -> Sighting | None:
    """From the first record to the last the loss is that of a blind choice among the other outputs of the batch."""
    loss, among = course(e), alternatives(e)
    if loss is None or among is None or loss.finite < MANY or excerpt(e) or e.outcome not in ("finished", "early-stopped"):
        return None
    return Sighting(
        Severity.SERIOUS,
        say("The loss ends at {final:.4g}, which is ln {among}: the partner is picked blindly among the others.", final=loss.final, among=among),
        loss.first_step, loss.first_step, (loss.name,), e.series[loss.name].source, "alike",
    )  # fmt: skip


def nothing_parts(e: Evidence) -> Sighting | None:
    """Neither the loss nor its validation comes down by anything, and no score rises: pairs and strangers stay as far apart as they were."""
    loss, val = course(e), e.curve("val/loss")
    if e.family != "contrastive" or loss is None or loss.finite < MANY or not loss.first > 0 or excerpt(e) or risen_score(e) is not None:
        return None
    if any(c.final < (1 - NOTHING) * c.start for c in (loss, val) if c is not None):
        return None
    return Sighting(
        Severity.SERIOUS,
        say("The loss began at {start:.4g} and ends at {final:.4g}: nothing was told apart any better.", start=loss.start, final=loss.final),
        loss.first_step, loss.first_step, (loss.name, "val/loss"), e.series[loss.name].source, "stayed",
    )  # fmt: skip


def alternatives(e: Evidence) -> int | None:
    """The number of outputs of which one is the partner, where the loss is that of guessing among them: the batch (CLIP), or twice the
    batch but for the output itself (SimCLR), by the configured batch size. None where the loss moves away from all of these."""
    loss, batch = course(e), e.number("batch_size")
    if e.family != "contrastive" or loss is None or batch is None or batch < 2 or not _an_entropy(e):
        return None
    counts = (int(batch), int(2 * batch) - 1, int(2 * batch) - 2, int(batch) - 1)
    return next((n for n in counts if n > 1 and max(abs(v / log(n) - 1) for v in (loss.start, loss.final)) < NO_BETTER), None)


def _an_entropy(e: Evidence) -> bool:
    """Not a margin, near which the loss of triplets stays for long while the outputs part."""
    told = [str(s.value).lower() for s in e.settings if isinstance(s.value, str)] + [s.logged_as.lower() for s in e.series.values()]
    return any(word in one for word in ENTROPIES for one in told)
