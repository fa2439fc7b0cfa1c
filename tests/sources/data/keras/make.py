"""Makes the files beside it with Keras 3: `KERAS_BACKEND=torch python make.py`. What they hold is in `expected.npz`."""

import zipfile
from pathlib import Path

import keras
import numpy as np

HERE = Path(__file__).parent
EXPECTED: dict[str, np.ndarray] = {}


def record(name: str, model: keras.Model) -> None:
    """Values of the variables and of the optimizer's memory of each, by layer and variable."""
    for layer in model.layers:
        for variable in layer.weights:
            EXPECTED[f"{name}|{layer.name}|{variable.name}"] = np.asarray(variable.numpy())
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    for i, variable in enumerate(inner.variables):
        EXPECTED[f"{name}|optimizer|{i}|{variable.path}"] = np.asarray(variable.numpy())


def classifier(optimizer: object) -> keras.Model:
    frozen = keras.layers.Conv2D(2, 3, name="stem", trainable=False)
    model = keras.Sequential([
        keras.layers.Input((5, 5, 1)), frozen, keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dropout(0.2),
        keras.layers.Dense(4, activation="relu"), keras.layers.Dense(4, activation="relu"), keras.layers.Dense(3, name="out"),
    ])  # fmt: skip
    model.compile(optimizer, loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    model.fit(rng.normal(size=(12, 5, 5, 1)), rng.integers(0, 3, 12), batch_size=4, epochs=1, verbose=0)
    return model


def tagger(optimizer: object) -> keras.Model:
    tokens = keras.Input((5,))
    hidden = keras.layers.Embedding(9, 4, name="words")(tokens)
    hidden = keras.layers.MultiHeadAttention(2, 2)(hidden, hidden)
    hidden = keras.layers.LayerNormalization()(hidden)
    hidden = keras.layers.LSTM(3)(hidden)
    model = keras.Model(tokens, keras.layers.Dense(2)(hidden))
    model.compile(optimizer, loss="mse")
    rng = np.random.default_rng(1)
    model.fit(rng.integers(0, 9, (8, 5)), rng.normal(size=(8, 2)), batch_size=4, epochs=1, verbose=0)
    return model


def deep() -> keras.Model:
    """So many layers that the library fills holes in the file: addresses alone do not tell the order."""
    model = keras.Sequential([keras.layers.Input((6,))])
    for _ in range(7):
        model.add(keras.layers.Dense(6))
        model.add(keras.layers.BatchNormalization())
    model.add(keras.layers.Dense(6))
    model.compile("adam", loss="mse")
    model.fit(np.ones((4, 6)), np.ones((4, 6)), verbose=0)
    return model


def main() -> None:
    keras.utils.set_random_seed(0)
    model = classifier(keras.optimizers.AdamW(1e-3, clipnorm=1.0))
    for name in ("model-02.keras", "whole.h5"):
        model.save(HERE / name)
    model.save_weights(HERE / "weights.03.weights.h5")
    record("classifier", model)
    with zipfile.ZipFile(HERE / "model-02.keras") as plain, zipfile.ZipFile(HERE / "deflated.keras", "w", zipfile.ZIP_DEFLATED) as packed:
        for info in plain.infolist():
            packed.writestr(info.filename, plain.read(info))
    model = tagger(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100), momentum=0.9))
    model.save(HERE / "tagger.keras")
    model.save(HERE / "tagger.h5")
    record("tagger", model)
    model = deep()
    model.save_weights(HERE / "deep.weights.h5")
    record("deep", model)
    for name, optimizer in (
        ("amsgrad", keras.optimizers.Adam(1e-2, amsgrad=True)),
        ("rmsprop", keras.optimizers.RMSprop(1e-2, momentum=0.5)),
        ("nadam", keras.optimizers.Nadam(1e-2)),
        ("scaled", keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(1e-2))),
    ):
        model = classifier(optimizer)
        model.save(HERE / f"{name}.keras")
        record(name, model)
    np.savez_compressed(HERE / "expected.npz", **EXPECTED)


if __name__ == "__main__":
    main()
