"""The same plans in Keras on PyTorch: its layers, `fit`, CSVLogger, history and checkpoints."""

import json
import math
import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch
from keras import layers

from tests.faults.plan import Plan, Row, Task, Trace
from tests.faults.schedule import rate
from tests.faults.style import Style
from tests.faults.tasks import make
from tests.faults.train import at_home, struck

OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW, "rmsprop": keras.optimizers.RMSprop}


def _layers(plan: Plan, task: Task) -> list[layers.Layer]:
    width, act, words = plan.width, plan.activation, [layers.Embedding(task.vocabulary, plan.width)] if task.vocabulary else []
    drop = [layers.Dropout(plan.dropout)] if plan.dropout else []
    match plan.net:
        case "mlp":
            return [layers.Flatten(), *(layer for _ in range(plan.depth) for layer in (layers.Dense(width, activation=act), *drop))]
        case "vgg":
            convolutions = [layer for _ in range(2) for layer in (layers.Conv2D(width, 3, padding="same", activation=act), layers.MaxPooling2D())]
            return [*convolutions, layers.Flatten(), layers.Dense(2 * width, activation=act), *drop]
        case "gru" | "lstm":
            cell = layers.GRU if plan.net == "gru" else layers.LSTM
            return [*words, cell(width, return_sequences=task.kind == "lm"), *drop]
        case "textconv":
            return [
                *words,
                layers.Conv1D(width, 3, activation="relu"),
                layers.Conv1D(width, 3, activation="relu"),
                layers.GlobalMaxPooling1D(),
                *drop,
            ]
        case "bag":
            return [*words, layers.GlobalAveragePooling1D(), layers.Dense(width, activation="relu"), *drop]
    raise ValueError(plan.net)


def built(plan: Plan, task: Task) -> keras.Model:
    ending = "softmax" if plan.has("softmax_twice") and task.kind != "regress" else None
    x = _channels_last(task.x)
    dtype = "int32" if task.vocabulary else "float32"
    model = keras.Sequential(
        [keras.Input(x.shape[1:], dtype=dtype), *_layers(plan, task), layers.Dense(task.outputs, activation=ending, name="head")]
    )
    for layer in model.layers[:-1]:
        for v in layer.weights:
            if len(v.shape) >= 2 and (factor := plan.has("init_scale")) is not None:
                v.assign(v * factor)
            if len(v.shape) == 1 and (bias := plan.has("bias_fill")) is not None:
                v.assign(v * 0 + bias)
    for v in model.weights:
        if len(v.shape) >= 2 and (plan.has("init_zero") or plan.has("init_constant") is not None):
            v.assign(v * 0 + (plan.has("init_constant") or 0.0))
    if plan.has("frozen"):
        for layer in model.layers[:-1]:
            layer.trainable = False
    return model


def _channels_last(x):
    return x.permute(0, 2, 3, 1).numpy() if x.ndim == 4 else x.numpy()


class Watch(keras.callbacks.Callback):
    """Rows into the trace; what happens at one step of the run."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self.trace, self.step, self.at = trace, 0, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.at = epoch + 1

    def on_train_batch_begin(self, batch, logs=None):
        struck(self.trace.plan, self.step, self.trace.steps_per_epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.trace.rows.append(Row(self.step, self.at, {"loss": float(logs["loss"])}))
        self.step += 1

    def on_epoch_end(self, epoch, logs=None):
        names = {"loss": "train_loss", "val_loss": "val_loss", "accuracy": "train_acc", "val_accuracy": "val_acc"}
        values = {names[k]: float(v) for k, v in logs.items() if k in names}
        self.trace.rows.append(Row(self.step, self.at, values, of_epoch=True))


def run(plan: Plan, style: Style, start: int = 0) -> Trace:
    torch.set_num_threads(1)
    keras.utils.set_random_seed(plan.seed + 7919 * start)
    task = make(plan)
    trace = Trace(plan, kind=task.kind, chance=task.chance, classes=task.outputs, train_size=len(task.x), val_size=len(task.x_val))
    trace.steps_per_epoch, trace.left = max(1, math.ceil(len(task.x) / plan.batch_size)), Path(tempfile.mkdtemp())
    callbacks = [Watch(trace)]
    with at_home(trace):
        model = built(plan, task)
        optimizer = (
            keras.optimizers.SGD(plan.lr, momentum=plan.momentum, clipnorm=plan.grad_clip)
            if plan.optimizer == "sgd"
            else OPTIMIZERS[plan.optimizer](plan.lr, clipnorm=plan.grad_clip, weight_decay=plan.weight_decay or None)
        )
        loss = "mse" if task.kind == "regress" else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(optimizer, loss, metrics=[] if task.kind == "regress" else ["accuracy"])
        if plan.schedule != "none":
            callbacks.append(
                keras.callbacks.LearningRateScheduler(
                    lambda epoch: rate(plan, epoch * trace.steps_per_epoch + plan.warmup_steps, trace.steps_per_epoch)
                )
            )
        if style.log == "keras csv":
            callbacks.append(keras.callbacks.CSVLogger("training.csv"))
        if style.checkpoints != "none":
            kind = ".weights.h5" if plan.seed % 2 else ".keras"
            saves = max(1, plan.epochs // 4) * trace.steps_per_epoch
            callbacks.append(keras.callbacks.ModelCheckpoint("model-{epoch:02d}" + kind, save_weights_only=plan.seed % 2 == 1, save_freq=saves))
        ordered = plan.has("sorted") or plan.has("same_batch")
        verbose = {"keras text": 2, "keras bar": 1}.get(style.log, 0)
        validation = (_channels_last(task.x_val), task.y_val.numpy())
        history = model.fit(
            _channels_last(task.x),
            task.y.numpy(),
            plan.batch_size,
            plan.epochs,
            verbose,
            callbacks,
            validation_data=validation,
            shuffle=not ordered,
        )
        if style.log == "keras history":
            Path("history.json").write_text(json.dumps({k: [float(v) for v in values] for k, values in history.history.items()}))
    return trace
