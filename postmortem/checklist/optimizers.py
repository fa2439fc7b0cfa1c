"""What the optimizer is, which learning rate it was given and how much of it was used."""

import math
import struct

from postmortem.check import Evidence
from postmortem.checklist.warmup import share_reached
from postmortem.model.curves import CurveStats
from postmortem.model.tensors import OptimizerFacts

USUAL_RATES = {
    "adam": 1e-3,
    "sgd": 0.05,
    "rmsprop": 1e-3,
    "adagrad": 1e-2,
    "lion": 1e-4,
}  # what a fresh small model is trained with; the unit of `rate_decades`
OF_FINE_TUNING = 1.5e-3  # a rate beyond it would undo what was trained before
BEYOND_ANY = 30.0  # × the highest of them; Adadelta and what finds its own rate are given 1.0, twenty times
BELOW_ANY = 20.0  # the lowest of them / this


def left_out(e: Evidence) -> tuple[str, ...] | None:
    """Tensors that are in none of the optimizer's groups, but for those that moved all the same: a momentum encoder and a queue follow what is
    trained. None where the groups are not known."""
    last = last_optimizer(e)
    if last is None or last.absent is None:
        return None
    return last.absent if e.weights.identical_share is None else tuple(n for n in last.absent if n in set(e.weights.identical))


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


def optimizer_known(e: Evidence) -> bool:
    """A checkpoint or the configuration says which optimizer it is, or the model is one that nearly all train with Adam. A framework alone, whose
    default it is, does not."""
    told = e.setting("optimizer") is not None or any(c.optimizer is not None and c.optimizer.kind for c in e.checkpoints)
    return told or e.model.architecture == "transformer" or _named_transformer(e) or e.framework != "transformers"


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
    return rate if rate > DECAYED_AWAY and _as_typed(rate) else None


def _as_typed(rate: float) -> bool:
    """A number that a person may have written, in double or single precision: 4.000000000000001e-05 is what factors of 0.1 left of one."""
    written = float(f"{rate:.6g}")
    return rate == written or rate == struct.unpack("f", struct.pack("f", written))[0]


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


ABSURD_NORM = 300.0  # of a gradient before any clipping; healthy runs start at 0.1 to 30


def decay_is_decoupled(e: Evidence) -> bool:
    """The weight decay does not go through the gradient: AdamW, which is also what a Trainer uses."""
    setting = e.setting("optimizer")
    return e.framework == "transformers" or (setting is not None and "adamw" in str(setting.value).lower())


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


AGAIN = ("restart", "warm_restart", "cycl", "sgdr", "triangular")


def comes_down_once(e: Evidence) -> bool:
    """The configuration names a schedule that decays once: a cosine without restarts, linear, exponential, polynomial."""
    setting = e.setting("schedule")
    name = "" if setting is None else str(setting.value).lower()
    stated = [s for s in e.settings if s.value not in (None, False)]  # `cycle=False` is no cycle
    again = any(word in name or word in s.key.lower() for word in AGAIN for s in stated) or any(
        s.key.lower() in ("t_0", "num_cycles", "t_mult") for s in stated
    )
    return any(word in name for word in ("cosine", "linear", "exponential", "poly")) and not again


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
