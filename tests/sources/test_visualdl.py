"""VisualDL's records. Synthetic: framed and encoded here as visualdl/proto/record.proto says."""

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import Status
from postmortem.sources import read_run
from postmortem.sources.logs.visualdl import READER
from postmortem.sources.reader import Candidate

NAME = "vdlrecords.1690034156.log"


def varint(n: int) -> bytes:
    out = b""
    while n >= 0x80:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def record(tag: str, step: int, value: float | None, milliseconds: int = 1_690_034_156_000) -> bytes:
    """One framed record; a step of 0 is left out, as proto3 does; None writes a text instead of a number."""
    body = (b"\x08" + varint(step) if step else b"") + b"\x12" + varint(len(tag.encode())) + tag.encode() + b"\x18" + varint(milliseconds)
    body += b"\x25" + struct.pack("<f", value) if value is not None else b"\x5a\x03abc"
    inner = b"\x0a" + varint(len(body)) + body
    return struct.pack("<Q", len(inner)) + inner


def test_numbers_of_every_tag(tmp_path: Path) -> None:
    data = record("meta_data_tag", 0, None)
    for step in range(5):
        data += record("train/loss", step, 2.5 - step / 4, 1_690_034_156_000 + step * 1500) + record("损失/总损失", step, float(step))
    (tmp_path / NAME).write_bytes(data)
    run = read_run([tmp_path])
    loss, other = run.one_series("train/loss"), next(s for s in run.series if s.logged_as == "损失/总损失")
    assert loss is not None
    assert loss.steps.tolist() == [0, 1, 2, 3, 4]
    assert loss.values.tolist() == [2.5, 2.25, 2.0, 1.75, 1.5]
    assert loss.times is not None
    assert (loss.times[1] - loss.times[0]) == 1.5
    assert other.values.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("lost", [1, 7, 15])
def test_a_cut_end_is_told(tmp_path: Path, lost: int) -> None:
    (tmp_path / NAME).write_bytes((record("loss", 1, 2.0) + record("loss", 2, 1.0))[:-lost])
    run = read_run([tmp_path])
    (source,) = run.sources
    assert source.status is Status.PARTIAL
    assert "cut off" in str(source.detail)
    assert [len(s) for s in run.series] == [1]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        whole = record("loss", 1, 2.0) + data
        (Path(folder) / NAME).write_bytes(whole)
        found = READER.read(Candidate(Path(folder), NAME, len(whole), whole[:4096], frozenset({NAME})))
        assert found.series[0].values[0] == 2.0
