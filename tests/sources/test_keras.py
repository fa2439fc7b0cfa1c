import io
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.measure.ordering import forward_order
from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.sources.checkpoints import hdf5, keras_h5, keras_zip
from postmortem.sources.discover import discover
from postmortem.sources.reader import Found

DATA = Path(__file__).parent / "data" / "keras"
CIRCLES = Path(__file__).parents[1] / "hostile" / "data" / "circles.h5"
READERS = (keras_zip.READER, keras_h5.READER)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    with np.load(DATA / "expected.npz") as file:
        return {name: file[name] for name in file.files}


def found(path: Path) -> Found:
    candidate = next(c for c in discover([path.parent]).candidates if c.name == path.name)
    return next(r for r in READERS if r.claims(candidate)).read(candidate)


def checkpoint(path: Path) -> Checkpoint:
    (one,) = found(path).checkpoints
    return one


def values(root: Path, ref: TensorRef) -> np.ndarray:
    if ref.inline is not None:
        data = ref.inline
    else:
        with (root / ref.file).open("rb") as file:
            file.seek(ref.offset)
            data = file.read(ref.nbytes)
    return np.frombuffer(data, ref.dtype).reshape(ref.shape)


@pytest.mark.parametrize(
    ("file", "model"),
    [
        ("model-02.keras", "classifier"), ("deflated.keras", "classifier"), ("whole.h5", "classifier"), ("weights.03.weights.h5", "classifier"),
        ("amsgrad.keras", "amsgrad"), ("rmsprop.keras", "rmsprop"), ("nadam.keras", "nadam"), ("scaled.keras", "scaled"),
    ],
)  # fmt: skip
def test_weights_are_those_that_keras_wrote(file: str, model: str, expected: dict[str, np.ndarray]) -> None:
    one = checkpoint(DATA / file)
    assert (one.status, one.detail, one.truncated) == (Status.READ, None, False)
    assert one.facts["layout"] == "keras"
    assert one.facts["optimizer_step"] == 3.0
    wanted = {n.removeprefix(f"{model}|").replace("|", "/"): v for n, v in expected.items() if n.startswith(f"{model}|") and "|optimizer|" not in n}
    assert [r.name for r in one.tensors] == list(wanted)  # in the order of the layers
    for ref in one.tensors:
        assert np.array_equal(values(DATA, ref), wanted[ref.name])


@pytest.mark.parametrize("file", ["tagger.keras", "tagger.h5"])
def test_layers_within_layers_and_shared_shapes(file: str, expected: dict[str, np.ndarray]) -> None:
    one = checkpoint(DATA / file)
    wanted = {n: v for n, v in expected.items() if n.startswith("tagger|optimizer|")}
    assert one.optimizer is not None
    assert len(one.optimizer.states) == len(one.tensors) == 16
    for state, (name, value) in zip(one.optimizer.states, list(wanted.items())[1:], strict=True):
        (ref,) = state.slots.values()
        assert np.array_equal(values(DATA, ref), value)
        leaf = str(state.param).rpartition("/")[2]
        assert f"{leaf}_momentum" in name
        for part in ("query", "key", "value", "output", "words", "lstm"):
            assert (part in str(state.param)) == (part in name.partition("sgd/")[2].replace("key_kernel", "key")) or part == "key"
    assert dict(one.optimizer.groups[0].settings)["momentum"] == 0.9
    assert "lr" not in one.optimizer.groups[0].settings
    by_name = {s.name: s.value for s in one.settings if s.name}
    assert (by_name["schedule"], by_name["learning_rate"], by_name["loss"], by_name["optimizer"]) == ("CosineDecay", 0.1, "mse", "SGD")


def test_the_order_of_many_layers_without_a_configuration(expected: dict[str, np.ndarray]) -> None:
    one = checkpoint(DATA / "deep.weights.h5")
    wanted = {n.removeprefix("deep|").replace("|", "/"): v for n, v in expected.items() if n.startswith("deep|") and "|optimizer|" not in n}
    assert [r.name for r in one.tensors] == list(wanted)
    assert all(np.array_equal(values(DATA, ref), wanted[ref.name]) for ref in one.tensors)
    assert one.optimizer is not None
    memory = [v for n, v in expected.items() if n.startswith("deep|optimizer|") and n.endswith("_momentum")]
    assert len(one.optimizer.states) == len(memory) == 30
    for state, value in zip(one.optimizer.states, memory, strict=True):
        assert np.array_equal(values(DATA, state.slots["exp_avg"]), value)


