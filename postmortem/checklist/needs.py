"""What checks and probes may need, and the one line that would log it next time."""

from collections.abc import Mapping
from functools import cache

from postmortem.check import Evidence, Need, say
from postmortem.checklist.parameters import standing_still
from postmortem.checklist.players import of_players
from postmortem.checklist.signs import excerpt

WATCH = "recorder.watch(model, optimizer)"
BATCH = "recorder.batch(x, y)"
_RECORDER = 'postmortem.Recorder("runs/exp1")'


def recorded(line: str, keras: str | None = None) -> Mapping[str, str]:
    """The line that has the recorder log something: `line` in a loop of one's own, a callback under a framework that runs the loop. `keras` in
    place of its callback, which sees neither batches nor activations."""
    callbacks = {
        "transformers": f"trainer = Trainer(..., callbacks=[{_RECORDER}.for_transformers()])",
        "lightning": f"trainer = Trainer(..., callbacks=[{_RECORDER}.for_lightning()])",
        "keras": f"model.fit(..., callbacks=[{_RECORDER}.for_keras()])" if keras is None else keras,
    }
    return {**callbacks, "": f"{line}  # once before: recorder = {_RECORDER}"}


_KERAS_BATCH = f"recorder.batch(x, y)  # before model.fit; recorder = {_RECORDER}"


@cache
def curve(name: str, points: int = 1) -> Need:
    """A logged series with at least that many points."""
    hows = {
        "train/loss": say("log the training loss of every step (or every 10th), from step 0 on"),
        "val/loss": say("evaluate on held-out data at least five times during training and log the loss"),
        "val/accuracy": say("log the validation accuracy beside the validation loss"),
        "grad_norm": say("log the total gradient norm before clipping: it is what clip_grad_norm_ returns"),
        "lr": say("log the learning rate that the optimizer really used, at every logged step"),
        "loss_scale": say("log GradScaler.get_scale() at every logged step"),
    }

    lines = {
        "train/loss": "recorder.step(loss)",
        "val/loss": "recorder.log(val_loss=val_loss)",
        "val/accuracy": "recorder.log(val_accuracy=accuracy)",
        "grad_norm": "recorder.step(loss, grad_norm=torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm))",
        "lr": WATCH,
        "loss_scale": "recorder.step(loss, loss_scale=scaler.get_scale())",
        "reward": "recorder.log(reward=reward)",
    }

    def met(evidence: Evidence) -> bool:
        found = evidence.curve(name)
        return found is not None and found.points >= points

    return Need(name, hows.get(name, say("log {name}", name=name)), met, recorded(lines[name]) if name in lines else {})


def _loss_met(evidence: Evidence) -> bool:
    found = evidence.curve("train/loss") or evidence.curve("val/loss")
    return found is not None and found.points >= 1


LOSS = Need("train/loss", say("log the training loss of every step (or every 10th), from step 0 on"), _loss_met, recorded("recorder.step(loss)"))
LOSS_OR_PLAYERS = Need(
    LOSS.log, LOSS.how, lambda e: LOSS.met(e) or e.family in ("gan", "reinforcement") or e.curve("grad_norm") is not None, LOSS.code
)
LOSS_OR_REWARD = Need(
    LOSS.log,
    LOSS.how,
    lambda e: LOSS.met(e) or e.curve("reward") is not None or e.curve("train/accuracy") is not None or (e.family == "gan" and bool(of_players(e))),
    LOSS.code,
)
VALIDATION = Need(
    "val/loss",
    say("evaluate on held-out data at least five times during training and log the loss"),
    lambda e: e.gap is not None,
    recorded("recorder.log(val_loss=val_loss)"),
)
VALIDATION_OR_ACCURACY = Need(
    VALIDATION.log,
    VALIDATION.how,
    lambda e: (
        VALIDATION.met(e)
        or any(e.curve(f"val/{of}") is not None for of in ("auc", "score"))
        or (e.curve("test/accuracy") is not None and e.curve("train/accuracy") is not None and excerpt(e))
        or (e.curve("val/accuracy") is not None and any(e.curve(f"train/{of}") is not None for of in ("accuracy", "loss")))
    ),
    VALIDATION.code,
)
WEIGHTS = Need("a checkpoint", say("save the weights every few epochs, the initial ones included"), lambda e: e.weights.checkpoints >= 1)
TWO_CHECKPOINTS = Need("two checkpoints", say("save the weights at least twice, the first time early"), lambda e: e.weights.checkpoints >= 2)
STILL_TENSORS = Need(TWO_CHECKPOINTS.log, TWO_CHECKPOINTS.how, lambda e: TWO_CHECKPOINTS.met(e) or bool(standing_still(e)))
OPTIMIZER_STATE = Need(
    "optimizer state in checkpoints",
    say("save optimizer.state_dict() in each checkpoint"),
    lambda e: any(c.optimizer is not None for c in e.checkpoints),
)
GRADIENTS = Need(
    "per-layer gradients",
    say("save the optimizer's state in each checkpoint, or log the gradient norm of each layer"),
    lambda e: any(c.gradients for c in e.checkpoints) or (e.layers is not None and e.layers.depth_ratio is not None),
    recorded(WATCH),
)
CHANCE = Need(
    "the number of classes",
    say("log the loss of step 0, before any update, and the number of classes"),
    lambda e: e.chance.loss is not None,
    {"": 'recorder = postmortem.Recorder("runs/exp1", config={"num_classes": 10})'},
)
CONFIG = Need(
    "the configuration",
    say("save the hyper-parameters beside the log, for example as config.json"),
    lambda e: len(e.settings) > 0,
    {"": 'recorder = postmortem.Recorder("runs/exp1", config=config)'},
)
LEARNING_RATE = Need(
    "lr",
    say("log the learning rate that the optimizer really used, at every logged step"),
    lambda e: e.schedule is not None or e.number("learning_rate") is not None,
    recorded(WATCH),
)
RATES = Need(LEARNING_RATE.log, LEARNING_RATE.how, lambda e: e.schedule is not None and e.schedule.source != "configured", LEARNING_RATE.code)
BATCH_STATISTICS = Need(
    "input statistics",
    say("log once per split: mean, standard deviation, minimum, maximum and NaN count of the inputs, and the label histogram"),
    lambda e: e.batches is not None,
    recorded(BATCH, keras=_KERAS_BATCH),
)
LAYER_STATISTICS = Need(
    "layer statistics",
    say("record the gradients, updates and silent units of each layer every hundred steps"),
    lambda e: e.layers is not None,
    recorded(WATCH),
)
ACTIVATIONS = Need(
    "activation statistics",
    say("record the share of silent and of saturated units of each layer every hundred steps"),
    lambda e: e.layers is not None and bool(e.layers.dead or e.layers.saturated),
    recorded(WATCH, keras=""),
)
FIRST_BAD_BATCH = Need(
    "the first non-finite batch",
    say("stop at the first non-finite loss and print the batch's index and its inputs' minimum and maximum"),
    lambda e: e.batches is not None,  # the recorder looks at the batch of the first non-finite loss
    recorded(BATCH, keras=_KERAS_BATCH),
)
BASELINE = Need("a good run", say("name a run of the same training that worked, with --baseline"), lambda e: e.baseline is not None, given=True)
