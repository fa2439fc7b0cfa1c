"""Makes the models of classes of one's own beside it with Keras 3: `KERAS_BACKEND=torch python make_order.py`.

`order.npz` has what the layers learned, in the order of the model's trainable variables, and Adam's first moment of each.
"""

from pathlib import Path

import keras
import numpy as np
from keras import layers

HERE = Path(__file__).parent
EXPECTED: dict[str, np.ndarray] = {}


class Plain(keras.Model):
    """Saved by name: `final` comes first."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.bn, self.mid, self.final = layers.Dense(8), layers.BatchNormalization(), layers.Dense(8), layers.Dense(3)

    def call(self, x: object) -> object:
        return self.final(self.mid(self.bn(self.stem(x))))


class Block(layers.Layer):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = layers.LayerNormalization(), layers.Dense(2 * width), layers.Dense(width)

    def build(self, shape: tuple[int, ...]) -> None:
        self.norm.build(shape)
        self.up.build(shape)
        self.down.build((*shape[:-1], 2 * shape[-1]))

    def call(self, x: object) -> object:
        return x + self.down(self.up(self.norm(x)))


class Stack(keras.Model):
    """Lists of layers, one saved before `layers` and one as part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.zeroth = keras.Sequential([layers.Dense(8), layers.Dense(8)])
        self.blocks = [Block(8) for _ in range(11)]
        self.classifier = layers.Dense(3)

    def call(self, x: object) -> object:
        x = self.zeroth(x)
        for block in self.blocks:
            x = block(x)
        return self.classifier(x)


def nested() -> keras.Model:
    """The inner model was made first and comes second: the numbers of its layers are lower."""
    inner = keras.Sequential([keras.Input((8,)), *(layers.Dense(8) for _ in range(3))])
    start = keras.Input((5,))
    return keras.Model(start, layers.Dense(3)(layers.LayerNormalization()(inner(layers.Dense(8)(start)))))


def blocks() -> keras.Model:
    """Layers of one's own in a model that has a configuration."""
    return keras.Sequential([keras.Input((5,)), layers.Dense(8), Block(8), Block(8), layers.Dense(3)])


def main() -> None:
    keras.utils.set_random_seed(0)
    for name, make in (("plain", Plain), ("stack", Stack), ("nested", nested), ("blocks", blocks)):
        keras.utils.clear_session()
        model = make()
        model.compile("adam", loss="mse")
        model.fit(np.random.default_rng(0).normal(size=(4, 5)), np.ones((4, 3)), verbose=0)
        model.save_weights(HERE / f"{name}.weights.h5")
        if name == "blocks":
            model.save(HERE / "blocks.keras")
        for i, (variable, moment) in enumerate(zip(model.trainable_variables, model.optimizer._momentums, strict=True)):
            EXPECTED[f"{name}|{i}"], EXPECTED[f"{name}|moment|{i}"] = np.asarray(variable.numpy()), np.asarray(moment.numpy())
    np.savez_compressed(HERE / "order.npz", **EXPECTED)


if __name__ == "__main__":
    main()