SLOTS = {"momentum": "exp_avg", "velocity": "exp_avg_sq", "velocity_hat": "max_exp_avg_sq"}


@pytest.mark.parametrize(
    ("file", "model", "kind", "slots"),
    [
        ("model-02.keras", "classifier", "keras-adamw", SLOTS), ("whole.h5", "classifier", "keras-adamw", SLOTS),
        ("deflated.keras", "classifier", "keras-adamw", SLOTS), ("weights.03.weights.h5", "classifier", "keras-adamw", SLOTS),
        ("amsgrad.keras", "amsgrad", "keras-adam-amsgrad", SLOTS), ("nadam.keras", "nadam", "keras-nadam", SLOTS),
        ("scaled.keras", "scaled", "keras-adam", SLOTS), ("rmsprop.keras", "rmsprop", "keras-rmsprop", {"velocity": "square_avg", "momentum": "momentum"}),
    ],
)  # fmt: skip
def test_the_optimizers_memory_is_that_of_the_right_parameter(file: str, model: str, kind: str, slots: dict[str, str], expected: Any) -> None:
    one = checkpoint(DATA / file)
    assert one.optimizer is not None
    assert one.optimizer.kind == kind
    learned = [r.name for r in one.tensors if "moving" not in r.name and "stem" not in r.name]  # the stem is frozen
    assert [s.param for s in one.optimizer.states] == learned == list(one.optimizer.groups[0].names)
    seen = 0
    for name, value in expected.items():
        if not name.startswith(f"{model}|optimizer|") or name.endswith(("iteration", "learning_rate", "|variable")):
            continue
        rest, _, word = name.replace("velocity_hat", "velocityhat").rpartition("_")
        state = next(s for s in one.optimizer.states if rest.endswith("_" + str(s.param).replace("/", "_")))
        assert np.array_equal(values(DATA, state.slots[slots[word.replace("velocityhat", "velocity_hat")]]), value)
        assert state.step == 3.0
        seen += 1
    assert seen == sum(len(s.slots) for s in one.optimizer.states)
    assert one.optimizer.groups[0].settings["lr"] in (0.001, 0.01)


def test_what_the_configuration_says() -> None:
    one = checkpoint(DATA / "model-02.keras")
    by_name = {s.name: s.value for s in one.settings if s.name}
    assert by_name["optimizer"] == "AdamW"
    assert by_name["learning_rate"] == 0.001
    assert by_name["gradient_clip_norm"] == 1.0
    assert by_name["dropout"] == 0.2
    assert by_name["activation"] == "relu"
    assert by_name["normalization"] == "BatchNormalization"
    assert by_name["loss"] == "SparseCategoricalCrossentropy"
    assert one.trainable is not None
    assert {n for n, on in one.trainable.items() if not on} == {"stem/kernel", "stem/bias"}
    assert "batch_normalization/moving_mean" not in one.trainable
    assert (one.step, one.epoch) == (3.0, 2.0)
    assert checkpoint(DATA / "scaled.keras").scaler["scale"] == 32768.0


def test_many_files_cost_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    real = hdf5._ask
    monkeypatch.setattr(hdf5, "_ask", lambda jobs: asked.append(len(jobs)) or real(jobs))  # type: ignore[func-returns-value]
    for n in range(4):
        shutil.copy(DATA / "weights.03.weights.h5", tmp_path / f"weights.{n:02}.weights.h5")
        shutil.copy(DATA / "model-02.keras", tmp_path / f"model-{n:02}.keras")
    before = time.perf_counter()
    for candidate in discover([tmp_path]).candidates:
        one = next(r for r in READERS if r.claims(candidate)).read(candidate).checkpoints[0]
        assert {r.file for r in one.tensors} == {candidate.path}
    assert time.perf_counter() - before < 60
    assert asked == [4, 4]


