"""Event files: what is read equals what the libraries wrote, the two scans agree, and no bytes do harm."""

import json
import math
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.model.run import EventKind, Status
from postmortem.sources import read_run
from postmortem.sources.logs import tfevents, tfevents_compiled, tfevents_scan, tfevents_values
from postmortem.sources.logs.protobuf import MalformedError
from postmortem.sources.logs.tfevents import READER, curve_of_folder, split_of_folder
from postmortem.sources.reader import Candidate, Found
from tests.sources.wire import crc32c, event, fixed, masked, record, scalar, sub, varint

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats" / "tensorboard"
FILES = sorted(str(p.relative_to(FIXTURES)) for p in FIXTURES.rglob("*tfevents*"))


def candidate(root: Path, path: str) -> Candidate:
    data = (root / path).read_bytes()
    return Candidate(root, path, len(data), data[:4096])


def read(root: Path, path: str) -> Found:
    one = candidate(root, path)
    assert READER.claims(one)
    return READER.read(one)


def read_bytes(folder: Path, data: bytes) -> Found:
    (folder / "events.out.tfevents.1").write_bytes(data)
    return read(folder, "events.out.tfevents.1")


def points(found: Found) -> dict[str, list[tuple[float, float, float]]]:
    out = {}
    for one in found.series:
        times = np.zeros(len(one)) if one.times is None else one.times
        out[one.logged_as] = [tuple(map(repr, row)) for row in zip(one.steps, one.values, times, strict=True)]
    return out


def only(name: str) -> str:
    (path,) = [f for f in FILES if f.startswith(name)]
    return path


# --- what the libraries wrote ------------------------------------------------------------------------------------------


def test_checksum_of_the_standard_example() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert struct.pack("<I", tfevents_scan.masked_crc32c(b"123456789")) == masked(b"123456789")


