"""What several checks read off the evidence in the same way. Ratios and comparisons, no thresholds that decide."""

import math
from collections.abc import Sequence
from itertools import pairwise

from postmortem.check import Evidence
from postmortem.checklist.warmup import share_reached
from postmortem.model.curves import CurveStats
from postmortem.model.run import EventKind
from postmortem.model.tensors import OptimizerFacts, TensorStats

SURELY, LEVEL = 2.5, 2.0  # standard errors
COARSE = 0.02  # × ln C: a standard error that leaves nothing to be seen
FEW_PASSES = 4.0  # over the data until the training loss is halved; what is learned by heart, or drawn by lot, takes six and more
FIRST_STEPS = 1.0  # of an epoch: until then no sample was seen before
BELOW_GUESS = 0.5  # × the accuracy of a guess
USUAL_RATES = {
    "adam": 1e-3,
    "sgd": 0.05,
    "rmsprop": 1e-3,
    "adagrad": 1e-2,
    "lion": 1e-4,
}  # what a fresh small model is trained with; the unit of `rate_decades`
BEYOND_ANY = 30.0  # × the highest of them; Adadelta and what finds its own rate are given 1.0, twenty times
BELOW_ANY = 20.0  # the lowest of them / this
NOTHING_EXPECTED = frozenset({"gan", "reinforcement", "preference", "contrastive"})  # families whose loss need not fall


def loss_curve(e: Evidence) -> CurveStats | None:
    """The training loss, else the validation loss; of a training that was logged once or twice, the validation loss."""
    train, val = e.curve("train/loss"), e.curve("val/loss")
    hardly = train is not None and val is not None and train.finite < 3 <= val.finite and train.non_finite is None
    return val if train is None or hardly else train


def course(e: Evidence) -> CurveStats | None:
    """The training loss as epoch means, when there are enough of them to show a course; else as logged."""
    means = e.curve("train/loss.epoch")
    return means if means is not None and means.finite >= 3 else loss_curve(e) or means


def training_curves(e: Evidence) -> tuple[CurveStats, ...]:
    """Step-wise and epoch-wise training loss, whichever were logged."""
    return tuple(c for c in (e.curve("train/loss"), e.curve("train/loss.epoch")) if c is not None)


def to_chance(e: Evidence, loss: float | None) -> float | None:
    """loss / chance level: 1 is a model that knows nothing. None when either is unknown."""
    if loss is None or not e.chance.loss or e.chance.loss <= 0 or math.isnan(loss):
        return None
    return loss / e.chance.loss


def to_attainable(e: Evidence, loss: float | None) -> float | None:
    """`to_chance` where labels are smoothed: 0 is the entropy of the smoothed labels, below which no training loss comes, 1 is guessing."""
    share, classes, chance = e.number("label_smoothing"), e.chance.classes, e.chance.loss
    if loss is None or not share or not 0 < share < 1 or not classes or classes < 2 or not chance:
        return to_chance(e, loss)
    wrong = share / classes
    right = 1 - share + wrong
    floor = -right * math.log(right) - (classes - 1) * wrong * math.log(wrong)
    return (loss - floor) / (chance - floor) if chance > floor else None


def whole(c: CurveStats) -> float:
    """What a share is out of: 100 where it was logged in per cent, else 1."""
    return 100.0 if c.highest > 1.5 else 1.0


def above_chance(e: Evidence, accuracy: float | None) -> float | None:
    """(accuracy − 1/C) / (1 − 1/C): 0 is guessing, 1 perfect, below 0 worse than guessing."""
    base = e.chance.accuracy
    if accuracy is None or base is None or base >= 1 or math.isnan(accuracy):
        return None
    share = accuracy / 100.0 if accuracy > 1.0 else accuracy
    return (share - base) / (1.0 - base)


def skill(e: Evidence, split: str, *, best: bool = False) -> float | None:
    """Accuracy of a split above chance, at the end or at its best."""
    c = e.curve(f"{split}/accuracy")
    if c is None or not c.finite:
        return None
    value = (c.best if best else c.final) / whole(c)
    above = above_chance(e, value)
    few = (e.chance.classes or 0) <= 3
    if above is not None and few and c.constant and c.finite >= 5 and value < 0.9:
        return min(above, 0.0)  # always the same answer, and the share of samples that it fits
    return above


