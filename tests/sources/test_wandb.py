"""W&B's transaction log: what wandb wrote is read back, and no bytes do harm."""

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.model.run import EventKind, Series, Status
from postmortem.sources.logs import stretches, wandb_history
from postmortem.sources.logs.wandb import READER
from postmortem.sources.reader import Candidate, Found
from tests.sources.wire import framed, item, num, row, sub, varint

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats" / "wandb"
FILES = sorted(str(p.relative_to(FIXTURES)) for p in FIXTURES.rglob("*.wandb"))


def read(root: Path, path: str) -> Found:
    data = (root / path).read_bytes()
    one = Candidate(root, path, len(data), data[:4096], frozenset(p.name for p in (root / path).parent.iterdir()))
    assert READER.claims(one)
    return READER.read(one)


def fixture(name: str) -> Found:
    (path,) = [f for f in FILES if f.startswith(name + "/")]
    return read(FIXTURES, path)


def by_key(found: Found) -> dict[str, Series]:
    return {s.logged_as: s for s in found.series}


def read_bytes(folder: Path, data: bytes) -> Found:
    (folder / "run-x.wandb").write_bytes(data)
    return read(folder, "run-x.wandb")


# --- what wandb wrote --------------------------------------------------------------------------------------------------


def test_a_run_that_finished() -> None:
    found = fixture("finished")
    assert found.source.status == Status.READ
    assert found.source.detail is None
    series = by_key(found)
    loss = series["train/loss"]
    assert (loss.name, len(loss)) == ("train/loss", 30)
    assert loss.steps.tolist() == list(range(30))
    assert loss.values[:2].tolist() == [2.0, 1.0]
    assert loss.values[28] == math.inf
    assert math.isnan(loss.values[29])
    assert loss.epochs is not None
    assert loss.epochs.tolist() == [i // 10 for i in range(30)]
    assert loss.times is not None
    assert np.all(np.diff(loss.times) >= 0)
    assert series["train.accuracy"].name == "train/accuracy"  # logged as a nested mapping
    assert series["val/loss"].steps.tolist() == [9, 19, 29]
    assert [(h.name, h.step, h.counts.sum()) for h in found.histograms] == [("gradients/layer1", s, 200) for s in (9, 19, 29)]
    assert {s.key: s.value for s in found.settings}.items() >= {"lr": 0.1, "batch_size": 32, "optim.name": "adam"}.items()
    assert found.facts["exit_code"] == 0
    assert found.facts["finished"] is True
    assert 1.7e9 < float(found.facts["started_at"] or 0) < 4e9


def test_a_run_that_raised() -> None:
    found = fixture("raised")
    assert found.facts["exit_code"] == 1
    assert found.facts["finished"] is False
    assert by_key(found)["loss"].values.tolist() == [1.0, 0.5, 1 / 3, 0.25, 0.2]
    assert not found.events  # output.log beside it has them


def test_the_console_in_the_log_when_there_is_no_output_log(tmp_path: Path) -> None:
    (path,) = [f for f in FILES if f.startswith("raised/")]
    found = read_bytes(tmp_path, (FIXTURES / path).read_bytes())
    (event,) = [e for e in found.events if e.kind == EventKind.OUT_OF_MEMORY]
    assert "Tried to allocate 2.00 GiB" in event.text
    assert event.source == "run-x.wandb"


def test_a_run_that_was_killed() -> None:
    found = fixture("killed")
    assert found.source.status == Status.PARTIAL
    assert "cut off" in str(found.source.detail)
    assert "exit_code" not in found.facts
    assert found.facts["finished"] is False
    assert by_key(found)["loss"].steps.tolist() == list(range(len(by_key(found)["loss"])))


def test_the_step_metric_that_a_trainer_defined_is_the_axis() -> None:
    series = by_key(fixture("own-step"))
    assert set(series) == {"train/loss", "eval/loss"}
    assert series["train/loss"].steps.tolist() == [50 * (i + 1) for i in range(20)]
    assert series["eval/loss"].steps.tolist() == [250, 500, 750, 1000]
    assert series["eval/loss"].name == "val/loss"


@pytest.mark.parametrize("path", FILES)
def test_every_row_is_what_wandb_itself_reads(path: str) -> None:
    pytest.importorskip("wandb")
    internal = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    from postmortem.sources.logs.stretches import Extent
    from postmortem.sources.logs.wandb_records import Framing, records

    expected: dict[str, list[float]] = {}
    for data in records(FIXTURES / path, Extent((FIXTURES / path).stat().st_size), Framing()):
        record = internal.Record.FromString(data)
        for one in record.history.item:
            value = json.loads(one.value_json)
            if isinstance(value, str):
                value = {"NaN": math.nan, "Infinity": math.inf}.get(value)
            if isinstance(value, int | float):
                expected.setdefault(".".join(one.nested_key) or one.key, []).append(value)
    found = by_key(read(FIXTURES, path))
    assert found
    for key, one in found.items():
        assert list(map(repr, one.values.tolist())) == [repr(float(v)) for v in expected[key]]


# --- rows --------------------------------------------------------------------------------------------------------------


def test_an_iteration_in_every_row_is_the_axis(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, framed(*(row(i, iteration=100 * i, loss=1.0, lr=0.1) for i in range(5))))
    assert by_key(found)["loss"].steps.tolist() == [0, 100, 200, 300, 400]
    assert "iteration" not in by_key(found)


def test_an_iteration_that_goes_back_is_no_axis(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, framed(*(row(i, iter=i % 2, loss=1.0) for i in range(6))))
    assert by_key(found)["loss"].steps.tolist() == [0, 1, 2, 3, 4, 5]


def test_an_epoch_as_step_metric_is_no_step(tmp_path: Path) -> None:
    define = sub(12, sub(1, b"val/loss") + sub(4, b"epoch"))
    found = read_bytes(tmp_path, framed(define, *(row(10 * i, epoch=i, val__loss=1.0) for i in range(1, 4))))
    loss = by_key(found)["val/loss"]
    assert loss.steps.tolist() == [10, 20, 30]
    assert loss.epochs is not None
    assert loss.epochs.tolist() == [1, 2, 3]


def test_spelled_numbers_booleans_and_texts(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, framed(*(row(i, loss=v) for i, v in enumerate(["NaN", "Infinity", "-Infinity", True, None, "hello", 10**400, 2]))))
    assert [repr(v) for v in by_key(found)["loss"].values.tolist()] == ["nan", "inf", "-inf", "inf", "2.0"]


def test_the_typed_values_of_newer_versions(tmp_path: Path) -> None:
    typed = b"".join(
        sub(1, sub(2, key) + value)
        for key, value in ((b"a", num(5, 7)), (b"b", num(5, 6)), (b"c", varint(6 << 3 | 1) + struct.pack("<d", 0.5)), (b"d", sub(7, b"NaN")), (b"e", sub(8, b"[1]")), (b"f", num(4, 1)))
    )  # fmt: skip
    found = read_bytes(tmp_path, framed(sub(2, typed + sub(2, num(1, 3)))))
    assert {k: repr(v.values[0].item()) for k, v in by_key(found).items()} == {"a": "-4.0", "b": "3.0", "c": "0.5", "d": "nan"}
    assert by_key(found)["a"].steps.tolist() == [3]  # from the record's own step


def test_media_are_no_metrics(tmp_path: Path) -> None:
    picture = [sub(1, sub(2, b"sample") + sub(2, k) + sub(16, v)) for k, v in ((b"_type", b'"image-file"'), (b"width", b"28"), (b"size", b"1234"))]
    found = read_bytes(tmp_path, framed(sub(2, item("_step", 0) + b"".join(picture) + item("loss", 1.0))))
    assert set(by_key(found)) == {"loss"}


def test_statistics_of_the_machine_are_placed_by_the_clock(tmp_path: Path) -> None:
    def stats(time: int, value: float) -> bytes:
        return sub(7, sub(2, num(1, time)) + sub(3, sub(1, b"gpu.0.memoryAllocated") + sub(16, str(value).encode())))

    found = read_bytes(tmp_path, framed(row(0, loss=1.0), stats(1005, 40.0), row(10, loss=1.0), stats(1010, 50.0)))
    one = by_key(found)["system/gpu.0.memoryAllocated"]
    assert one.steps.tolist() == [5, 10]
    assert one.values.tolist() == [40, 50]


def test_a_resumed_and_a_preempted_run(tmp_path: Path) -> None:
    run = sub(17, num(14, 500) + num(18, 1) + sub(17, num(1, 1_700_000_000) + num(2, 500_000_000)))
    found = read_bytes(tmp_path, framed(run, sub(23, b""), sub(18, num(1, 255) + num(2, 60))))
    assert [(e.kind, e.step) for e in found.events] == [(EventKind.RESUMED, 500.0), (EventKind.PREEMPTED, None)]
    assert found.facts["started_at"] == 1_700_000_000.5
    assert found.facts["ended_at"] == 1_700_000_060.5
    assert found.facts["exit_code"] == 255


# --- the small files ---------------------------------------------------------------------------------------------------


def test_a_summary_alone_gives_the_last_values(tmp_path: Path) -> None:
    (tmp_path / "wandb-summary.json").write_text(
        '{"train/loss": NaN, "lr": 1e-3, "_step": 9, "_timestamp": 5, "note": "x", "ok": true, "h": {"_type": "histogram"}}'
    )
    found = read(tmp_path, "wandb-summary.json")
    assert math.isnan(by_key(found)["train/loss"].values[0])
    assert by_key(found)["lr"].steps.tolist() == [9]
    assert len(found.series) == 2


def test_a_summary_beside_its_history_says_nothing_new(tmp_path: Path) -> None:
    (tmp_path / "run/files").mkdir(parents=True)
    (tmp_path / "run/run-x.wandb").write_bytes(framed(row(0, loss=1.0)))
    (tmp_path / "run/files/wandb-summary.json").write_text('{"loss": 1}')
    found = read(tmp_path, "run/files/wandb-summary.json")
    assert found.source.status == Status.SKIPPED
    assert not found.series


def test_the_metadata_say_how_many_gpus(tmp_path: Path) -> None:
    (tmp_path / "wandb-metadata.json").write_text('{"gpu_count": 8, "startedAt": "2024-10-31T05:54:35.123456", "host": "h"}')
    found = read(tmp_path, "wandb-metadata.json")
    assert found.facts == {"gpus": 8, "started_at": 1730354075.123456}


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b'{"a": ' + b"[" * 10_000, b"\xff\xfe", b'{"startedAt": "x", "gpu_count": "y"}'])
@pytest.mark.parametrize("name", ["wandb-summary.json", "wandb-metadata.json"])
def test_damaged_small_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert not read(tmp_path, name).series


