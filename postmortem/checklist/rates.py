"""Which learning rate fits a run: what its optimizer usually takes for a model of its size, and what its own curve says is missing."""

import math
import statistics

from postmortem.check import Evidence
from postmortem.checklist.levels import loss_curve, of_letters
from postmortem.checklist.optimizers import last_optimizer, optimizer_name, rate_decades, used_rate

UNKNOWN_SIZE = 2e-3  # the median of sound runs that do not tell how large their model is; they lie between 0.001 and 0.01
LARGE_SIZE = 1e-3  # Adam's own default: for what learned before, and for text of a vocabulary
LARGEST, SMALLEST = 3e-3, 1e-4  # Adam, for models from scratch
PLAIN_SGD = 0.1  # nine sound runs took 0.003 to 0.3
WITH_MOMENTUM = (
    0.2  # times (1 − momentum): a gradient counts 1 / (1 − momentum) times; eight sound runs without normalisation took 0.004 to 0.05 at 0.9
)
OTHERS = {"rmsprop": 1e-3, "adagrad": 1e-2, "adafactor": 1e-3, "lion": 1e-4, "adadelta": 1.0}
UNKNOWN_OPTIMIZER = 3e-3  # SGD and Adam both learn with it
NORMALISED = 2.5  # times: batch normalisation takes the scale of the weights out of the steps; eleven sound runs took 0.02 to 0.1 at 0.9
GATED = 2.0  # times: gates that saturate bear larger steps
OF_TRANSFORMERS = ("language-model", "preference")  # which nobody trains with SGD
OF_PREFERENCES, TIMES_OF_ADAPTERS = 1e-6, 10.0  # DPO, GRPO and their kin are given 5e-7 to 5e-6: a policy that moves faster forgets how to answer
SUPPOSED = 0.1  # the same of a Trainer's state alone, which may be that of a model from scratch
FINE_TUNING = 0.03  # of the rate from scratch: 1e-5 to 5e-5 for a BERT
PRETRAINED = ("pretrained", "from_checkpoint", "finetune", "fine_tune", "init_from", "model_name_or_path")
PUBLISHED, TUNED_WITH, KNEW_WORDS = 20_000, 2e-4, 0.7  # words; a learning rate; × the loss of guessing a word
NOTHING_BEFORE = (None, False, 0, "", "none", "no", "scratch")  # values of those settings that say the opposite
NETS_WITH_BATCH_NORM = ("resnet", "resnext", "densenet", "efficientnet", "mobilenet", "regnet", "_bn")
ADAPTED = 0.5  # of the rate from scratch: adapters begin at nothing, and so does the head of what is frozen
BY_SHARE = 0.3  # of the run: by then a loss with the right rate has made its way
GOOD_LOSS = 0.3  # of chance (of the start where chance is unknown): where that way leads
STEP = 5e-3  # rate × momentum / weights: two of three of 15 sound runs lie between 0.0027 and 0.009 at their first checkpoint
SMALLEST_STEP = 1e-3  # momentum / weights: with less there is no gradient to speak of
USUAL_MOMENTUM = 0.9  # with which they were trained
THROWN = 0.65  # decades above the usual initial size
SURE = 0.01  # p of the trend from which the slope is measured
TIMES = 3.0  # how far the measured slope may move the usual rate


def usual_rate(e: Evidence) -> float | None:
    """The rate that the run's optimizer usually takes; None for one that is not known. Twice as much for LSTM and GRU.

    For Adam and its kin 0.003239 − 0.0001395 · ln(parameters), from Kaplan et al. 2020, appendix D.
    """
    name, momentum = optimizer_name(e), _momentum(e)
    if e.family == "preference" and name in ("", "adam"):
        return OF_PREFERENCES * (TIMES_OF_ADAPTERS if e.model.adapters or "lora" in e.intents else 1.0)
    if name == "sgd":
        rate = rate_with_momentum(e, momentum)
    elif name == "adam" or (not name and (e.model.architecture == "transformer" or e.family in OF_TRANSFORMERS)):
        rate = _adam(e)
    elif name in OTHERS:
        rate = OTHERS[name]
    else:
        return None
    return rate * _from_scratch(e) * (GATED if _gated(e) else 1.0)


def _from_scratch(e: Evidence) -> float:
    """Which part it takes of the rate of a model from scratch."""
    fresh = e.model.adapters or "lora" in e.intents or _frozen(e)  # what is trained was drawn for it
    return ADAPTED if fresh else SUPPOSED if state_alone(e) else FINE_TUNING if pretrained(e) else 1.0


def _adam(e: Evidence) -> float:
    parameters = e.model.parameters or e.number("parameters")
    if parameters:
        return min(LARGEST, max(SMALLEST, 0.003239 - 0.0001395 * math.log(parameters)))
    return LARGE_SIZE if pretrained(e) or (e.family in OF_TRANSFORMERS and not of_letters(e)) else UNKNOWN_SIZE


def adam_rate(e: Evidence) -> float:
    """What Adam would usually take for this model."""
    return _adam(e) * _from_scratch(e) * (GATED if _gated(e) else 1.0)


def rate_with_momentum(e: Evidence, momentum: float) -> float:
    """What SGD usually takes with a momentum, 0 for none."""
    if not 0.5 < momentum < 1:
        return PLAIN_SGD
    return WITH_MOMENTUM * (1 - momentum) * (NORMALISED if batch_normalised(e) else 1.0)


