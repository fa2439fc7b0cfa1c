"""Appends records to a capture file. See the package's docstring for the format."""

import json
import math
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orjson

FORMAT = "postmortem-capture/1"
MOST_FILES = 9999


def plain(value: Any) -> Any:
    """A value as JSON can hold it; numbers that are not finite become strings, what is not known its `str`, cut. Arrays of whole
    numbers stay what they are: they are written as lists, without ever being Python's numbers."""
    kind = type(value)  # exact ones first: of a step's record there are no others, and abstract classes are slow to ask
    if kind is str or kind is int or value is None:
        return value
    if kind is dict:
        return {k if type(k) is str else str(k): plain(v) for k, v in value.items()}
    if kind is list:
        return value if ready(value) else [plain(v) for v in value]
    if isinstance(value, np.ndarray) and value.dtype.kind in "iu" and value.flags.c_contiguous:
        return value
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else "nan" if math.isnan(number) else "inf" if number > 0 else "-inf"
    if isinstance(value, np.integer | np.bool_):
        return int(value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in value]
    return str(value)[:300]


def ready(values: list[Any]) -> bool:
    """Finite numbers or texts alone: they stay as they are."""
    kinds = set(map(type, values))
    return kinds <= {str} or kinds <= {int} or (kinds <= {float} and math.isfinite(sum(values)))


def line(record: Mapping[str, Any]) -> bytes:
    """One record as it stands in the file."""
    told = {k: v if k == "h" else plain(v) for k, v in record.items()}  # histograms are arrays of whole numbers alone
    try:
        text = orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:  # half of a surrogate pair, a number of more than 64 bits
        text = json.dumps(told, ensure_ascii=False, separators=(",", ":"), default=lambda array: array.tolist()).encode("utf-8", "replace")
    return b"%08x %s\n" % (zlib.crc32(text), text)


class RecordFile:
    """An append-only file of records, its own from the first byte. Every record is one `write`, unbuffered."""

    def __init__(self, folder: Path, name: str = "capture") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._descriptor = -1
        for number in range(1, MOST_FILES + 1):
            path = folder / f"{name}-{number:04d}.postmortem"
            try:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
            except FileExistsError:
                continue
            self.path = path
            return
        raise FileExistsError(f"{folder} holds {MOST_FILES} capture files")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one record. Raises `OSError`."""
        if self._descriptor >= 0:
            data = line(record)
            while data:
                data = data[os.write(self._descriptor, data) :]

    def close(self) -> None:
        """Nothing is written from now on."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