def last_optimizer(e: Evidence) -> OptimizerFacts | None:
    """The newest saved optimizer, None without any."""
    return next((c.optimizer for c in reversed(e.checkpoints) if c.optimizer is not None), None)


TRANSFORMERS = ("transformer", "former", "bert", "gpt", "llama", "vit", "t5")


def optimizer_name(e: Evidence) -> str:
    """A key of `USUAL_RATES` ("adam" with its kin), another name, or ""."""
    saved = next((c.optimizer.kind for c in reversed(e.checkpoints) if c.optimizer is not None and c.optimizer.kind), "")
    setting = e.setting("optimizer")
    name = (saved or (str(setting.value) if setting else "")).lower()
    if "adam" in name or "lamb" in name:
        return "adam"
    if "sgd" in name or "momentum" in name:
        return "sgd"
    if not name and (e.framework == "transformers" or e.model.architecture == "transformer" or _named_transformer(e)):
        return "adam"  # which all of them are trained with
    return next((known for known in USUAL_RATES if known in name), name)


def _named_transformer(e: Evidence) -> bool:
    setting = e.setting("model")
    return setting is not None and any(word in str(setting.value).lower() for word in TRANSFORMERS)


def learning_rate(e: Evidence) -> float | None:
    """The learning rate that was meant: the configured one, else the highest that was used for a while."""
    configured = e.number("learning_rate")
    if configured is not None:
        return configured
    if e.schedule is not None:
        return e.schedule.peak if e.schedule.source != "optimizer" else _saved_rate(e, e.schedule.peak)
    return next((c.optimizer.learning_rates[0] for c in e.checkpoints if c.optimizer is not None and c.optimizer.learning_rates), None)


def used_rate(e: Evidence) -> float | None:
    """The learning rate that was really used: logged or saved, else configured."""
    if e.schedule is not None and e.schedule.source == "logged":
        return e.schedule.peak
    rate = learning_rate(e)
    return rate if rate is None else rate * share_reached(e)


def _saved_rate(e: Evidence, peak: float) -> float | None:
    """The rate that training began with, by its checkpoints. What one of them holds is the rate of that moment: the peak only when no
    scheduler had changed it, and None when it had decayed away."""
    saved = next((c.optimizer for c in e.checkpoints if c.optimizer is not None), None)
    initial = saved.settings.get("initial_lr") if saved is not None else None
    rate = initial if initial is not None else peak
    return rate if rate > DECAYED_AWAY else None


def rate_leapt(e: Evidence) -> bool:
    """The logged learning rate leapt far above what it was meant to be: no schedule, which may fall to 0 and start again, does that."""
    s = e.schedule
    return s is not None and s.source == "logged" and s.jump_step is not None and s.jump > LEAP and s.highest > LEAP / 4 * s.peak


DECAYED_AWAY = 1e-9  # no training is begun with less
LEAP = 20.0  # ratio of neighbouring learning rates


def rate_decades(e: Evidence) -> float | None:
    """log10(learning rate / usual) for the optimizer: 0 is usual, +2 a hundred times more. None when either is unknown; of an optimizer
    that is not known at least this much, for a rate that is far beyond what any of them takes."""
    rate, name = used_rate(e), optimizer_name(e)
    usual = USUAL_RATES.get(name)
    if rate is None or rate <= 0:
        return None
    if usual is None:
        lowest, highest = min(USUAL_RATES.values()), max(USUAL_RATES.values())
        usual = highest if rate > highest * BEYOND_ANY else lowest if rate < lowest / BELOW_ANY else None
    if usual is None or (name and name not in USUAL_RATES):
        return None
    momentum = e.number("momentum")
    if name == "sgd" and momentum and 0.5 < momentum < 1:
        usual *= min(0.5, 5.0 * (1.0 - momentum))  # a gradient counts 1 / (1 − momentum) times
    return math.log10(rate / usual)


