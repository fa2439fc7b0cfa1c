"""The loss function does not fit the model's output or the target: wrong sign, softmax twice, shapes that broadcast."""

from math import exp, log

from postmortem.check import Cause, Evidence, Fix, Reading, Sighting, probe, say
from postmortem.checklist import remedies
from postmortem.checklist.growth import never_negative
from postmortem.checklist.latents import weight_of_divergence
from postmortem.checklist.levels import course, runaway_smoothness, skill, summed_over, to_chance, training_curves, whole
from postmortem.checklist.needs import CHANCE, curve
from postmortem.checklist.optimizers import rate_decades
from postmortem.checklist.parameters import all_identical
from postmortem.checklist.policies import REPLACED, divergence, fell, grew_sure, sinks
from postmortem.checklist.probes import seen_as
from postmortem.checklist.signs import warned
from postmortem.checklist.softmaxes import doubled_softmax, honest
from postmortem.checklist.starts import as_drawn

LEARNED, LEFT = 0.85, 0.5  # share of the way to perfect accuracy; times chance
STANDS = 2.0  # times chance
UNSURE = 1.06  # × the loss of an equally accurate model that knows how sure it may be
MOVED = 0.1  # relative change of the weights
CALM = 0.4  # × the first gradient norm: what could be learned, the mean of the noise, is learned
AT_ONE = 0.03  # distance of a loss from 1
RECORDS = 8
AT_THE_MEAN, ORDINARY, SHALLOW = 0.1, 1.0, 8  # relative distance of a loss; decades from the usual rate; weight layers
LESS_SURE = 0.8  # share of the weight
MOSTLY, A_LITTLE, SOME, FAR_FROM_HONEST = 0.55, 0.03, 0.13, 1.12  # accuracy; relative distances; × the loss of an equally accurate model
SOFTMAX_RANGE = 1.05  # nats above ln C that a cross-entropy over probabilities can reach


@probe(say("the log warns that target and output have different shapes"), holds=4.0)
def shapes_differ(e: Evidence, seen: Sighting) -> Reading | None:
    if not warned(e, "target-size"):
        return None
    return Reading(True, say("PyTorch warns: using a target size that is different to the input size; the loss then broadcasts"))


@probe(say("the losses of a batch's samples are added up instead of averaged"), CHANCE, holds=4.0)
def added_up(e: Evidence, seen: Sighting) -> Reading | None:
    batch, loss = summed_over(e), e.curve("train/loss")
    if batch is None or loss is None:
        return None
    return Reading(
        True,
        say(
            "the first loss is {level:.3g} × that of guessing, and a batch has {batch:g} samples: each step is as many times as long",
            level=to_chance(e, loss.first) or 0.0,
            batch=batch,
        ),
    )