@pytest.mark.parametrize("path", FILES)
def test_every_scalar_is_what_tensorboard_reads(path: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("tensorboard")
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util import tensor_util

        expected: dict[str, list[tuple[str, str, str]]] = {}
        plugins: dict[str, str] = {}
        for one in EventFileLoader(str(FIXTURES / path)).Load():
            for value in one.summary.value:
                plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
                if value.tag.startswith("bfloat16"):  # TensorBoard without TensorFlow cannot
                    continue
                if plugin == "scalars" or value.tag == "bare":
                    number = float(tensor_util.make_ndarray(value.tensor).astype(np.float64).reshape(-1)[0]) if value.tag != "bare" else 0.0
                    expected.setdefault(value.tag, []).append(tuple(map(repr, (np.float64(one.step), np.float64(number), np.float64(one.wall_time)))))
    assert {k: v for k, v in points(read(FIXTURES, path)).items() if not k.startswith("bfloat16")} == expected


def test_torch_writes_scalars_histograms_and_settings() -> None:
    found = read(FIXTURES, "torch/events.out.tfevents.1700000000.host.0")
    assert found.source.status == Status.READ
    by_key = {s.logged_as: s for s in found.series}
    loss = by_key["train/loss"]
    assert loss.name == "train/loss"
    assert loss.steps.tolist() == list(range(40))
    assert (loss.values[0], loss.values[37], loss.values[39]) == (2.0, math.inf, 0.0)
    assert math.isnan(loss.values[38])
    assert loss.times is not None
    assert loss.times[5] == 1_700_000_005.0
    assert by_key["val/loss"].values.tolist() == [0.25, 0.125, np.float32(2.5 / 30), 0.0625]  # a tensor, metadata in each
    assert by_key["again"].steps.tolist() == [20, 21, 20, 5]  # in the order of the file
    histograms = [h for h in found.histograms if h.name == "gradients/layer1"]
    assert [h.step for h in histograms] == [9, 19, 29, 39]
    assert all(h.counts.sum() == 500 and (np.diff(h.edges) > 0).all() for h in histograms)
    (constant,) = [h for h in found.histograms if h.name == "constant"]
    assert constant.counts.sum() == 10
    assert constant.edges[0] <= 3.0 <= constant.edges[-1]
    said = {s.key: (s.name, s.value) for s in found.settings}
    assert said["learning_rate"] == ("learning_rate", 0.1)
    assert said["gamma"][1] == 0.99
    assert said["anneal"][1] is True
    assert found.facts["started_at"] == 1_700_000_000.0


def test_the_hyperparameters_plugin_gives_settings() -> None:
    found = read(FIXTURES, "torch/hp/events.out.tfevents.1700000000.host.1")
    assert {s.key: s.value for s in found.settings} == {"lr": 0.1, "batch_size": 32, "optimizer": "adam", "nesterov": 1}


def test_keras_tells_the_split_by_its_directories() -> None:
    train, val = read(FIXTURES, only("keras/train")), read(FIXTURES, only("keras/validation"))
    assert {s.name: (len(s), s.values[0]) for s in train.series} == {"train/loss": (12, 1.0), "train/accuracy": (12, np.float32(0.1))}
    assert [s.name for s in val.series][:2] == ["val/loss", "val/accuracy"]
    assert [h.step for h in train.histograms] == list(range(12))
    assert all(h.counts.sum() == 100 for h in train.histograms)


def test_every_encoding_of_a_scalar_tensor() -> None:
    found = read(FIXTURES, only("tensors"))
    by_key = {s.logged_as: s for s in found.series}
    assert by_key.pop("bare").values.tolist() == [0.0]
    assert len(by_key) == 12
    for key, one in by_key.items():
        assert one.values.tolist() == ([-7.0] * 2 if key.startswith("int") else [0.5] * 2), key
        assert one.steps.tolist() == [0, 10]
    (event_,) = found.events
    assert (event_.kind, event_.step) == (EventKind.RESUMED, 9.0)


def test_add_scalars_writes_one_directory_per_curve() -> None:
    assert [s.name for s in read(FIXTURES, only("tensorboardx/Loss/val")).series] == ["val/loss"]


@pytest.mark.parametrize(
    ("folder", "tag", "curve"),
    [
        ("log/metrics_recall", "metrics", "recall"),
        ("log/loss_G_adversarial", "loss/G", "adversarial"),
        ("metrics/recall", "metrics", "recall"),
        ("log/exp1", "metrics", ""),
        ("", "metrics", ""),
        ("metrics", "metrics", ""),
    ],
)
def test_curves_that_share_a_tag_are_told_by_their_directories(folder: str, tag: str, curve: str) -> None:
    assert curve_of_folder(folder, tag) == curve


def test_curves_that_share_a_tag_stay_apart(tmp_path: Path) -> None:
    """As `SummaryWriter.add_scalars` of torch writes them."""
    for name, value in (("metrics_precision", 0.25), ("metrics_recall", 0.75), ("loss_train", 1.0), ("loss_val", 2.0)):
        (tmp_path / name).mkdir()
        tag = name.partition("_")[0].encode()
        (tmp_path / name / "events.out.tfevents.1.host").write_bytes(b"".join(event(i, scalar(tag, value)) for i in range(9)))
    found = {s.name: (s.logged_as, set(s.values.tolist())) for s in read_run([tmp_path]).series}
    assert found == {
        "other/metrics/precision": ("metrics/precision", {0.25}),
        "other/metrics/recall": ("metrics/recall", {0.75}),
        "train/loss": ("loss", {1.0}),
        "val/loss": ("loss", {2.0}),
    }


def test_an_empty_run() -> None:
    found = read(FIXTURES, only("empty"))
    assert found.source.size == 40
    assert found.source.status == Status.READ
    assert "no values" in str(found.source.detail)
    assert not found.series


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train", "train"),
        ("logs/validation", "val"),
        ("runs/Loss_val", "val"),
        ("eval/2024", "val"),
        ("train_and_val", ""),
        ("", ""),
        ("exp1", ""),
        ("a/test", "test"),
    ],
)
def test_split_of_folder(folder: str, split: str) -> None:
    assert split_of_folder(folder) == split