def test_a_cut_file(tmp_path: Path) -> None:
    data = (DATA / "weights.03.weights.h5").read_bytes()
    path = tmp_path / "a.weights.h5"
    path.write_bytes(data[:-300])
    one = checkpoint(path)
    assert (one.status, one.truncated) == (Status.PARTIAL, True)
    assert "300 bytes are missing" in str(one.detail)
    assert len(one.tensors) == 12
    for length in (0, 4, 100, 5_000, 20_000):
        path.write_bytes(data[:length])
        one = checkpoint(path)
        assert one.status in (Status.FAILED, Status.PARTIAL)
        assert one.truncated or length == 4
        for ref in one.tensors:
            assert ref.offset + ref.nbytes <= length
    archive = (DATA / "model-02.keras").read_bytes()
    (tmp_path / "a.keras").write_bytes(archive[: len(archive) // 2])
    one = checkpoint(tmp_path / "a.keras")
    assert (one.status, one.truncated) == (Status.FAILED, True)


def test_links_to_other_files_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = np.arange(4.0)
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((2, 3), "f4")
        group = file["layers/dense/vars"]
        group["1"] = h5py.ExternalLink("secret.h5", "/data")
        group["2"] = h5py.SoftLink("/layers/dense/vars/0")
        layout = h5py.VirtualLayout((4,), "f8")
        layout[:] = h5py.VirtualSource("secret.h5", "data", (4,))
        group.create_virtual_dataset("3", layout)
        group.create_dataset("4", (4,), "f8", external=[(str(tmp_path / "raw.bin"), 0, 32)])
        group["loop"] = file["layers"]
    got = found(path)
    assert got.source.refused
    assert [r.name for r in got.checkpoints[0].tensors] == ["dense/kernel"]
    assert "points to other files" in str(got.checkpoints[0].detail)


def test_compressed_and_odd_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(40, 30)).astype("f4"), rng.normal(size=30).astype(">f8")
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/dense/vars/0", data=weight, chunks=(7, 7), compression="gzip", shuffle=True)
        file.create_dataset("layers/dense/vars/1", data=bias)
        file.create_dataset("layers/text/vars/0", data=np.array([b"a", b"b"]))
        file.create_dataset("layers/odd/vars/0", data=np.zeros(3, [("a", "f4")]))
        file.create_dataset("layers/huge/vars/0", (1 << 20, 1 << 20), "f4", chunks=(1024, 1024))
        file.create_dataset("layers/none/vars/0", (5,), "f4")  # never written: no place in the file
    one = checkpoint(path)
    by_name = {r.name: values(tmp_path, r) for r in one.tensors}
    assert np.array_equal(by_name["dense/kernel"], weight)
    assert np.array_equal(by_name["dense/bias"], bias)
    assert np.array_equal(by_name["none/0"], np.zeros(5))
    assert set(by_name) == {"dense/kernel", "dense/bias", "none/0"}
    assert one.status is Status.PARTIAL


def test_the_older_layout_with_lists_of_names(tmp_path: Path) -> None:
    path = tmp_path / "weights.05-0.31.hdf5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"dense_1", b"dense"]
        file.attrs["keras_version"] = b"2.15.0"
        for layer in ("dense_1", "dense"):
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode(), f"{layer}/bias:0".encode()]
            group[f"{layer}/kernel:0"], group[f"{layer}/bias:0"] = np.ones((3, 2), "f4"), np.ones(2, "f4")
    one = checkpoint(path)
    assert [r.name for r in one.tensors] == ["dense_1/kernel", "dense_1/bias", "dense/kernel", "dense/bias"]
    assert (one.epoch, one.facts["keras_version"], one.optimizer) == (5.0, "2.15.0", None)


def test_the_older_optimizer_layout(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    names = ["kernel", "bias"]
    with h5py.File(path, "w") as file:
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"dense"]
        layer = weights.create_group("dense")
        layer.attrs["weight_names"] = [f"dense/{n}:0".encode() for n in names]
        state = file.create_group("optimizer_weights")
        state.attrs["weight_names"] = [b"Adam/iter:0", *(f"Adam/dense/{n}/{s}:0".encode() for s in "mv" for n in names)]
        state["Adam/iter:0"] = np.int64(70)
        for n, shape in (("kernel", (3, 2)), ("bias", (2,))):
            layer[f"dense/{n}:0"] = np.zeros(shape, "f4")
            for i, s in enumerate("mv"):
                state[f"Adam/dense/{n}/{s}:0"] = np.full(shape, i + 1, "f4")
    one = checkpoint(path)
    assert one.optimizer is not None
    assert (one.optimizer.kind, one.step) == ("keras-adam", 70.0)
    for s in one.optimizer.states:
        assert [float(values(tmp_path, s.slots[k]).ravel()[0]) for k in ("exp_avg", "exp_avg_sq")] == [1.0, 2.0]