def learned_nothing_at_all(e: Evidence) -> bool | None:
    """The training loss lies above ln C throughout and does not fall. Any update of the last bias brings it to ln C, or to the entropy
    of the classes' shares, which is less: so nothing was updated. False when it came down to below ln C; None between the two, and where
    the level of guessing is not known."""
    loss = e.curve("train/loss")
    h = loss.halves if loss is not None else None
    if h is None or e.chance.loss is None or e.chance.classes is None or h.error > COARSE * e.chance.loss:
        return None
    above = (h.mean - e.chance.loss) / h.error
    if above > SURELY and abs(h.fell) < LEVEL:
        return True
    return False if above < -SURELY and h.fell > LEVEL else None


def passes_to_half(e: Evidence) -> float | None:
    """Passes over the data until the training loss was half of what it began with; None when it never was or epochs are not known."""
    return e.epoch_at(e.gap.halved_step) if e.gap is not None else None


def learned_at_once(e: Evidence) -> float | None:
    """`passes_to_half`, where they are so few that nothing was learned by heart; None otherwise."""
    passes = passes_to_half(e)
    return passes if passes is not None and passes <= FEW_PASSES else None


def below_any_guess(e: Evidence) -> bool | None:
    """Validation is right less often than guessing would be, however many the classes: the first training loss, that of a model that
    knows nothing, is ln C or more. None where that first loss or the accuracy was not logged, and where it came after an epoch."""
    loss, right = e.curve("train/loss"), e.curve("val/accuracy")
    if loss is None or right is None or not loss.finite or not right.finite or right.highest > 1.0 or loss.reduction == "epoch":
        return None
    if loss.first_step > FIRST_STEPS * (e.steps_per_epoch or 0.0) or e.family not in ("", "classifier"):
        return None
    return right.final < BELOW_GUESS * math.exp(-loss.first)


def training_samples(e: Evidence) -> float | None:
    """Samples of the training set: as configured, else steps per epoch × batch size where steps are counted."""
    configured, batch = e.number("train_samples"), e.number("batch_size")
    if configured is not None or not batch or not e.steps_per_epoch or e.axis != "step":
        return configured
    return e.steps_per_epoch * batch


def hidden_width(e: Evidence) -> float | None:
    """Units of the narrowest hidden layer: as configured, else by the shapes of the last checkpoint. What no later layer reads is a head
    of its own and none of them: a critic's one value beside an actor's actions."""
    configured = e.number("model_width")
    if configured is not None:
        return configured
    layers = [t for t in (e.checkpoints[-1].tensors if e.checkpoints else ()) if t.role == "weight" and t.fan_in and len(t.shape) >= 2]
    head = [t for t in layers if t.name == e.model.head]
    found = []
    for n, t in enumerate(layers):
        recurrent = "_hh" in t.name or "recurrent" in t.name  # its rows are gates; what it takes in is as wide as the layer
        gates = not recurrent and e.model.recurrent and "_ih" in t.name
        if t.name != e.model.head and not gates and (recurrent or _read_by_one(t, layers[n + 1 :] + head)):
            found.append((t.fan_in or 0.0) if recurrent else t.count / (t.fan_in or 1))
    return min(found, default=None)


LETTERS = (4.1, 5.7)  # ln of the outputs of a model of letters or bytes


def of_letters(e: Evidence) -> bool:
    """A language model of letters or bytes, by its level of guessing: what is known of text then holds in nats a letter."""
    return e.family == "language-model" and LETTERS[0] <= (e.chance.loss or 0.0) <= LETTERS[1]


NARROW, NARROW_TEXT = 8, 16  # hidden units; of a language model, whose head tells hundreds of tokens apart


def is_narrow(e: Evidence) -> bool:
    """The narrowest hidden layer has too few units for nearly any task. False where nothing tells how many it has."""
    width = hidden_width(e)
    return width is not None and width < (NARROW_TEXT if e.family == "language-model" else NARROW)


def _read_by_one(layer: TensorStats, others: Sequence[TensorStats]) -> bool:
    """Whether one of the layers takes in as many values as this one puts out, or all places of as many channels."""
    units = layer.count // (layer.fan_in or 1)
    channels = len(layer.shape) > 2
    return any(t.fan_in == units or (channels and (t.fan_in or 0) % units == 0) for t in others)


ABSURD_NORM = 300.0  # of a gradient before any clipping; healthy runs start at 0.1 to 30