def test_the_epoch_curve_becomes_the_epoch_of_the_others(tmp_path: Path) -> None:
    data = b"".join(event(10 * i, scalar(b"train_loss", 1.0), scalar(b"epoch", i // 2)) for i in range(6)) + event(99, scalar(b"train_loss", 1.0))
    (loss,) = [s for s in read_bytes(tmp_path, data).series if s.logged_as == "train_loss"]
    assert loss.epochs is not None
    assert loss.epochs[:6].tolist() == [0, 0, 1, 1, 2, 2]
    assert math.isnan(loss.epochs[6])


# --- damage ------------------------------------------------------------------------------------------------------------


def test_cut_anywhere_keeps_what_came_before(tmp_path: Path) -> None:
    whole = b"".join(event(i + 1, scalar(b"loss", i)) for i in range(4))  # step 0 would be shorter
    size = len(whole) // 4
    for cut in range(size, len(whole)):
        found = read_bytes(tmp_path, whole[:cut])
        assert [len(s) for s in found.series] == [cut // size]
        assert found.source.status == (Status.PARTIAL if cut % size else Status.READ)
        assert not cut % size or f"byte {cut - cut % size}" in str(found.source.detail)


def test_a_wrong_checksum_of_a_length_stops_the_reading(tmp_path: Path) -> None:
    first, second, third = (event(i + 1, scalar(b"loss", 1.0)) for i in range(3))
    damaged = second[:8] + bytes([second[8] ^ 1]) + second[9:]
    found = read_bytes(tmp_path, first + damaged + third)
    assert found.source.status == Status.PARTIAL
    assert f"byte {len(first)}" in str(found.source.detail)
    assert [len(s) for s in found.series] == [1]


def test_no_event_file_at_all(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, b"this is a text, not an event file\n" * 10)
    assert found.source.status == Status.FAILED
    assert not found.series


def test_a_missing_file_is_a_failed_source(tmp_path: Path) -> None:
    found = READER.read(Candidate(tmp_path, "gone.tfevents", 100, b""))
    assert found.source.status == Status.FAILED


def test_a_record_that_is_no_message_is_left_out_whole(tmp_path: Path) -> None:
    broken = record(sub(5, sub(1, scalar(b"loss", 1.0)) + b"\x0a\x7f"))
    found = read_bytes(tmp_path, event(1, scalar(b"loss", 1.0)) + broken + event(3, scalar(b"loss", 3.0)))
    assert [s.values.tolist() for s in found.series] == [[1.0, 3.0]]
    assert found.source.status == Status.PARTIAL
    assert "1 damaged" in str(found.source.detail)


def test_a_length_beyond_the_file_allocates_nothing(tmp_path: Path) -> None:
    for length in (1 << 40, (1 << 63) + 5, (1 << 64) - 1, 17):
        head = struct.pack("<Q", length)
        for scan in (tfevents_scan.scan, tfevents_compiled.scan):
            columns = scan(event(1, scalar(b"loss", 1.0)) + head + masked(head) + b"12345")
            assert (len(columns.values), columns.reason) == (1, tfevents_scan.MORE)
        assert read_bytes(tmp_path, head + masked(head) + b"12345").source.status == Status.FAILED


def test_records_that_straddle_buffers_and_huge_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = record(sub(5, sub(1, sub(1, b"picture") + sub(4, b"x" * 3000))))
    data = b"".join(event(i, scalar(b"loss", i), scalar(b"lr", -i)) + (picture if i % 7 == 3 else b"") for i in range(60))
    expected = points(read_bytes(tmp_path, data))
    assert len(expected["loss"]) == 60
    for chunk in (64, 100, 333, 4096):
        monkeypatch.setattr(tfevents, "CHUNK", chunk)
        monkeypatch.setattr(tfevents, "MAX_RECORD", 1000)
        found = read_bytes(tmp_path, data)
        assert points(found) == expected
        assert chunk == 4096 or "9 records above" in str(found.source.detail)
    cut = read_bytes(tmp_path, data + picture[:500])
    assert points(cut) == expected
    assert cut.source.status == Status.PARTIAL


# --- the two scans -----------------------------------------------------------------------------------------------------

TAGS = st.sampled_from(
    [b"loss", b"train/loss", b"lr", b"\xff\xfe", b"a", "Verlust \N{GREEK SMALL LETTER ALPHA}".encode(), b"", b"x" * 999, b"x" * 1001]
)
FLOATS = st.floats(width=32, allow_nan=True)
JUNK = st.binary(max_size=12)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from([1, 1, 2, 3, 9, 14, 19, 7, 0, 200]))
    parts = [varint(8) + varint(kind)]
    choice = draw(st.integers(0, 7))
    value = draw(FLOATS)
    options = [
        sub(4, struct.pack("<f", value)), sub(4, struct.pack("<d", value)), fixed(5, struct.pack("<f", value)), sub(5, struct.pack("<f", value) * draw(st.integers(0, 3))),
        sub(6, struct.pack("<d", value)), varint(13 << 3) + varint(draw(st.integers(0, 2**16 - 1))), sub(8, draw(JUNK)), sub(4, draw(JUNK)),
    ]  # fmt: skip
    parts.append(options[choice])
    if draw(st.booleans()):
        parts.insert(draw(st.integers(0, 2)), draw(st.sampled_from([sub(2, b""), sub(2, sub(2, b"\x08\x01")), sub(4, b""), sub(5, b""), draw(JUNK)])))
    return b"".join(parts)


@st.composite
def values(draw: st.DrawFn) -> bytes:
    tag = sub(1, draw(TAGS)) if draw(st.integers(0, 9)) else b""
    plugin = draw(st.sampled_from([b"scalars", b"images", b"histograms", b"text", b""]))
    kinds = st.sampled_from(["simple", "tensor", "histogram", "metadata", "none", "picture", "junk"])
    body = b""
    for kind in draw(st.lists(kinds, max_size=3)):
        match kind:
            case "simple":
                body += fixed(2, struct.pack("<f", draw(FLOATS)))
            case "tensor":
                body += sub(8, draw(tensors()))
            case "histogram":
                body += sub(5, sub(6, struct.pack("<3d", 0, 1, 2)) + sub(7, struct.pack("<3d", 0, draw(st.integers(0, 5)), 2)))
            case "metadata":
                body += sub(9, sub(1, sub(1, plugin)))
            case "picture":
                body += sub(4, b"png")
            case "junk":
                body += draw(JUNK)
    return tag + body


@st.composite
def files(draw: st.DrawFn) -> bytes:
    out = b""
    for _ in range(draw(st.integers(0, 8))):
        step = varint(16) + varint(draw(st.integers(-(2**63), 2**63 - 1)))
        wall = fixed(1, struct.pack("<d", draw(st.floats())))
        summary = sub(
            5,
            b"".join(sub(1, v) for v in draw(st.lists(values(), max_size=4)))
            + draw(st.sampled_from([b"", b"", b"\x10\x01", b"\x0a", b"\x0a\xff\xff\x03"])),
        )
        session = sub(7, draw(st.sampled_from([b"", b"\x08\x01", b"\x08\x02"])))
        parts = draw(st.permutations([step, wall, summary, *([session] if draw(st.integers(0, 3)) == 0 else [])]))
        out += record(b"".join(parts) + draw(st.sampled_from([b"", b"", b"", b"\xff", b"\x0b"])))
    cut = draw(st.integers(0, 5))
    return out[: len(out) - cut] if cut else out


def same(a: Found, b: Found) -> None:
    assert points(a) == points(b)
    assert [s.name for s in a.series] == [s.name for s in b.series]
    assert (a.source.status, str(a.source.detail)) == (b.source.status, str(b.source.detail))
    assert [(h.name, h.step, h.edges.tolist(), h.counts.tolist()) for h in a.histograms] == [
        (h.name, h.step, h.edges.tolist(), h.counts.tolist()) for h in b.histograms
    ]
    assert [(s.key, s.value) for s in a.settings] == [(s.key, s.value) for s in b.settings]
    assert [(e.kind, e.step) for e in a.events] == [(e.kind, e.step) for e in b.events]


def both(folder: Path, data: bytes) -> Found:
    """Read with either scan; the results must be the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfevents, "COMPILED_ABOVE", 1 << 60)
        plain = read_bytes(folder, data)
        patch.setattr(tfevents, "COMPILED_ABOVE", 0)
        same(read_bytes(folder, data), plain)
    return plain


@given(files())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_compiled_scan_reads_what_plain_python_reads(tmp_path: Path, data: bytes) -> None:
    both(tmp_path, data)


@given(st.sampled_from(FILES), st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_harm_neither_scan(tmp_path: Path, path: str, data: st.DataObject) -> None:
    raw = bytearray((FIXTURES / path).read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    both(tmp_path, bytes(raw))


@given(st.binary(max_size=400), st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_without_an_error(tmp_path: Path, data: bytes, framed: bool) -> None:
    both(tmp_path, record(data) if framed else data)


@pytest.mark.parametrize("path", FILES)
def test_both_scans_agree_on_real_files(tmp_path: Path, path: str) -> None:
    found = both(tmp_path, (FIXTURES / path).read_bytes())
    assert found.series or "empty" in path or found.settings


def test_without_a_compiler_plain_python_reads_large_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_data: bytes) -> None:
        raise RuntimeError("cannot cache function: no locator available")

    monkeypatch.setattr(tfevents, "COMPILED_ABOVE", 0)
    monkeypatch.setattr(tfevents_compiled, "scan", broken)
    assert [len(s) for s in read_bytes(tmp_path, event(1, scalar(b"loss", 1.0))).series] == [1]


def test_many_tags_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfevents, "MAX_TAGS", 50)
    found = read_bytes(tmp_path, b"".join(event(i, scalar(b"tag%d" % i, 1.0)) for i in range(80)))
    assert len(found.series) == 50
    assert found.source.status == Status.PARTIAL


# --- values ------------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_values_of_any_bytes(data: bytes) -> None:
    with np.errstate(all="ignore"):
        for decode in (lambda: tfevents_values.summary(data, 0, len(data)), lambda: tfevents_values.hyperparameters(data)):
            try:
                decode()
            except MalformedError:
                continue


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_histogram_keeps_its_count_and_its_range(data: list[float]) -> None:
    array = np.asarray(data)
    limits = np.append(np.linspace(-2e6, 2e6, 50), 1.7e308)
    counts = np.histogram(array, bins=np.concatenate([[-np.inf], limits]))[0].astype(float)
    result = tfevents_values._from_limits(array.min(), array.max(), limits, counts)
    assert result is not None
    edges, kept = result
    assert kept.sum() == len(data)
    assert edges[0] <= array.min()
    assert edges[-1] >= array.max()


def test_text_that_is_no_settings_is_left_alone(tmp_path: Path) -> None:
    def text(tag: bytes, content: str) -> bytes:
        return sub(1, tag) + sub(8, varint(8) + varint(7) + sub(8, content.encode())) + sub(9, sub(1, sub(1, b"text")))

    found = read_bytes(
        tmp_path,
        event(0, text(b"a", "once upon a time"), text(b"b", "{not json"), text(b"c", "[" * 100_000), text(b"d", json.dumps({"lr": 1, "n": None}))),
    )
    assert [(s.key, s.value) for s in found.settings] == [("lr", 1), ("n", None)]


def test_the_parts_of_a_detectors_loss_are_summed(tmp_path: Path) -> None:
    tags = (b"train/box_loss", b"train/cls_loss", b"metrics/mAP_0.5", b"val/box_loss")
    data = b"".join(event(step, *(scalar(tag, 1.5 + step) for tag in tags)) for step in (1, 2))
    found = {s.name: s for s in read_bytes(tmp_path, data).series}
    assert found["train/loss"].values.tolist() == [5.0, 7.0]
    assert "val/loss" not in found  # one part alone is no sum


def test_of_too_many_points_some_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each curve one in so many, and its last."""
    monkeypatch.setattr(tfevents, "MOST_POINTS", 300)
    monkeypatch.setattr(tfevents, "CHUNK", 1 << 12)
    data = record(b"\x1a\x0dbrain.Event:2") + b"".join(
        event(i, scalar(b"loss", 1.0 / (i + 1)), *([scalar(b"acc", i / 1000)] if i % 3 == 0 else [])) for i in range(1_000)
    )
    (tmp_path / "events.out.tfevents.1").write_bytes(data)
    found = tfevents.READER.read(Candidate(tmp_path, "events.out.tfevents.1", len(data), data[:4096]))
    assert found.source.status is Status.PARTIAL
    assert "one in 8 was read" in str(found.source.detail)
    for key, last in (("loss", 999), ("acc", 999)):
        (one,) = [s for s in found.series if s.logged_as == key]
        assert (one.steps[0], one.steps[-1]) == (0, last)
        assert 30 < len(one) < 300
        assert np.all(np.diff(one.steps) > 0)