def test_attributes_in_an_unknown_order_claim_no_names(tmp_path: Path) -> None:
    """A model class of one's own saves its attributes by name; which of two equal shapes came first nobody knows."""
    path = tmp_path / "a.weights.h5"
    for shapes, known in ((((4, 4), (4, 4)), False), (((4, 4), (4, 3)), True)):
        with h5py.File(path, "w") as file:
            for layer, shape in zip(("up", "down"), shapes, strict=True):
                file[f"{layer}/vars/0"] = np.ones(shape, "f4")
            file["optimizer/vars/0"] = np.int32(5)
            file["optimizer/vars"].attrs["name"] = "sgd"
            file["optimizer/vars/1"] = np.float32(0.1)
            for i, shape in enumerate(shapes):
                file[f"optimizer/vars/{i + 2}"] = np.zeros(shape, "f4")
            file.create_group("vars")
        one = checkpoint(path)
        assert one.optimizer is not None
        assert bool(one.optimizer.states) == known


@pytest.mark.parametrize("file", ["plain.weights.h5", "stack.weights.h5", "nested.weights.h5", "blocks.weights.h5", "blocks.keras"])
def test_the_order_of_definition_where_attributes_are_saved_by_name(file: str) -> None:
    model = file.partition(".")[0]
    one = checkpoint(DATA / file)
    with np.load(DATA / "order.npz") as made:
        learned = [made[f"{model}|{i}"] for i in range(len(made.files)) if f"{model}|{i}" in made.files]
        moments = [made[f"{model}|moment|{i}"] for i in range(len(learned))]
    assert one.optimizer is not None
    refs = {ref.name: ref for ref in one.tensors}
    assert len(one.optimizer.states) == len(learned)
    for state, weight, moment in zip(one.optimizer.states, learned, moments, strict=True):
        assert np.array_equal(values(DATA, refs[str(state.param)]), weight)
        assert np.array_equal(values(DATA, state.slots["exp_avg"]), moment)
    order = [name for name in forward_order(one) if not name.endswith(("moving_mean", "moving_variance"))]
    assert order == [str(state.param) for state in one.optimizer.states]


@pytest.mark.parametrize("hidden", [6, 8])
def test_widths_tell_the_order_where_no_optimizer_was_saved(tmp_path: Path, hidden: int) -> None:
    """5 → 8 → 6 → 3 has one order; with 5 → 8 → 8 → 3 the numbers of Keras decide between equal layers."""
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        for layer, name, shape in (("final", "dense_2", (hidden, 3)), ("a", "dense", (5, 8)), ("z", "dense_1", (8, hidden))):
            file[f"{layer}/vars/0"] = np.ones(shape, "f4")
            file[f"{layer}/vars/1"] = np.ones(shape[-1:], "f4")
            file[f"{layer}/vars"].attrs["name"] = name
        file.create_group("vars")
    assert [name for name in forward_order(checkpoint(path)) if name.endswith("kernel")] == ["a/kernel", "z/kernel", "final/kernel"]