def clip_norm(e: Evidence) -> float | None:
    """The configured gradient clip norm; None when none is configured or it is off (0)."""
    value = e.number("gradient_clip_norm") or e.number("gradient_clip_value")
    return value if value and value > 0 else None


def first_norm(e: Evidence) -> float | None:
    """The norm of the gradient before any update, when it was logged and nothing clipped it."""
    norm = e.curve("grad_norm")
    unseen = norm is None or not norm.finite or norm.first_step > 2 or norm.reduction == "epoch" or clip_norm(e) is not None
    return None if norm is None or unseen else norm.first


def scale_collapsed(scale: CurveStats) -> bool:
    """A loss scale that was halved until nothing was left to halve."""
    return scale.final <= 1.0 and scale.highest > 64


def has_event(e: Evidence, *kinds: EventKind) -> bool:
    return bool(e.events_of(*kinds))


def warned(e: Evidence, about: str) -> bool:
    """A known warning stands in the log; `about` is the reader's word for it."""
    return any(ev.data.get("about") == about for ev in e.events_of(EventKind.WARNING))


def all_identical(e: Evidence) -> bool:
    """Nothing moved between checkpoints: bit-identical but for 5 %. With a single checkpoint: every weight layer is as it was drawn."""
    share = e.weights.identical_share
    if share is None:
        return trained(e) and bool(e.model.weight_layers) and set(e.model.weight_layers) <= set(e.weights.as_drawn)
    return share >= 0.95 and (e.model.head is None or e.model.head in e.weights.identical)


def trained(e: Evidence) -> bool:
    """The last checkpoint was saved after training had gone on for a while."""
    steps = [c.step for c in e.checkpoints if c.step is not None]
    return bool(steps) and steps[-1] > (e.first_step or 0.0) and steps[-1] > 0


SLOW = -1.3  # decades below the usual rate: weights move by less than a single checkpoint can show


def trainable_of(e: Evidence) -> tuple[float, float] | None:
    """(trainable, all) parameters, as checkpoints or the log's summary of the model say; None when neither does."""
    part, whole = e.model.trainable or e.number("trainable_parameters"), e.model.parameters or e.number("parameters")
    return (part, whole) if part and whole and part <= whole else None


def standing_still(e: Evidence) -> tuple[str, ...] | None:
    """Tensors that never moved: bit-identical in all checkpoints; with a single one, the layers from the input on that are as they
    were drawn, when no later one is. None when nothing can be said."""
    if e.weights.identical_share is not None:
        return e.weights.identical
    if e.weights.checkpoints != 1 or not trained(e):
        return None
    drawn, layers = frozenset(e.weights.as_drawn), e.model.weight_layers
    front = next((n for n, layer in enumerate(layers) if layer not in drawn), len(layers))
    decayed = e.schedule is not None and e.schedule.source == "optimizer" and e.schedule.peak < DECAYED_AWAY
    slow = decayed or (rate_decades(e) or 0.0) < SLOW
    return e.weights.as_drawn if front == len(drawn) and not (slow and front < len(layers)) else ()


def excerpt(e: Evidence) -> bool:
    """The log begins in the middle of training: a piece of it that somebody pasted, or what one attempt wrote."""
    shown = loss_curve(e) or e.curve("reward")
    if shown is None:
        return False
    if shown.finite < FEW_OF_AN_ATTEMPT and _went_on(e):
        return True
    if e.first_step is not None and e.last_step and e.first_step > 0.3 * e.last_step and e.first_step > 5 and shown.points > 1:
        return True
    return bool(e.steps_per_epoch and e.first_step is not None and e.first_step > 2 * e.steps_per_epoch)


FEW_OF_AN_ATTEMPT = 10  # records of what went on from an earlier attempt


def _went_on(e: Evidence) -> bool:
    """This attempt began where another one had been, and not at the beginning."""
    return any(before.first_step < own.first_step == e.first_step and own.last_step == e.last_step for before, own in pairwise(e.attempts))


def whole_run(e: Evidence) -> bool:
    """There is more than a log: checkpoints or configuration files, so that this is a run's own directory."""
    return bool(e.saved) or any(s.file.endswith((".json", ".yaml", ".yml", ".toml")) for s in e.settings)


