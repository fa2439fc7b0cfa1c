"""The compiled loops. Imported only when there are bytes enough to be worth numba's start-up (see `checkpoints`).

Counting is bound by one store per element and cycle: whatever else is wanted of an element goes beside it, in vector
registers that the scalar loop leaves idle (`_fold`), and costs next to nothing. Sums run over slices of 2,048 elements in 16
lanes, and slice after slice is added to what came before: the order is fixed by the tensor alone, neither by the blocks that
it is read in (as long as they are whole slices) nor by the width of the machine's registers. The square of a float32 is
exact in float64, so it does not matter either whether multiplication and addition are one instruction.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

SLICE = 2048  # elements
AHEAD = 2048  # bytes
_SUM = frozenset({"reassoc", "contract"})
_KEY = np.uint64(0xFFFF)
_ONE = np.int64(1)
_SLICE_WORDS = np.uint64(SLICE // 2)
_FOLD_WORDS = np.uint64(8)
_HALF_FOLD = np.uint64(4)
_TOTAL, _SQUARES = 56, 57  # places in the state, behind the seven vectors
_MOST, _HIGH, _LOW, _ZERO, _POSITIVE, _NEGATIVE = range(6)  # places among the whole numbers

_BYTE, _INT, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_DOUBLES = ir.VectorType(ir.DoubleType(), 8)
_SINGLES = ir.VectorType(ir.FloatType(), 8)
_INTS = ir.VectorType(ir.IntType(32), 16)
_VECTORS = 7  # of 64 bytes: two of sums, two of sums of squares, largest signed, largest and smallest unsigned bits


def _compiled(*signatures: str, fast: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` without the GIL, cached on disk where some directory can be written and compiled afresh where none can."""

    def compile_it(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"nogil": True, "fastmath": set(_SUM) if fast else False}
        with contextlib.suppress(RuntimeError, OSError):  # "no locator available": nowhere to write a cache
            return numba.njit(list(signatures), cache=True, **options)(function)  # type: ignore[no-any-return]
        return numba.njit(list(signatures), **options)(function)  # type: ignore[no-any-return]

    return compile_it


_in_llvm: Callable[[Callable[..., Any]], Any] = intrinsic  # numba has no types


def _place(builder: Any, pointer: Any, offset: int, kind: Any) -> Any:
    return builder.bitcast(builder.gep(pointer, [ir.Constant(_LONG, offset)]), kind.as_pointer())


def _bytes_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return builder.bitcast(context.make_array(kind)(context, builder, array).data, _BYTE.as_pointer())


@_in_llvm
def _lanes(typing: Any) -> Any:  # noqa: ARG001  # numba looks at the parameters
    """Room for the seven vectors on the stack; LLVM keeps them in registers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(cgutils.alloca_once(builder, ir.ArrayType(_DOUBLES, _VECTORS)), _BYTE.as_pointer())

    return types.voidptr(), generate


@_in_llvm
def _clear(typing: Any, lanes: Any) -> Any:  # noqa: ARG001  # numba looks at the parameters
    """Sums of nothing, extremes of nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        for i in range(4):
            builder.store(ir.Constant(_DOUBLES, [0.0] * 8), _place(builder, arguments[0], 64 * i, _DOUBLES))
        for i, start in enumerate((-(1 << 31), 0, -1), 4):
            builder.store(ir.Constant(_INTS, [start] * 16), _place(builder, arguments[0], 64 * i, _INTS))
        return context.get_dummy_value()

    return types.void(types.voidptr), generate


