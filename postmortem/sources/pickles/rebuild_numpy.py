"""numpy's arrays, dtypes and scalars out of the calls that rebuild them."""

import struct
from typing import Any

from postmortem.sources.pickles.records import Array, NumpyType

_NUMPY_CODES = {
    "f2": "float16", "f4": "float32", "f8": "float64", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "u1": "uint8", "u2": "uint16",
    "u4": "uint32", "u8": "uint64", "b1": "bool", "c8": "complex64", "c16": "complex128",
}  # fmt: skip
_SCALARS = {
    "float16": "e", "float32": "f", "float64": "d", "int8": "b", "int16": "h", "int32": "i", "int64": "q", "uint8": "B", "uint16": "H",
    "uint32": "I", "uint64": "Q", "bool": "?",
}  # fmt: skip
_MOST_DIMENSIONS = 32  # numpy 1 can gather no more
Args = tuple[object, ...]


def numpy_dtype(value: object) -> str:
    """The name of a numpy dtype record, "" when it is structured, textual or of objects."""
    return _NUMPY_CODES.get(value.code, "") if isinstance(value, NumpyType) else ""


def sizes(value: object) -> tuple[int, ...] | None:
    """A shape or strides as a tuple of plain integers, None when it is none."""
    if not isinstance(value, tuple | list) or len(value) > _MOST_DIMENSIONS:
        return None
    return tuple(value) if all(type(v) is int and abs(v) < 1 << 62 for v in value) else None


def dtype(args: Args) -> Any:
    if not isinstance(args[0], str | bytes) or len(args[0]) > 16:
        return NotImplemented
    code = args[0].decode("latin-1") if isinstance(args[0], bytes) else args[0]
    order = code[0] if code[:1] in "<>=|" and code else "<"
    return NumpyType(code.lstrip("<>=|"), order)


def array(args: Args) -> Any:
    """`numpy.core.multiarray._reconstruct(type, (0,), b"b")`: an empty array that BUILD fills."""
    return Array() if len(args) == 3 else NotImplemented


def frombuffer(args: Args) -> Any:
    """`numpy.core.numeric._frombuffer(buffer, dtype, shape, order)` of pickle protocol 5."""
    buffer, dtype, shape, order = args
    name, dimensions = numpy_dtype(dtype), sizes(shape)
    if not isinstance(buffer, bytes) or not name or dimensions is None:
        return NotImplemented
    return Array(name, dimensions, buffer, byte_order(dtype), fortran=order == "F")


def byte_order(dtype: object) -> str:
    """ "<" or ">"; native is taken for little endian."""
    return ">" if isinstance(dtype, NumpyType) and dtype.order == ">" else "<"


def scalar(args: Args) -> Any:
    """`numpy.core.multiarray.scalar(dtype, bytes)` as Python's number."""
    dtype, data = args[0], args[1]
    if not isinstance(data, str | bytes) or len(data) > 16:
        return NotImplemented
    data = data.encode("latin-1") if isinstance(data, str) else data
    code = _SCALARS.get(numpy_dtype(dtype))
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize(code):
        return NotImplemented
    return struct.unpack(byte_order(dtype) + code, data)[0]


def fill_array(array: Array, state: object) -> None:
    """BUILD of an array: `(version, shape, dtype, is_fortran, bytes | list)`. One that does not fit stays empty."""
    if not isinstance(state, tuple) or len(state) < 4:
        return
    shape, dtype, fortran, data = state[-4:]
    dimensions = sizes(shape)
    if dimensions is None:
        return
    array.shape, array.fortran, array.order, array.dtype = dimensions, bool(fortran is True), byte_order(dtype), numpy_dtype(dtype)
    if isinstance(data, str):
        array.data = data.encode("latin-1", "replace")
    elif isinstance(data, bytes):
        array.data = data
    elif isinstance(data, list):
        array.items = data


def fill_dtype(dtype: NumpyType, state: object) -> None:
    """BUILD of a dtype: `(version, byte order, …)`; a structured one loses its code."""
    if isinstance(state, tuple) and len(state) > 4:
        order = state[1].decode("latin-1", "replace") if isinstance(state[1], bytes) else state[1]
        dtype.order = order if isinstance(order, str) else "<"
        if state[3] is not None:
            dtype.code = ""