def before_it_grew(e: Evidence, loss: CurveStats) -> float:
    """The level from which a growth of the loss is counted: its first record or its first few, whichever is lower. In a piece of a
    log the first record alone is no level."""
    if loss.first <= 0 or excerpt(e):
        return loss.start
    return min(loss.start, loss.first)


def starts_normal(e: Evidence) -> bool | None:
    """The loss logged before (or right after) the first update is that of a sane, untrained model: initial weights and inputs
    were no cause of what came later. None when the log does not begin there."""
    loss = e.curve("train/loss")
    if loss is None or not loss.finite or loss.first_step > 2 or loss.reduction == "epoch":
        return None
    level = to_chance(e, loss.first)
    if level is not None:
        return level < 1.6
    return loss.first <= 2.0 * loss.best if loss.best > 0 else None


TINY = 0.1  # nats: 15 % of the chance level of two classes, less of that of more
ABSURD = 1e6  # a first loss that no scaling of inputs or targets explains when the chance level is unknown


def starts_absurd(e: Evidence) -> bool:
    """The very first loss, before any update, is already beyond anything that an untrained model gives."""
    loss = e.curve("train/loss")
    if loss is None or not loss.finite or loss.first_step > 2 or loss.reduction == "epoch":
        return False
    level = to_chance(e, loss.first)
    return level > 3.5 if level is not None else loss.first > ABSURD


def runaway_smoothness(e: Evidence) -> bool | None:
    """A loss that runs away with almost no turn (noise turns at 1/2 to 2/3 of its points). None when it does not run away."""
    loss = next(iter(training_curves(e)), None)
    if loss is None or loss.oscillation is None or loss.trend is None or abs(loss.final) < 3 * abs(loss.start):
        return None
    return loss.oscillation.turn_rate < 0.2 and abs(loss.trend.tau) > 0.85


def nothing_moved(e: Evidence) -> bool:
    """All parameters are bit-identical from the first checkpoint to the last."""
    return (e.weights.identical_share or 0.0) >= 1.0


AGAIN = ("restart", "warm_restart", "cycl", "sgdr", "triangular")


def comes_down_once(e: Evidence) -> bool:
    """The configuration names a schedule that decays once: a cosine without restarts, linear, exponential, polynomial."""
    setting = e.setting("schedule")
    name = "" if setting is None else str(setting.value).lower()
    again = any(word in name or word in s.key.lower() for word in AGAIN for s in e.settings) or any(
        s.key.lower() in ("t_0", "num_cycles", "t_mult") for s in e.settings
    )
    return any(word in name for word in ("cosine", "linear", "exponential", "poly")) and not again


def without_gradient(e: Evidence) -> frozenset[str]:
    """Tensors that the optimizer holds and whose gradient was exactly 0 in every step: dead, not frozen."""
    if not e.checkpoints:
        return frozenset()
    zero = frozenset(g.name for g in e.checkpoints[-1].gradients if g.zero_share >= 1.0 or g.rms == 0.0)
    return zero | frozenset(e.weights.decayed)


SCATTER = 3.0  # sigmas of a reward's own scatter
LITTLE_FALL = 0.1  # share of the start: a loss that fell less is flat
AT_CHANCE = (0.9, 1.2)  # times chance, where a model is that knows nothing
ALL_ZERO = 0.4  # share of the weight layers that hold nothing but zeros: the model was born dead


def relative_fall(c: CurveStats) -> float:
    """(start − final) / |start|; negative when it rose, 0 when it started at 0. Of a loss that cannot fall below −1 the share of the way
    there, from its first record on, for its floor is soon reached."""
    if c.floor < 0:
        began = max(c.start, c.first)
        return (began - c.final) / (began - c.floor) if began > c.floor else 0.0
    return (c.start - c.final) / abs(c.start) if c.start else 0.0


SCORES = ("train/accuracy", "train/f1", "train/score", "train/auc", "val/accuracy", "val/f1", "val/score", "val/auc")
RISING = 0.5  # Kendall's tau
ROSE = 0.05  # of a score from 0 to 1, over the run
MANY_RECORDS = 30