def fitting_rate(e: Evidence) -> float | None:
    """The usual rate, moved by at most `TIMES` towards what this run's gradients or else the slope of its loss ask for. For an optimizer that is
    not known the slope may move it further; None for one that is known by a name that says nothing.

    Adam divides by the size of the gradient, so its rate is that of other sound runs, within a factor of 2.4 (one standard deviation of 133 of them):
    the size of its steps beside the weights, and the slope, tell it less well (3.3). What plain descent takes depends on the gradient: 2.2 without it, 1.8 with it.
    """
    usual, times = usual_rate(e), TIMES
    if usual is None:
        if optimizer_name(e):
            return None
        usual, times = UNKNOWN_OPTIMIZER, TIMES**2
    needed = None if optimizer_name(e) == "adam" else rate_of_steps(e) or needed_rate(e)
    if needed is None:
        return usual
    return math.sqrt(usual * min(times * usual, max(usual / times, needed)))


def rate_of_steps(e: Evidence) -> float | None:
    """The rate at which one step along the momentum of plain descent moves the middle layer's weights by `STEP` of their size, from the first
    checkpoint that keeps one; None without it, and once the weights were thrown or the gradient had vanished."""
    first = next((c for c in e.checkpoints if any(g.source == "momentum" for g in c.gradients)), None)
    momentum = _momentum(e)
    if first is None or optimizer_name(e) != "sgd" or not 0.5 < momentum < 1 or (e.weights.first_highest_scale or 0.0) > THROWN:
        return None
    layers, sizes = frozenset(e.model.weight_layers), {t.name: t.rms for t in first.tensors}
    steps = [g.rms / sizes[g.name] for g in first.gradients if g.name in layers and g.source == "momentum" and sizes.get(g.name, 0.0) > 0]
    step = statistics.median(steps) * (1 - momentum) / (1 - USUAL_MOMENTUM) if steps else 0.0
    return STEP / step if SMALLEST_STEP < step < math.inf else None


def needed_rate(e: Evidence) -> float | None:
    """While the rate is far too low the loss falls along a line, and twice the rate makes it fall twice as fast: the rate at which it had
    come to a good value by `BY_SHARE` of the run. None when the loss has no clear slope, or has come a good way already."""
    loss, rate = loss_curve(e), used_rate(e)
    if loss is None or loss.trend is None or rate is None or rate <= 0 or loss.trend.p_value > SURE or loss.trend.slope >= 0:
        return None
    fell = -loss.trend.slope * (loss.last_step - loss.first_step)
    way = loss.start - GOOD_LOSS * (e.chance.loss if e.chance.loss and e.chance.loss > 0 else loss.start)
    if fell <= 0 or way <= 2 * fell:
        return None
    return rate * way / fell / BY_SHARE


def decades_of_its_kind(e: Evidence) -> float | None:
    """log10(rate / usual); what was trained before is trained on with a part of the rate that a fresh model takes."""
    rate, usual = used_rate(e), usual_rate(e) if pretrained(e) else None
    return math.log10(rate / usual) if rate and rate > 0 and usual else rate_decades(e)


def _published(e: Evidence) -> bool:
    """A Trainer's model with the vocabulary of a published one, at a rate that no such model is trained with from scratch, whose first loss is
    not that of guessing a word."""
    words, rate, loss = e.number("vocabulary"), used_rate(e), loss_curve(e)
    if e.framework != "transformers" or words is None or words < PUBLISHED or rate is None or rate > TUNED_WITH or loss is None or not loss.finite:
        return False
    return loss.first < KNEW_WORDS * math.log(words)


def state_alone(e: Evidence) -> bool:
    """Nothing of a Trainer's run but its state, neither weights nor what they are like: supposed to have learned before, as what a Trainer is for."""
    return e.framework == "transformers" and not e.model.weight_layers and e.number("vocabulary") is None and e.number("model_width") is None


def pretrained(e: Evidence) -> bool:
    """The model had learned before this run, by what the configuration says, or by what is usually done with its framework."""
    if state_alone(e) or _published(e):
        return True
    if e.family == "preference":
        return True  # what is preferred is asked of a model that can answer
    if _frozen(e):
        return True  # nobody freezes what nothing was trained into
    return any(_of_what_was_before(s.key.lower()) and s.value not in NOTHING_BEFORE for s in e.settings)


def _frozen(e: Evidence) -> bool:
    frozen = e.setting("frozen_parameters")
    return frozen is not None and frozen.value not in NOTHING_BEFORE


def _of_what_was_before(key: str) -> bool:
    """`_name_or_path` is where a configuration of transformers was loaded from, "" for one that was written."""
    return any(word in key for word in PRETRAINED) or key.rpartition(".")[2] == "_name_or_path"


def batch_normalised(e: Evidence) -> bool:
    """It has batch normalisation, by its checkpoints or by the name of its architecture."""
    name = e.setting("model")
    return e.model.batch_norm or (name is not None and any(word in str(name.value).lower() for word in NETS_WITH_BATCH_NORM))


def _gated(e: Evidence) -> bool:
    """An LSTM or a GRU, by its name, or by its recurrent matrix, which is three or four times as tall as it is wide."""
    named = e.setting("model")
    if named is not None and any(word in str(named.value).lower() for word in ("lstm", "gru")):
        return True
    last = e.checkpoints[-1].tensors if e.checkpoints else ()
    hidden = (t.shape for t in last if len(t.shape) == 2 and any(word in t.name for word in ("weight_hh", "recurrent_kernel")))
    return any(max(a, b) in (3 * min(a, b), 4 * min(a, b)) for a, b in hidden)


def _momentum(e: Evidence) -> float:
    value = e.number("momentum")
    saved = last_optimizer(e)
    if value is None and saved is not None:
        value = saved.settings.get("momentum")
    return value or 0.0