def test_files_that_hold_no_model(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["x_train"] = np.zeros((5, 5))
    assert found(tmp_path / "data.h5").source.status is Status.SKIPPED
    for content in (b"", b"<!doctype html>", b"hello"):
        for name in ("a.h5", "a.keras"):
            (tmp_path / name).write_bytes(content)
            got = found(tmp_path / name)
            assert got.source.status is Status.FAILED
            assert got.checkpoints[0].detail is not None


def test_a_library_that_crashes_costs_that_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands in for a file on which the HDF5 library ends the process."""
    child = tmp_path / "child.py"
    source = (Path(keras_h5.__file__).parent / "hdf5_child.py").read_text()
    child.write_text(
        source.replace("        job = json.loads(line)\n", "        job = json.loads(line)\n        if 'bad' in job['path']: os.abort()\n")
    )
    monkeypatch.setattr(hdf5, "_CHILD", child)
    run = tmp_path / "run"
    run.mkdir()
    for name in ("a", "bad", "c"):
        shutil.copy(DATA / "weights.03.weights.h5", run / f"{name}.h5")
    states = {c.name: next(r for r in READERS if r.claims(c)).read(c).source for c in discover([run]).candidates}
    assert [s.status for s in states.values()] == [Status.READ, Status.FAILED, Status.READ]
    assert "gave up" in str(states["bad.h5"].detail)
    child.write_text("import time; time.sleep(60)")
    monkeypatch.setattr(hdf5, "_SECONDS", 0.5)
    assert found(run / "a.h5").source.status is Status.FAILED


def test_a_library_that_walks_in_circles_costs_that_file_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that it never comes back from, with less time for it than there is."""
    child = tmp_path / "child.py"
    script = hdf5._CHILD.read_text(encoding="utf-8")
    assert "SECONDS = 7.0" in script
    child.write_text(script.replace("SECONDS = 7.0", "SECONDS = 0.5"), encoding="utf-8")
    monkeypatch.setattr(hdf5, "_CHILD", child)
    asked: list[int] = []
    ask = hdf5._ask
    monkeypatch.setattr(hdf5, "_ask", lambda jobs: (asked.append(len(jobs)), ask(jobs))[1])
    run = tmp_path / "run"
    run.mkdir()
    for name, file in (("a", DATA / "weights.03.weights.h5"), ("b", CIRCLES), ("c", DATA / "weights.03.weights.h5"), ("d", CIRCLES)):
        shutil.copy(file, run / f"{name}.weights.h5")
    states = {c.name[0]: next(r for r in READERS if r.claims(c)).read(c).source for c in discover([run]).candidates}
    assert [states[n].status for n in "abcd"] == [Status.READ, Status.FAILED, Status.READ, Status.FAILED]
    assert all("gave up" in str(states[n].detail) for n in "bd")
    assert asked == [4, 2]  # none is started for nothing


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    source = (Path(keras_h5.__file__).parent / "hdf5_child.py").read_text()
    child.write_text(source.replace("        import h5py\n", "        raise ImportError\n"))
    monkeypatch.setattr(hdf5, "_CHILD", child)
    shutil.copy(DATA / "whole.h5", tmp_path)
    assert "pip install h5py" in str(found(tmp_path / "whole.h5").source.detail)


def test_a_deflated_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    source = (Path(keras_h5.__file__).parent / "hdf5_child.py").read_text()
    child.write_text(source.replace("LARGEST_UNPACKED = 1 << 30", "LARGEST_UNPACKED = 1 << 20"))
    monkeypatch.setattr(hdf5, "_CHILD", child)
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", hdf5.MAGIC + bytes(2 << 20))
    assert "unpacks to more than" in str(checkpoint(path).detail)


@given(st.lists(st.tuples(st.integers(0, 34_815), st.binary(min_size=1, max_size=8)), max_size=8), st.booleans())
@settings(max_examples=12, deadline=None)
def test_any_damage_is_told(tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, bytes]], zipped: bool) -> None:
    root = tmp_path_factory.mktemp("run")
    data = bytearray((DATA / ("model-02.keras" if zipped else "weights.03.weights.h5")).read_bytes())
    for at, new in edits:
        data[at : at + len(new)] = new
    path = root / ("a.keras" if zipped else "a.h5")
    path.write_bytes(data)
    got = found(path)
    for one in got.checkpoints:
        for ref in one.tensors:
            assert ref.inline is not None or 0 <= ref.offset <= ref.offset + ref.nbytes <= len(data)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["config", "layers", "class_name", "name", "optimizer", "learning_rate", "compile_config", "loss", "trainable", "kernel_regularizer"]),
    inner, max_size=5,
), max_leaves=30))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_any_configuration(data: Any) -> None:
    config = keras_h5.configuration(data, data, "a")
    assert all(isinstance(s.value, str | int | float) for s in config.settings)


def test_a_configuration_alone_is_settings(tmp_path: Path) -> None:
    held = io.BytesIO((DATA / "model-02.keras").read_bytes())
    with zipfile.ZipFile(held) as plain, zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", plain.read("config.json"))
    got = found(tmp_path / "a.keras")
    assert got.checkpoints == ()
    assert any(s.name == "learning_rate" for s in got.settings)


_CLOCK = "import itertools\n\n\nclass time:\n    process_time = itertools.count(0, 0.01).__next__  # each look at it takes 10 ms\n\n\n"


@pytest.mark.parametrize(("old", "new"), [("MOST_OBJECTS = 200_000", "MOST_OBJECTS = 300"), ("import time\n", _CLOCK)])
def test_what_cannot_be_listed_in_good_time_is_listed_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    path = tmp_path / "a.weights.h5"
    with h5py.File(path, "w") as file:
        for n in range(200):
            file[f"layers/dense_{n}/vars/0"] = np.ones((2, 3), "f4")
    child = tmp_path / "child.py"
    script = hdf5._CHILD.read_text(encoding="utf-8")
    assert old in script
    child.write_text(script.replace(old, new), encoding="utf-8")
    monkeypatch.setattr(hdf5, "_CHILD", child)
    got = found(path)
    assert got.source.status is Status.PARTIAL
    assert "more objects than can be listed" in str(got.source.detail)
    assert 1 <= len(got.checkpoints[0].tensors) < 200
    assert not got.checkpoints[0].truncated