@_in_llvm
def _fold(typing: Any, lanes: Any, words: Any, at: Any) -> Any:  # noqa: ARG001  # numba looks at the parameters
    """Take 16 float32 (8 words from `words[at]`) into the vectors. Positive floats sort like integers, negative ones backwards."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _bytes_of(context, builder, signature.args[1], arguments[1])
        here = builder.gep(data, [builder.mul(arguments[2], ir.Constant(_LONG, 8))])
        for i in range(2):
            singles = builder.load(_place(builder, here, 32 * i, _SINGLES))
            singles.align = 4
            values = builder.fpext(singles, _DOUBLES)
            total = _place(builder, arguments[0], 64 * i, _DOUBLES)
            builder.store(builder.fadd(builder.load(total), values), total)
            squares = _place(builder, arguments[0], 64 * (2 + i), _DOUBLES)
            square = builder.fmul(values, values, flags=("contract",))
            builder.store(builder.fadd(builder.load(squares), square, flags=("contract",)), squares)
        bits = builder.load(_place(builder, here, 0, _INTS))
        bits.align = 4
        for i, (compare, sign) in enumerate(((builder.icmp_signed, ">"), (builder.icmp_unsigned, ">"), (builder.icmp_unsigned, "<")), 4):
            extreme = _place(builder, arguments[0], 64 * i, _INTS)
            so_far = builder.load(extreme)
            builder.store(builder.select(compare(sign, bits, so_far), bits, so_far), extreme)
        return context.get_dummy_value()

    return types.void(types.voidptr, words, types.uint64), generate


@_in_llvm
def _fetch(typing: Any, words: Any, at: Any) -> Any:  # noqa: ARG001  # numba looks at the parameters
    """Ask for the cache line `AHEAD` bytes behind `words[at]`: the processor itself does not look beyond a page."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _bytes_of(context, builder, signature.args[0], arguments[0])
        here = builder.gep(data, [builder.add(builder.mul(arguments[1], ir.Constant(_LONG, 8)), ir.Constant(_LONG, AHEAD))])
        kind = ir.FunctionType(ir.VoidType(), [_BYTE.as_pointer(), *[_INT] * 3])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [here, *(ir.Constant(_INT, n) for n in (0, 3, 1))])  # to read, into all caches, data
        return context.get_dummy_value()

    return types.void(words, types.uint64), generate


