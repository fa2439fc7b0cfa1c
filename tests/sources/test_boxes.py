"""Logs in the boxes of Docker's `json-file` driver, and the one-pass search for words."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postmortem.sources import read_run
from postmortem.sources.logs.anyof import any_of
from postmortem.sources.logs.text.boxes import boxed, unboxed


def box(text: str) -> str:
    return json.dumps({"log": text, "stream": "stdout", "time": "2024-01-01T10:00:00.123456789Z"}, separators=(",", ":")) + "\n"


def test_a_traceback_comes_out_of_its_boxes(tmp_path: Path) -> None:
    lines = [f"step {n} loss {4 - n}.5\n" for n in range(3)]
    lines += ["Traceback (most recent call last):\n", '  File "a.py", line 3, in <module>\n', "ValueError: broken\n"]
    (tmp_path / "f00-json.log").write_text("".join(box(line) for line in lines), "utf-8")
    run = read_run([tmp_path / "f00-json.log"])
    assert [(s.name, s.steps.tolist(), s.values.tolist()) for s in run.series] == [("train/loss", [0, 1, 2], [4.5, 3.5, 2.5])]
    assert [(e.data["exception"], e.line) for e in run.events] == [("ValueError", 4)]


def test_bars_of_boxes_are_drawn_again(tmp_path: Path) -> None:
    bar = "\r".join(f"Epoch 0: {n * 10:3d}%|##        | {n}/10 [00:05<00:33, 33.1it/s, loss={n}.5]" for n in range(1, 4))
    (tmp_path / "train.log").write_text(box(bar + "\n") + "what is in no box\n", "utf-8")
    (loss,) = read_run([tmp_path / "train.log"]).series
    assert (loss.steps.tolist(), loss.values.tolist()) == ([1, 2, 3], [1.5, 2.5, 3.5])


@given(st.lists(st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",))), min_size=1))
def test_lines_survive_their_boxes(lines: list[str]) -> None:
    data = "".join(box(line + "\n") for line in lines).encode()
    assert boxed(data)
    assert unboxed(data).decode().split("\n")[:-1] == lines


@given(st.binary())
def test_any_bytes_keep_their_lines(data: bytes) -> None:
    assert unboxed(data).count(b"\n") == data.count(b"\n")


@pytest.mark.parametrize("head", [b'{"log":"step 1"}\n', b'{"loss": 1.5, "stream":"stdout"}\n', b"", b'step {"log":"'])
def test_records_in_json_are_no_boxes(head: bytes) -> None:
    assert not boxed(head)


@given(st.lists(st.text("abc.^", min_size=1, max_size=4), min_size=1, max_size=6), st.text("abc.^", max_size=20))
def test_one_pass_finds_what_one_by_one_is_found(words: list[str], text: str) -> None:
    assert bool(re.search(any_of(words), text)) is any(word in text for word in words)