# --- damage ------------------------------------------------------------------------------------------------------------


def test_records_over_several_blocks(tmp_path: Path) -> None:
    long = sub(2, item("_step", 1) + item("note", "x" * 100_000) + item("loss", 2.0))
    found = read_bytes(tmp_path, framed(row(0, loss=1.0), long, row(2, loss=3.0), *(row(i, loss=float(i)) for i in range(3, 2000))))
    assert by_key(found)["loss"].values[:4].tolist() == [1, 2, 3, 3]
    assert len(by_key(found)["loss"]) == 2000


def test_cut_anywhere_keeps_what_came_before(tmp_path: Path) -> None:
    whole = framed(*(row(i, loss=float(i)) for i in range(4)))
    size = (len(whole) - 7) // 4
    for cut in range(7 + size, len(whole)):
        found = read_bytes(tmp_path, whole[:cut])
        assert [len(s) for s in found.series] == [(cut - 7) // size]
        assert found.source.status == (Status.PARTIAL if (cut - 7) % size else Status.READ)


def test_after_damage_it_goes_on_at_the_next_block(tmp_path: Path) -> None:
    whole = bytearray(framed(*(row(i, loss=float(i)) for i in range(2000))))
    whole[40_000] ^= 0xFF
    found = read_bytes(tmp_path, bytes(whole))
    steps = by_key(found)["loss"].steps
    assert found.source.status == Status.PARTIAL
    assert "1 damaged" in str(found.source.detail) or "2 damaged" in str(found.source.detail)
    assert steps[0] == 0
    assert steps[-1] == 1999
    assert 1000 < len(steps) < 2000


def test_a_very_large_one_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its begin, its end and stretches between; a record that is cut by that is no damage."""
    for name, value in (("WHOLE", 1 << 20), ("END", 1 << 18), ("STRETCH", 1 << 16), ("BETWEEN", 8)):
        monkeypatch.setattr(stretches, name, value)
    found = read_bytes(tmp_path, framed(*(row(i, loss=1.0 / (i + 1), note="x" * (i % 90)) for i in range(20_000))))
    assert found.source.status is Status.PARTIAL
    assert "too large" in str(found.source.detail)
    loss = by_key(found)["loss"]
    assert (loss.steps[0], loss.steps[-1]) == (0, 19_999)
    assert np.array_equal(loss.values, 1.0 / (loss.steps + 1))
    assert 4_000 < len(loss) < 20_000


def test_a_header_alone(tmp_path: Path) -> None:
    found = read_bytes(tmp_path, framed())
    assert found.source.status == Status.READ
    assert "no records" in str(found.source.detail)


@given(st.lists(st.binary(max_size=120), max_size=6), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_records_are_read_without_an_error(tmp_path: Path, data: list[bytes], wrapped: bool) -> None:
    kinds = (2, 4, 5, 7, 12, 13, 17, 18, 26)
    read_bytes(tmp_path, framed(*(sub(kinds[i % len(kinds)], d) if wrapped else d for i, d in enumerate(data))))


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_without_an_error(tmp_path: Path, data: bytes) -> None:
    read_bytes(tmp_path, data)
    read_bytes(tmp_path, framed()[:7] + data)


@given(st.sampled_from(FILES), st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_do_no_harm(tmp_path: Path, path: str, data: st.DataObject) -> None:
    """With checksums that fit, so that the damage reaches the messages."""
    from postmortem.sources.logs.stretches import Extent
    from postmortem.sources.logs.wandb_records import Framing, records

    whole = [bytearray(r) for r in records(FIXTURES / path, Extent((FIXTURES / path).stat().st_size), Framing())]
    for _ in range(data.draw(st.integers(1, 10))):
        one = whole[data.draw(st.integers(0, len(whole) - 1))]
        one[data.draw(st.integers(0, len(one) - 1))] = data.draw(st.integers(0, 255))
    read_bytes(tmp_path, framed(*map(bytes, whole)))


# --- rows that look alike ----------------------------------------------------------------------------------------------

_VALUES = st.one_of(st.floats(), st.integers(-(10**20), 10**20), st.sampled_from(["NaN", "text", True, None, {"nested": 1.5}]))
_ROWS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"loss": st.floats(), "lr": st.floats(0, 1)}),  # the usual one
        st.fixed_dictionaries({"loss": st.floats(0, 9), "val__loss": st.floats(0, 9)}),  # begins like it
        st.dictionaries(st.sampled_from(["loss", "lr", "acc", "val__loss"]), _VALUES, max_size=4),
    ),
    max_size=30,
)


@given(_ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_rows_at_once_are_read_like_rows_one_by_one(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    data = framed(*(row(i, **values) for i, values in enumerate(rows)))
    at_once = read_bytes(tmp_path, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb_history, "MAX_LAYOUTS", 0)
        one_by_one = read_bytes(tmp_path, data)
    assert [(s.logged_as, s.steps.tolist()) for s in at_once.series] == [(s.logged_as, s.steps.tolist()) for s in one_by_one.series]
    for a, b in zip(at_once.series, one_by_one.series, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_most_rows_are_matched_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walked = []
    whole = wandb_history.History._walk
    monkeypatch.setattr(wandb_history.History, "_walk", lambda *a: walked.append(a[-1]) or whole(*a))
    found = read_bytes(tmp_path, framed(*(row(i, loss=1 / (i + 1), lr=1e-3 * i, **({"acc": 0.5} if i % 10 == 9 else {})) for i in range(200))))
    assert len(by_key(found)["loss"]) == 200
    assert len(walked) < 50