@_in_llvm
def _spill(typing: Any, lanes: Any, state: Any) -> Any:  # noqa: ARG001  # numba looks at the parameters
    """The seven vectors into an array of float64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = _bytes_of(context, builder, signature.args[1], arguments[1])
        for i in range(_VECTORS):
            store = builder.store(builder.load(_place(builder, arguments[0], 64 * i, _DOUBLES)), _place(builder, data, 64 * i, _DOUBLES))
            store.align = 8
        return context.get_dummy_value()

    return types.void(types.voidptr, state), generate


@_compiled("void(uint64[::1], int64[::1])")
def _count_fours(words: Any, counts: Any) -> None:
    for start in range(np.uint64(0), np.uint64(words.size), _FOLD_WORDS):
        _fetch(words, start)
        for i in range(start, min(start + _FOLD_WORDS, np.uint64(words.size))):
            word = words[i]
            counts[word & _KEY] += _ONE
            counts[(word >> np.uint64(16)) & _KEY] += _ONE
            counts[(word >> np.uint64(32)) & _KEY] += _ONE
            counts[word >> np.uint64(48)] += _ONE


@_compiled("void(float32[::1], uint32[::1], float64[::1], int64[::1])")
def _finite(values: Any, unsigned: Any, state: Any, whole: Any) -> None:
    """Sums and extremes of the finite values of a slice, one by one."""
    total = 0.0
    squares = 0.0
    for i in range(values.size):
        bits = np.int64(unsigned[i])
        if (bits & 0x7FFFFFFF) < 0x7F800000:
            value = np.float64(values[i])
            total += value
            squares += value * value
            whole[_MOST] = max(whole[_MOST], bits if bits < 0x80000000 else bits - 0x100000000)
            whole[_HIGH] = max(whole[_HIGH], bits)
            whole[_LOW] = min(whole[_LOW], bits)
    state[_TOTAL] += total
    state[_SQUARES] += squares


@_compiled("void(uint32[::1], int64[::1])")
def _special(unsigned: Any, whole: Any) -> None:
    """Zeros and infinities of a slice, which share their keys with other numbers."""
    zero = np.int64(0)
    positive = np.int64(0)
    negative = np.int64(0)
    for i in range(unsigned.size):
        bits = unsigned[i]
        zero += (bits & np.uint32(0x7FFFFFFF)) == np.uint32(0)
        positive += bits == np.uint32(0x7F800000)
        negative += bits == np.uint32(0xFF800000)
    whole[_ZERO] += zero
    whole[_POSITIVE] += positive
    whole[_NEGATIVE] += negative


@_compiled("void(float32[::1], uint32[::1], int32[::1], uint64[::1], int64[::1], float64[::1], int64[::1])")
def _block(values: Any, unsigned: Any, spilled: Any, words: Any, counts: Any, state: Any, whole: Any) -> None:  # `spilled` is `state` as int32
    lanes = _lanes()
    whole_slices = np.uint64(words.size) // _SLICE_WORDS * _SLICE_WORDS
    shared = counts[0] + counts[0x7F80] + counts[0x8000] + counts[0xFF80]
    for start in range(np.uint64(0), whole_slices, _SLICE_WORDS):
        _clear(lanes)
        for i in range(start, start + _SLICE_WORDS, _FOLD_WORDS):
            for j in range(_HALF_FOLD):
                word = words[i + j]
                counts[(word >> np.uint64(16)) & _KEY] += _ONE
                counts[word >> np.uint64(48)] += _ONE
            _fetch(words, i)
            _fold(lanes, words, i)
            for j in range(_HALF_FOLD, _FOLD_WORDS):
                word = words[i + j]
                counts[(word >> np.uint64(16)) & _KEY] += _ONE
                counts[word >> np.uint64(48)] += _ONE
        _spill(lanes, state)
        total = 0.0
        squares = 0.0
        for lane in range(16):
            total += state[lane]
            squares += state[16 + lane]
        if np.isfinite(squares):
            state[_TOTAL] += total
            state[_SQUARES] += squares
            for lane in range(64, 80):
                whole[_MOST] = max(whole[_MOST], np.int64(spilled[lane]))
                whole[_HIGH] = max(whole[_HIGH], np.int64(spilled[lane + 16]) & 0xFFFFFFFF)
                whole[_LOW] = min(whole[_LOW], np.int64(spilled[lane + 32]) & 0xFFFFFFFF)
        else:
            _finite(values[2 * start : 2 * start + SLICE], unsigned[2 * start : 2 * start + SLICE], state, whole)
        now = counts[0] + counts[0x7F80] + counts[0x8000] + counts[0xFF80]
        if now != shared:
            shared = now
            _special(unsigned[2 * start : 2 * start + SLICE], whole)
    rest = unsigned[2 * whole_slices :]
    if rest.size:
        for i in range(rest.size):
            counts[rest[i] >> np.uint32(16)] += _ONE
        _finite(values[2 * whole_slices :], rest, state, whole)
        _special(rest, whole)


@_compiled("void(float32[::1], float32[::1], float32[::1], float64[::1])", fast=True)
def _movement(before: Any, after: Any, earlier: Any, sums: Any) -> None:
    old = new = moved = moved_before = together = 0.0
    for i in range(before.size):
        a = np.float64(before[i])
        b = np.float64(after[i])
        change = b - a
        change_before = a - np.float64(earlier[i])
        old += a * a
        new += b * b
        moved += change * change
        moved_before += change_before * change_before
        together += change * change_before
    sums[0] += old
    sums[1] += new
    sums[2] += moved
    sums[3] += moved_before
    sums[4] += together


@_compiled("void(uint16[::1], float32[::1], float32[::1])")
def _decode(keys: Any, table: Any, out: Any) -> None:
    for i in range(keys.size):
        out[i] = table[keys[i]]


def count_float32(
    values: npt.NDArray[np.float32], counts: npt.NDArray[np.int64], total: float, squares: float
) -> tuple[float, float, float, float, int, int, int]:
    """Count a block; `total` and `squares` with its finite values' added, the least and largest of them (inf and −inf when there
    are none), and how many values are zero, inf and −inf.
    """
    even = len(values) // 2 * 2
    words = values[:even].view(np.uint64)
    if not words.flags.aligned:
        values = values.copy()
        words = values[:even].view(np.uint64)
    state = np.zeros(64)
    state[_TOTAL], state[_SQUARES] = total, squares
    whole = np.array([-(1 << 31), 0, 0xFFFFFFFF, 0, 0, 0], np.int64)
    _block(values, values.view(np.uint32), state.view(np.int32), words, counts, state, whole)
    most, high, low, zero, positive, negative = whole.tolist()
    total, squares = state[_TOTAL:].tolist()[:2]
    if low > high:
        return total, squares, np.inf, -np.inf, zero, positive, negative
    return total, squares, _float(high if high >= 1 << 31 else low), _float(most if most >= 0 else low), zero, positive, negative


def _float(bits: int) -> float:
    return float(np.array(bits, np.uint32).view(np.float32))


def count_keys(keys: npt.NDArray[np.uint16], counts: npt.NDArray[np.int64]) -> None:
    """Count a block of 16-bit numbers."""
    even = len(keys) // 4 * 4
    _count_fours(keys[:even].view(np.uint64), counts)
    for key in keys[even:].tolist():
        counts[key] += 1


def movement(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], earlier: npt.NDArray[np.float32] | None
) -> tuple[float, float, float, float, float]:
    """Σa², Σb², Σ(b−a)², Σ(a−z)², Σ(b−a)(a−z) in float64."""
    sums = np.zeros(5)
    _movement(before, after, before if earlier is None else earlier, sums)
    return float(sums[0]), float(sums[1]), float(sums[2]), float(sums[3]), float(sums[4])


def decode(keys: npt.NDArray[np.uint16], table: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """16-bit numbers as float32 through the table of all 65,536 of them."""
    out = np.empty(len(keys), np.float32)
    _decode(keys, table, out)
    return out
