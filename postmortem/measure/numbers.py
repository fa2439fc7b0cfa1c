"""Element types: raw elements of a file as floating-point numbers that keep their value."""

from functools import cache

import numpy as np
import numpy.typing as npt

from postmortem.measure.reading import Raw

Real = npt.NDArray[np.float32] | npt.NDArray[np.float64]

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_FLOAT8 = {  # exponent bits, mantissa bits, bias, has infinities, "fn"/"uz" flavour
    "float8_e4m3fn": (4, 3, 7, "fn"),
    "float8_e5m2": (5, 2, 15, "ieee"),
    "float8_e4m3fnuz": (4, 3, 8, "fnuz"),
    "float8_e5m2fnuz": (5, 2, 16, "fnuz"),
}
_TINY = {
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
    "float32": 2.0**-126,
    "float64": 2.0**-1022,
    "float": 2.0**-126,
    "double": 2.0**-1022,
    "half": 2.0**-14,
}


def as_real(raw: Raw, dtype: str) -> Real:
    """Values as float32 where that holds every one of them, else float64. Complex numbers become their real and imaginary parts."""
    if dtype == "bfloat16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype.startswith("float8"):
        decoded: Real = float8_values(dtype)[raw]
        return decoded
    if raw.dtype.kind == "c":
        raw = raw.astype(np.complex128).view(np.float64) if raw.dtype.itemsize > 8 else raw.astype(np.complex64).view(np.float32)
    if raw.dtype.kind == "f" and raw.dtype.itemsize <= 4:
        return raw.astype(np.float32, copy=False)
    if raw.dtype.kind == "b" or (raw.dtype.kind in "iu" and raw.dtype.itemsize <= 2):
        return raw.astype(np.float32)
    return raw.astype(np.float64, copy=False)


def smallest_normal(dtype: str) -> float:
    """The smallest normal magnitude of a type; below it numbers are subnormal. 0 for types without subnormals (integers)."""
    if dtype in _FLOAT8:
        return float(2.0 ** (1 - _FLOAT8[dtype][2]))
    if dtype.startswith("complex"):
        return 2.0**-126 if dtype == "complex64" else 2.0**-1022
    return _TINY.get(dtype, 0.0)


def single(values: Real) -> npt.NDArray[np.float32]:
    """Finite values as float32, those beyond its range at its ends."""
    if values.dtype == np.float32:
        return values  # type: ignore[return-value]  # mypy sees no link between dtype and type
    return np.clip(values, -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)


def dot(a: npt.NDArray[np.float64] | npt.NDArray[np.int64], b: npt.NDArray[np.float64]) -> float:
    """Σ ab in a fixed order. `np.dot` would start BLAS threads: slow beside other work, and another sum with every number of cores."""
    return float(np.einsum("i,i->", a, b))


@cache
def float8_values(dtype: str) -> npt.NDArray[np.float32]:
    """The 256 values of an 8-bit float type (OCP 8-bit floating point specification; the fnuz kinds have one zero and one NaN)."""
    if dtype == "float8_e8m0fnu":
        values = np.ldexp(1.0, np.arange(256) - 127)
        values[255] = np.nan
        return values.astype(np.float32)
    exponent_bits, mantissa_bits, bias, flavour = _FLOAT8.get(dtype, _FLOAT8["float8_e4m3fn"])
    codes = np.arange(256)
    sign = np.where(codes & 0x80, -1.0, 1.0)
    exponent = (codes & 0x7F) >> mantissa_bits
    mantissa = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    values = sign * np.where(exponent > 0, np.ldexp(1.0 + mantissa, exponent - bias), np.ldexp(mantissa, 1 - bias))
    if flavour == "fn":
        values[(codes & 0x7F) == 0x7F] = np.nan
    elif flavour == "fnuz":
        values[0x80] = np.nan
    else:
        top = exponent == (1 << exponent_bits) - 1
        values[top] = np.where(mantissa[top] > 0, np.nan, sign[top] * np.inf)
    return values.astype(np.float32)
