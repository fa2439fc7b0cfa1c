"""What the callback of Keras sees of layers, by hand."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import postmortem
from postmortem.sources import read_run

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("default")  # of Keras itself


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return pytest.importorskip("keras")


def test_weights_updates_and_gradients_of_the_torch_backend(keras: Any, tmp_path: Path) -> None:
    if keras.backend.backend() != "torch":
        pytest.skip("Keras runs on another backend")
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    y = x[:, :3].argmax(1)
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16, "relu", name="a"), keras.layers.Dense(3, name="b")])
    model.compile(keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    names = [v.path for v in model.trainable_variables]
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    with postmortem.Recorder(tmp_path, every=1000) as recorder:
        model.fit(x, y, batch_size=64, epochs=1, verbose=0, callbacks=[recorder.for_keras()])
    after = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    told = {s.name: s.values for s in read_run([tmp_path]).series}
    gradients = [(b - a) / 0.5 for a, b in zip(after, before, strict=True)]  # of one step of plain descent
    assert told["grad_norm"][0] == pytest.approx(math.sqrt(sum(float((g**2).sum()) for g in gradients)), rel=1e-3)
    for n, variable in enumerate(model.trainable_variables):
        assert told[f"gradients/{variable.path}/rms"][0] == pytest.approx(float(np.sqrt((gradients[n] ** 2).mean())), rel=1e-3)
        assert told[f"weights/{variable.path}/max"][0] == pytest.approx(float(np.abs(after[n]).max()), rel=1e-5)
    assert told[f"updates/{names[2]}/ratio"][0] == pytest.approx(float(np.linalg.norm(after[2] - before[2]) / np.linalg.norm(before[2])), rel=0.3)
    assert told[f"updates/{names[1]}/ratio"][0] == math.inf  # it began at 0


def test_a_rate_of_zero_moves_nothing(keras: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(640, 8)).astype("float32")
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.0), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with postmortem.Recorder(tmp_path, every=10) as recorder:
        model.fit(x, x[:, :3].argmax(1), batch_size=32, epochs=3, verbose=0, callbacks=[recorder.for_keras()])
    told = {s.name: s.values for s in read_run([tmp_path]).series}
    ratios = [v for name, v in told.items() if name.startswith("updates/") and name.endswith("/ratio")]
    assert len(ratios) == 4
    assert all((v == 0.0).all() for v in ratios)
    assert postmortem.analyze(tmp_path, with_exhibits=False).verdict.severity in ("serious", "fatal")


def test_where_gradients_are_not_seen_weights_are(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the other backends, whose variables are copied to the host."""
    x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    model = keras.Sequential([keras.layers.Input((8,)), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    with postmortem.Recorder(tmp_path) as recorder:
        callback = recorder.for_keras()
        monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
        model.fit(x, x[:, :3].argmax(1), batch_size=32, epochs=1, verbose=0, callbacks=[callback])
        monkeypatch.undo()
    told = {s.name: s.values for s in read_run([tmp_path]).series}
    kernel = model.trainable_variables[0].path
    assert (told[f"updates/{kernel}/ratio"] > 0).all()
    assert f"weights/{kernel}/rms" in told
    assert not [name for name in told if name.startswith("gradients/")]
