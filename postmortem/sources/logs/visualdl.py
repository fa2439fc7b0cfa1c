"""PaddlePaddle's VisualDL: `vdlrecords.<time>.log`, a binary file in spite of its name.

Records of `uint64 length | Record`; a Record holds values of `1 step, 2 tag, 3 clock in ms, 4 float | 5… pictures, text, …`.
Source: visualdl/writer/record_writer.py, visualdl/proto/record.proto.
"""

import struct
from array import array

import numpy as np

from postmortem.model.run import Series, Source, Status
from postmortem.model.sentence import say
from postmortem.sources.logs.protobuf import BYTES, FIXED32, VARINT, MalformedError, walk
from postmortem.sources.names import reduction_of, series_names
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "visualdl"
_LARGEST = 16 << 20  # bytes of one record; larger ones hold pictures
_MOST_TAGS = 5_000
_MOST_POINTS = 20_000_000
_LENGTH = struct.Struct("<Q")
_FLOAT = struct.Struct("<f")

_Columns = tuple["array[float]", "array[float]", "array[float]"]  # steps, values, seconds


def claims(candidate: Candidate) -> bool:
    """By its name, and a first record that fits."""
    if not candidate.name.startswith("vdlrecords.") or len(candidate.head) < 10:
        return False
    return 0 < _LENGTH.unpack_from(candidate.head)[0] < 1 << 40 and candidate.head[8] == 0x0A


def read(candidate: Candidate) -> Found:
    """Every number of every tag. Pictures, histograms and texts are passed over."""
    found: dict[str, _Columns] = {}
    damaged, cut, points = 0, False, 0
    try:
        with candidate.file.open("rb") as file:
            while points < _MOST_POINTS and (head := file.read(8)):
                length = _LENGTH.unpack(head)[0] if len(head) == 8 else 0
                if len(head) < 8 or length > candidate.size - file.tell():
                    cut = True
                    break
                if length > _LARGEST:
                    file.seek(length, 1)
                    continue
                try:
                    points += _take(file.read(length), found)
                except MalformedError:
                    damaged += 1
    except OSError as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, say("it could not be read: {why}", why=error.strerror or "error"), candidate.size))
    names = series_names(found)
    series = tuple(_series(names[tag], tag, candidate.path, columns) for tag, columns in found.items())
    detail = None
    if cut:
        detail = say("the last record is cut off (still being written, or the process was killed)")
    elif damaged:
        detail = say("{n} damaged records were left out", n=damaged)
    status = Status.PARTIAL if detail else Status.READ
    return Found(Source(candidate.path, NAME, status, detail or (None if series else say("the file holds no values")), candidate.size), series)


def _take(record: bytes, found: dict[str, _Columns]) -> int:
    """Put the numbers of one record into their columns; returns how many."""
    taken = 0
    for number, wire, start, end in walk(record, 0, len(record)):
        if number != 1 or wire != BYTES:
            continue
        step, tag, seconds, value = 0.0, "", 0.0, None
        for field, kind, a, b in walk(record, start, end):
            if field == 1 and kind == VARINT:
                step = float(a)
            elif field == 2 and kind == BYTES:
                tag = record[a:b].decode("utf-8", "replace")
            elif field == 3 and kind == VARINT:
                seconds = a / 1000
            elif field == 4 and kind == FIXED32:
                value = _FLOAT.unpack_from(record, a)[0]
        if value is None or not tag or (tag not in found and len(found) >= _MOST_TAGS):
            continue
        columns = found.setdefault(tag, (array("d"), array("d"), array("d")))
        for column, one in zip(columns, (step, value, seconds), strict=True):
            column.append(one)
        taken += 1
    return taken


def _series(name: str, tag: str, source: str, columns: _Columns) -> Series:
    steps, values, seconds = (np.frombuffer(column, np.float64).copy() for column in columns)
    return Series(name, tag, source, steps, values, times=seconds if seconds.any() else None, reduction=reduction_of(tag))


READER = Reader(NAME, claims, read)