@probe(say("the loss runs away smoothly below zero or while accuracy falls below chance"), curve("train/loss", 3), holds=3.0, fails=-0.3)
def runs_the_wrong_way(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next(iter(training_curves(e)), None)
    if loss is not None and seen.facet == "negative" and never_negative(e, loss):
        return Reading(
            True, say("{name} falls to {final:.3g}, and no square is below zero", name=e.series[loss.name].logged_as, final=loss.final), share=1.7
        )
    if loss is None or e.family not in ("classifier", "language-model", "regression", "autoencoder", ""):
        return None
    if loss.floor < 0 and seen.facet != "negative":
        return None  # what comes to rest above −1 is a similarity that is subtracted
    if loss.final < 0 and (e.family or seen.facet == "negative"):
        proof = seen.facet == "negative" and e.family in ("classifier", "language-model", "regression")
        detail = say("it falls to {final:.3g}, and a likelihood or a squared error cannot be negative", final=loss.final)
        return Reading(True, detail, share=1.7 if proof else 1.0)
    worst = skill(e, "val")
    worst = skill(e, "train") if worst is None else worst
    grows = loss.log_growth > 0.3 and (loss.trend is None or loss.trend.tau > 0.7)
    return Reading(
        bool(grows and worst is not None and worst < 0.05),
        say("it grows from {start:.3g} to {final:.3g}, steadily", start=loss.start, final=loss.final),
    )


@probe(say("the loss runs away perfectly smoothly: each step goes the wrong way"), curve("train/loss", 8), holds=2.5, fails=-0.8)
def smooth(e: Evidence, seen: Sighting) -> Reading | None:
    return (
        None
        if (o := runaway_smoothness(e)) is None or seen.facet == "negative"
        else Reading(o, say("the loss {what} turn on its way", what=say("hardly ever") if o else say("did")))
    )


yes_or_no = seen_as("shares", claim=say("one class out of several is asked for, and the loss asks for each by itself"), holds=2.2)


@probe(say("by its accuracy the task is learned, and by its loss it is not"), CHANCE, holds=2.5)
def contradicted(e: Evidence, seen: Sighting) -> Reading | None:
    val = e.curve("val/loss")
    good, level = skill(e, "val"), to_chance(e, val.final) if val is not None else None
    if good is None or level is None or good < LEARNED or level < LEFT:
        return None
    return Reading(True, say("{good:.0%} of perfect accuracy beside {level:.2f} × chance", good=good, level=level))


@probe(say("accuracy is good and the loss is not: the floor of a softmax applied twice"), CHANCE, holds=3.0, fails=-1.0)
def softmax_twice(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next((c for c in (e.curve("val/loss"), *training_curves(e)) if c is not None), None)
    classes = e.chance.classes
    good = max((s for s in (skill(e, "val"), skill(e, "train")) if s is not None), default=None)
    if loss is None or not classes or good is None or classes > 1000 or loss.final < 0:
        return None
    one_output = e.model.outputs == 1  # a sigmoid of a sigmoid lies between 1/2 and 0.73
    floor = (log(1 + 1 / exp(1)) + log(2)) / 2 if one_output else log(1 + (classes - 1) / exp(1))
    level = loss.final / floor
    near_floor = good > 0.6 and (0.75 if one_output else 0.97) < level < 1.3
    # probabilities of 0 and 1 fed as logits: floor where right, floor + 1 where wrong
    share_right = good * (1 - 1 / classes) + 1 / classes
    predicted = floor + 1 - share_right
    as_predicted = not one_output and good > 0.2 and abs(loss.final / predicted - 1) < 0.03 and predicted > UNSURE * honest(share_right, classes)
    nearly = not one_output and _nearly_certain(e, floor, classes)
    bounded = max(c.highest for c in (loss, *training_curves(e))) < log(classes) + SOFTMAX_RANGE  # probabilities as logits differ by 1 at most
    if good > LEARNED and not (near_floor or as_predicted):
        return None  # the two contradict each other in another way
    holds = (near_floor or as_predicted or nearly) and (to_chance(e, loss.final) or 0) > 0.5 and (bounded or one_output)
    return Reading(
        holds,
        say(
            "the loss is {loss:.3g}, {level:.2f} × the floor {floor:.3g} of a softmax fed with probabilities, at {good:.0%} of perfect accuracy",
            loss=loss.final,
            level=level,
            floor=floor,
            good=good,
        ),
        share=LESS_SURE if nearly and not (near_floor or as_predicted) else 1.0,
    )


def _nearly_certain(e: Evidence, floor: float, classes: int) -> bool:
    """Training and validation both cost little more than certain answers fed as logits would, and far more than a model that is right as often
    and knows how sure it may be."""
    pairs = [
        (loss, right) for split in ("train", "val") if (loss := e.curve(f"{split}/loss")) and (right := e.curve(f"{split}/accuracy")) and right.finite
    ]
    if len(pairs) < 2:
        return False
    shares = [(loss.final, right.final / whole(right)) for loss, right in pairs]
    return all(
        right > MOSTLY and -A_LITTLE < loss / (floor + 1 - right) - 1 < SOME and loss > FAR_FROM_HONEST * honest(right, classes)
        for loss, right in shares
    )


@probe(say("loss and accuracy add up to ln(classes − 1 + e), on training and on validation data: a softmax of probabilities"), holds=5.0)
def doubled(e: Evidence, seen: Sighting) -> Reading | None:
    found = doubled_softmax(e)
    if found is None:
        return None
    return Reading(True, say("within {off:.2g} nats, for {classes} classes", off=found.off, classes=found.classes))


@probe(say("the target is met by its mean from the first record on, by weights that began and moved as they should"), CHANCE, holds=2.0)
def only_the_mean(e: Evidence, seen: Sighting) -> Reading | None:
    """Differences of each prediction to each target of the batch, which broadcast shapes give, are least where all predictions are the mean."""
    loss, decades = course(e), rate_decades(e)
    level = to_chance(e, loss.final) if loss is not None else None
    if e.family != "regression" or loss is None or level is None or decades is None or abs(decades) > ORDINARY:
        return None
    if not as_drawn(e) or len(e.model.weight_layers) > SHALLOW:
        return None  # what is deeper may let nothing through
    stands = abs(level - 1.0) < AT_THE_MEAN and abs(loss.final / loss.start - 1.0) < AT_THE_MEAN
    return Reading(True, say("it ends at {level:.2f} × chance", level=level)) if stands else None


no_logarithm = seen_as(
    "bare", claim=say("the loss is minus a probability: what takes logarithms of probabilities was given the probabilities"), holds=5.0
)


@probe(say("the loss is low where accuracy is that of guessing"), holds=2.5, fails=0.0)
def low_loss_guessing(e: Evidence, seen: Sighting) -> Reading | None:
    return Reading(True, seen.summary) if seen.facet == "contradiction" and "guessing" in seen.summary.template else None


@probe(say("loss and accuracy disagree"), CHANCE, holds=2.0, fails=-0.3)
def disagree(e: Evidence, seen: Sighting) -> Reading | None:
    loss = next((c for c in training_curves(e)), None)
    accuracy = e.curve("val/accuracy") or e.curve("train/accuracy")
    if loss is None or accuracy is None or e.family not in ("classifier", ""):
        return None
    falls, drops = loss.net_change < -0.4, accuracy.net_change < -0.2
    good = skill(e, "val")
    starts = to_chance(e, loss.start)
    odd = (falls and drops) or (starts is not None and starts > 3 and good is not None and good < 0.2 and falls)
    return Reading(
        bool(odd), say("the loss changed by {loss:+.0%} and accuracy by {accuracy:+.0%}", loss=loss.net_change, accuracy=accuracy.net_change)
    )


@probe(say("from the first record to the last the loss stands far above chance: the logarithm of a clipped probability"), CHANCE, holds=2.5)
def clipped(e: Evidence, seen: Sighting) -> Reading | None:
    loss, val = next(iter(training_curves(e)), None), e.curve("val/loss")
    level = to_chance(e, loss.final) if loss is not None else None
    if loss is None or level is None or loss.finite < 3 or e.family not in ("classifier", "language-model") or loss.start <= 0:
        return None
    shown = val if val is not None and val.finite >= 3 else loss
    stands = abs(loss.final / loss.start - 1) < 0.1 and shown.highest - shown.lowest < 0.02 * abs(shown.final)
    return Reading(level > STANDS and stands, say("it is {loss:.3g}, {level:.2g} × chance, and does not move", loss=loss.final, level=level))


@probe(say("the first loss is exactly the chance level and the gradient norm tiny"), curve("grad_norm"), CHANCE, holds=0.8)
def tiny_norm(e: Evidence, seen: Sighting) -> Reading | None:
    loss, norm = e.curve("train/loss"), e.curve("grad_norm")
    if loss is None or norm is None:
        return None
    level = to_chance(e, loss.first)
    return Reading(level is not None and abs(level - 1) < 2e-3 and norm.start < 0.05, say("the gradient norm starts at {norm:.2g}", norm=norm.start))


@probe(say("by small steps the policy learned what earns less: it is led the wrong way"), holds=4.0)
def led_the_wrong_way(e: Evidence, seen: Sighting) -> Reading | None:
    reward, entropy, moved = e.curve("reward"), grew_sure(e), divergence(e)
    if seen.facet != "reward" or reward is None or not fell(reward) or (moved is not None and moved[1] > REPLACED):
        return None
    if entropy is not None:
        detail = say("the reward fell from {start:.3g} to {final:.3g} while entropy fell from {first:.3g} to {last:.3g}",
                     start=reward.start, final=reward.final, first=entropy.first, last=entropy.final)  # fmt: skip
        return Reading(True, detail)
    detail = say("the reward fell evenly, from {start:.3g} to {final:.3g}", start=reward.start, final=reward.final)
    return Reading(True, detail) if sinks(reward) else None


@probe(say("every answer earns the same: the reward tells none from another"), holds=5.0, fails=-0.5)
def one_reward(e: Evidence, seen: Sighting) -> Reading | None:
    reward = e.curve("reward")
    if seen.facet != "no-gradient" or reward is None or not reward.finite:
        return None
    return Reading(reward.distinct == 1, say("{n} records hold {distinct} distinct values", n=reward.finite, distinct=reward.distinct))


@probe(say("the policy learns, and what it is compared with learns along"), holds=6.0)
def with_itself(e: Evidence, seen: Sighting) -> Reading | None:
    norm = e.curve("grad_norm")
    learns = (e.weights.change_median or 0.0) > 0 or (norm is not None and norm.final > 0)
    return Reading(True, seen.summary) if seen.facet == "itself" and learns and not all_identical(e) else None


@probe(say("the loss of a denoiser stays at 1, the variance of the noise: what it is asked for has nothing to do with what was added"), holds=4.0)
def noise_unrelated(e: Evidence, seen: Sighting) -> Reading | None:
    loss = course(e)
    norm = e.curve("grad_norm")
    calmed = norm is not None and norm.finite >= RECORDS and 0 < norm.final < CALM * norm.first
    if e.family != "diffusion" or loss is None or loss.finite < RECORDS or not (calmed or (e.weights.change_median or 0.0) >= MOVED):
        return None
    at_one = max(abs(loss.start - 1.0), abs(loss.final - 1.0)) < AT_ONE
    return Reading(at_one, say("it went from {start:.3g} to {final:.3g} although steps were made", start=loss.start, final=loss.final))


def fixes(e: Evidence, seen: Sighting) -> tuple[Fix, ...]:
    if seen.facet == "itself":
        return (
            remedies.fix(
                e,
                say("Compare the policy with a frozen copy of where it started"),
                say("The reference moves with the policy: they are one and the same module, or share their weights."),
                snippets={"pytorch": "reference = copy.deepcopy(policy).eval().requires_grad_(False)  # before the first step"},
            ),
        )
    if seen.facet == "reward":
        return (
            remedies.fix(
                e,
                say("Turn the sign of the policy's loss: it is minimised, so it is −advantage × log-probability (of the ratio in PPO)"),
                say("The policy learns what earns less."),
            ),
        )
    if seen.facet == "latents":
        return (
            remedies.fix(
                e,
                say("Sum the reconstruction over all elements and the divergence over all latent variables, and average both over the batch only"),
                say("A mean over elements makes the reconstruction as many times too light as there are elements."),
                snippets={
                    "pytorch": "recon = F.mse_loss(x_hat, x, reduction='sum') / len(x)\n"
                    "kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum(dim=1).mean()\nloss = recon + kl"
                },
            ),
        )
    if summed_over(e):
        return (
            remedies.fix(
                e,
                say("Average the loss over the batch instead of adding it up"),
                say("Gradients are as many times too large as a batch has samples, and change with its size."),
                snippets={"pytorch": "loss = F.cross_entropy(model(x), y)  # reduction='mean'"},
            ),
        )
    return _expected(e, seen)


_expected = remedies.only(
    say("Give the loss what it expects: raw logits for cross-entropy, equal shapes for a squared error, a minus sign for a likelihood"),
    say("The loss that was logged contradicts the accuracy, or cannot have this value for this task."),
    {
        "pytorch": "# logits, no softmax: nn.CrossEntropyLoss applies log_softmax itself\nloss = F.cross_entropy(model(x), y)\n# regression: equal shapes\n"
        "loss = F.mse_loss(model(x).squeeze(-1), y)",
        "keras": "model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))  # when the last layer has no softmax",
    },
    resets=("loss",),
)


@probe(say("reconstruction and divergence are not summed over the same things"), holds=2.5, fails=-1.0)
def reductions_differ(e: Evidence, seen: Sighting) -> Reading | None:
    if seen.facet != "latents":
        return None
    weight = weight_of_divergence(e)
    told = say("{key} is {value}", key=weight.key, value=weight.value) if weight else say("no weight of the divergence is configured")
    return Reading(weight is None or float(weight.value or 0.0) <= 1.0, told, weight.file if weight else "")


wrong_loss = Cause(
    id="wrong-loss",
    title=say("The loss function does not fit the output or the target"),
    mechanism=say(
        "A softmax before a loss that applies its own, a missing minus sign, a mean over shapes that broadcast: the number goes down (or cannot), and what it "
        "measures is not the task."
    ),
    probes=(
        shapes_differ,
        runs_the_wrong_way,
        smooth,
        contradicted,
        yes_or_no,
        softmax_twice,
        doubled,
        only_the_mean,
        clipped,
        low_loss_guessing,
        disagree,
        tiny_norm,
        led_the_wrong_way,
        one_reward,
        with_itself,
        noise_unrelated,
        reductions_differ,
        added_up,
    ),
    fixes=fixes,
    by_hand=(
        say("Compute the loss by hand for a batch of two and compare."),
        say("Print the shapes and ranges of output and target that go into the loss."),
    ),
)