def risen_score(e: Evidence) -> CurveStats | None:
    """An accuracy or a score that rose steadily and by much, whatever the loss did, which may be a sum of several."""
    for name in SCORES:
        c = e.curve(name)
        if c is None or c.finite < MANY_RECORDS or c.trend is None or c.trend.tau < RISING or c.trend.p_value > 1e-6:
            continue
        if c.final - c.start > ROSE * whole(c):
            return c
    return None


WATCHED = 10  # records of a spread that was logged
_OUTPUTS = frozenset({"output", "outputs", "embedding", "embeddings", "feature", "features", "representation", "representations", "z"})


def output_spread(e: Evidence) -> CurveStats | None:
    """The logged standard deviation of what a self-supervised model puts out for different inputs: 1/√d for d normalised outputs that
    point everywhere, 0 where all are one."""
    for name, c in e.curves.items():
        words = frozenset(name.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_"))
        if "std" in words and words & _OUTPUTS and c.zeros != c.finite and c.finite >= WATCHED:
            return c
    return None


def weights_are_zero(e: Evidence) -> bool:
    """Whole layers are exactly zero: nothing can die, fade or shrink there."""
    return (e.weights.zero_weight_share or 0.0) > ALL_ZERO


def loss_is_flat(e: Evidence) -> bool:
    """The training loss is about where it began, or about where a model that knows nothing is. Without a loss: the reward never rose."""
    c, reward = loss_curve(e), e.curve("reward")
    if c is None and reward is not None:
        return reward.final - reward.start < max(SCATTER * reward.noise, LITTLE_FALL * abs(reward.start))
    if c is None or c.finite < 2:
        return False
    level = to_chance(e, c.final)
    return relative_fall(c) < LITTLE_FALL or (level is not None and AT_CHANCE[0] < level < AT_CHANCE[1])


def validation_level(e: Evidence) -> float | None:
    """Final validation loss / chance. Where the number of classes is not known, a classifier has at least two."""
    c = e.curve("val/loss")
    if c is None:
        return None
    level = to_chance(e, c.final)
    if level is None and e.family == "classifier" and e.chance.loss is None and 0 <= c.final < TINY:
        return c.final / math.log(2)
    return level


def file_of(e: Evidence, name: str) -> str:
    """The file that a curve was read from."""
    series = e.series.get(name)
    return series.source if series is not None else ""


def optimizer_lags(e: Evidence) -> list[tuple[float, float]]:
    """(lag, steps made) of each checkpoint whose optimizer counts its steps, in order; both in optimizer steps."""
    known = [(o.lag, o.lag + o.step) for c in e.checkpoints if (o := c.optimizer) is not None and o.lag is not None and o.step is not None]
    return [(lag, made) for lag, made in known if made]


def optimizer_fell_behind(e: Evidence) -> tuple[float, float, float | None] | None:
    """(lag, steps made, where on the run's axis the lag began) at the last checkpoint whose optimizer fell behind since the first one.

    A lag in proportion to the steps made is a way of counting (micro-batches, two optimizers in turn), not a loss.
    """
    lags = optimizer_lags(e)
    if len(lags) < 2:
        return None
    (first, at), (lag, made) = lags[0], lags[-1]
    if lag <= first + 1 or lag / made <= max(0.05, 2 * first / at):
        return None
    last = next((c.step for c in reversed(e.checkpoints) if c.optimizer is not None and c.optimizer.lag == lag), None)
    return lag, made, None if last is None else last * lag / made


SHARED = 4  # evaluations that a run and the good one must share
FAR_WORSE = math.log(3.0)  # of the validation loss over the good run's: another split of the same data changes it by half


def same_settings(e: Evidence) -> bool | None:
    """Whether a good run that learned had the same settings; None where none was given."""
    return None if e.baseline is None else e.baseline.learns and not e.baseline.settings


def only_validation_differs(e: Evidence) -> bool:
    """A good run had the same settings and the same training loss, and its validation was better: the model is the same, the data is not."""
    b = e.baseline
    return (
        b is not None
        and same_settings(e) is True
        and b.training is True
        and b.validation_at is not None
        and b.evaluations >= SHARED
        and (b.validation_gap or 0.0) > FAR_WORSE
    )
