"""Blocks of JSON lines that are read by column: the same numbers as object by object, or nothing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.sources.logs import jsonl
from postmortem.sources.logs.jsonblocks import columns
from postmortem.sources.reader import Candidate

NUMBERS = st.floats().filter(lambda v: not 1e99 <= abs(v) < 1e100) | st.integers(-(10**12), 10**12)  # numbers of that size stand for NaN and infinity
KEYS = st.lists(st.text("abcdefghij_/é", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


def block_of(rows: list[dict[str, object]], **how: object) -> bytes:
    return "\n".join(json.dumps(row, **how) for row in rows).encode()  # type: ignore[arg-type]


@given(KEYS, st.data())
def test_rows_of_one_form_give_their_numbers(keys: list[str], data: st.DataObject) -> None:
    rows = [{key: data.draw(NUMBERS) for key in keys} for _ in range(data.draw(st.integers(1, 5)))]
    for how in ({}, {"separators": (",", ":")}, {"ensure_ascii": False}):
        found = columns(block_of(rows, **how))
        if found is None:  # an escaped key, or two kinds of blanks: left to the other reader
            assert any(not key.isascii() for key in keys)
            continue
        (form,) = found
        assert list(form.keys) == keys
        assert form.rows.tolist() == list(range(len(rows)))
        assert np.array_equal(form.values, np.array([list(row.values()) for row in rows], dtype=np.float64), equal_nan=True)


@given(st.lists(KEYS, min_size=1, max_size=4), st.data())
def test_rows_of_several_forms_give_the_numbers_of_each(forms: list[list[str]], data: st.DataObject) -> None:
    rows = [{key: data.draw(NUMBERS) for key in data.draw(st.sampled_from(forms))} for _ in range(data.draw(st.integers(1, 12)))]
    found = columns(block_of(rows, ensure_ascii=False))
    assert found is not None
    told: list[dict[str, float]] = [{} for _ in rows]
    for form in found:
        for row, values in zip(form.rows.tolist(), form.values.tolist(), strict=True):
            assert not told[row]
            told[row] = dict(zip(form.keys, values, strict=True))
    assert [list(one) for one in told] == [list(row) for row in rows]
    for one, row in zip(told, rows, strict=True):
        assert np.array_equal(np.array(list(one.values())), np.array(list(row.values()), dtype=np.float64), equal_nan=True)


@pytest.mark.parametrize(
    "lines",
    [
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": {}}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": }'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": 3,4}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": NaNNaN}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": NN}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": Infinite}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": 3"}'],
        ['{"a1b": 1}', '{"ab1": 1}', '{"a2b": null}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": "3"}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": null}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": [3]}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": true}'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": 3'],
        ['{"a": 1, "b": NaN}', '{"a": 2, "b": 3} {"a": 2, "b": 3}'],
        ['{"a": 1, "a": NaN}'],
        ['{"a": {"b": NaN}}'],
        ['{"a": 1, "b": NaN}', "", '{"a": 2, "b": 3}'],
    ],
)
def test_other_blocks_are_left_to_the_reader_of_objects(lines: list[str]) -> None:
    assert columns("\n".join(lines).encode()) is None


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    columns(b'{"a": NaN}\n' + data)


def test_a_file_whose_later_lines_differ(tmp_path: Path) -> None:
    rows = [{"step": n, "loss": math.nan if n % 3 else 0.5} for n in range(60_000)] + [{"step": 60_000, "val_loss": 0.25}]
    data = block_of(rows) + b"\n"
    (tmp_path / "log.jsonl").write_bytes(data)
    found = {s.name: s for s in jsonl.read(Candidate(tmp_path, "log.jsonl", len(data), data[:4096])).series}
    assert len(data) > 1 << 20  # more than one block
    assert len(found["train/loss"]) == 60_000
    assert np.isnan(found["train/loss"].values).sum() == 40_000
    assert found["val/loss"].steps.tolist() == [60_000]
