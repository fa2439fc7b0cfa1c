"""Figures of one tensor, against slow definitions by numpy, scipy and torch."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from postmortem.measure import kernels
from postmortem.measure.numbers import as_real, float8_values, smallest_normal
from postmortem.measure.quantiles import QUANTILES, display, signed_keys
from postmortem.measure.tally import Plain, Tally
from postmortem.measure.tensors import Figures, centred_moments, figures_of

RNG = np.random.default_rng(7)
KERNELS = {"numpy": Plain(), "compiled": kernels}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """As `measure_checkpoints` does it: converting a signalling NaN warns, squares of test values overflow."""
    with np.errstate(all="ignore"):
        yield


def counted(raw: np.ndarray, dtype: str, loops: object, block: int = 1000) -> Figures:
    tally = Tally(dtype)
    for start in range(0, len(raw), block):
        tally.add(raw[start : start + block], loops)
    with np.errstate(all="ignore"):
        return tally.figures(lambda mean, peak: centred_moments((as_real(raw[s : s + block], dtype) for s in range(0, len(raw), block)), mean, peak))


def direct(raw: np.ndarray, dtype: str) -> Figures:
    with np.errstate(all="ignore"):
        return figures_of(as_real(raw, dtype), dtype)


def bits(values: list[int]) -> np.ndarray:
    return np.array(values, np.uint32).view(np.float32)


SPECIAL = bits([
    0x7F800001, 0x7F80FFFF, 0xFF800001, 0x7FC00000, 0xFFFFFFFF,  # NaN, signalling with low payloads among them
    0x7F800000, 0x7F800000, 0xFF800000,  # infinities
    0, 0x80000000, 0x80000000,  # zeros
    1, 0x80000001, 0x0000FFFF, 0x00010000, 0x007FFFFF, 0x807FFFFF,  # subnormals, some in the keys of zero
    0x00800000, 0x7F7FFFFF, 0xFF7FFFFF,  # smallest normal, largest finite
])  # fmt: skip
FLOATS = {
    "normal": RNG.standard_normal(50_000).astype(np.float32) * 0.02,
    "uneven": (RNG.standard_normal(3001) * 0.02 - 0.01).astype(np.float32),
    "vanishing": (RNG.standard_normal(20_000) * 1e-23).astype(np.float32),
    "exploding": (RNG.standard_normal(20_000) * 3e19).astype(np.float32),
    "gain": (1 + RNG.standard_normal(9_999) * 1e-3).astype(np.float32),
    "far": (1e4 + RNG.standard_normal(9_999)).astype(np.float32),
    "constant": np.full(5000, 0.1, np.float32),
    "zeros": np.zeros(4097, np.float32),
    "sparse": (RNG.standard_normal(30_000) * (RNG.random(30_000) < 0.1)).astype(np.float32),
    "special": np.concatenate([SPECIAL, RNG.standard_normal(5000).astype(np.float32)]),
    "special-tail": np.concatenate([RNG.standard_normal(5000).astype(np.float32), SPECIAL]),
    "only-special": SPECIAL,
    "all-nan": np.full(3000, np.nan, np.float32),
    "all-inf": np.full(3000, -np.inf, np.float32),
    "one": np.array([-3.5], np.float32),
    "heavy": RNG.standard_t(3, 40_000).astype(np.float32),
    "positive": RNG.random(10_000).astype(np.float32) + np.float32(0.5),
    "negative": -RNG.random(10_000).astype(np.float32) - np.float32(0.5),
    "subnormal": np.arange(1, 4000, dtype=np.uint32).view(np.float32),
}


def check_counts(figures: Figures, values: np.ndarray, tiny: float) -> None:
    magnitude = np.abs(values.astype(np.float64))
    assert figures.count == len(values)
    assert figures.nan == int(np.isnan(values).sum())
    assert figures.positive_inf == int((values == np.inf).sum())
    assert figures.negative_inf == int((values == -np.inf).sum())
    assert figures.zero == int((magnitude == 0).sum())
    assert figures.subnormal == int(((magnitude > 0) & (magnitude < tiny)).sum())


def check_moments(figures: Figures, values: np.ndarray, kurtosis_within: float) -> None:
    finite = values[np.isfinite(values)].astype(np.longdouble)
    if not len(finite):
        assert all(math.isnan(v) for v in (figures.mean, figures.std, figures.rms, figures.low, figures.high, figures.kurtosis, *figures.quantiles))
        return
    size = float(np.sqrt((finite**2).mean()))
    assert figures.mean == pytest.approx(float(finite.mean()), rel=1e-9, abs=size * 1e-12)
    assert figures.rms == pytest.approx(size, rel=1e-9)
    std = float(np.sqrt(((finite - finite.mean()) ** 2).mean()))
    assert figures.std == pytest.approx(std, rel=1e-8, abs=size * 1e-12)
    assert figures.low == float(finite.min())
    assert figures.high == float(finite.max())
    if finite.min() == finite.max():
        assert figures.std == 0
        assert math.isnan(figures.kurtosis)
    else:
        scaled = np.asarray((finite - finite.mean()) / finite.std(), np.float64)
        exact = scipy.stats.kurtosis(scaled)
        assert figures.kurtosis == pytest.approx(exact, abs=kurtosis_within * (exact + 3), rel=1e-6)


def check_quantiles(figures: Figures, values: np.ndarray, relative: float) -> None:
    finite = np.sort(values[np.isfinite(values)].astype(np.float64))
    if len(finite):
        expected = np.quantile(finite, QUANTILES, method="inverted_cdf")
        assert np.allclose(figures.quantiles, expected, rtol=relative, atol=1e-40)


def check_histogram(figures: Figures, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)].astype(np.float64)
    edges, counts = figures.histogram.edges, figures.histogram.counts
    assert sum(counts) == len(finite)
    assert len(counts) <= 64
    if len(finite):
        assert len(edges) == len(counts) + 1
        assert np.all(np.diff(edges) > 0)
        assert edges[0] <= finite.min()
        assert edges[-1] >= finite.max()
        # Edges lie on key boundaries. A value on an edge belongs to the bin further out (positive side) or, negative, likewise outwards.
        index = np.where(finite > 0, np.searchsorted(edges, finite, "right"), np.searchsorted(edges, finite, "left")) - 1
        assert np.bincount(np.clip(index, 0, len(counts) - 1), minlength=len(counts)).tolist() == list(counts)


@pytest.mark.parametrize("name", FLOATS)
def test_a_small_tensor_is_measured_exactly(name: str) -> None:
    values = FLOATS[name]
    figures = direct(values, "float32")
    check_counts(figures, values, 2.0**-126)
    check_moments(figures, values, 1e-6)
    check_quantiles(figures, values, 0.0)
    check_histogram(figures, values)


@pytest.mark.parametrize("loops", KERNELS)
@pytest.mark.parametrize("name", FLOATS)
def test_a_large_tensor_is_counted(name: str, loops: str) -> None:
    values = FLOATS[name]
    figures = counted(values, "float32", KERNELS[loops])
    check_counts(figures, values, 2.0**-126)
    check_moments(figures, values, 2.0**-6)  # the kurtosis is of bin middles
    check_quantiles(figures, values, 2.0**-8)
    check_histogram(figures, values)
    assert figures.histogram == direct(values, "float32").histogram


@pytest.mark.parametrize("loops", KERNELS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bits_are_counted_exactly(dtype: str, loops: str) -> None:
    for keys in (np.arange(65536, dtype=np.uint16), RNG.integers(0, 65536, 10_001).astype(np.uint16), np.full(3000, 0x3C01, np.uint16)):
        raw = keys.view(np.float16) if dtype == "float16" else keys
        values = torch.from_numpy(keys.view(np.int16).copy()).view(getattr(torch, dtype)).to(torch.float64).numpy()
        for figures in (counted(raw, dtype, KERNELS[loops]), direct(raw, dtype)):
            check_counts(figures, values, smallest_normal(dtype))
            check_moments(figures, values, 1e-6)
            check_quantiles(figures, values, 0.0)
            check_histogram(figures, values)


@pytest.mark.parametrize("scale", [1.0, 1e-250, 1e-310, 1e200, 1e307])
def test_doubles_beyond_the_range_of_single(scale: float) -> None:
    values = np.concatenate([RNG.standard_normal(5000) * scale, [0.0, np.nan, np.inf, -np.inf]])
    with np.errstate(over="ignore"):
        for figures in (direct(values, "float64"), counted(values, "float64", Plain())):
            check_counts(figures, values, 2.0**-1022)
            finite = values[np.isfinite(values)]
            assert figures.std == pytest.approx(float(np.std(finite.astype(np.longdouble))), rel=1e-6)
            assert figures.rms == pytest.approx(float(np.sqrt((finite.astype(np.longdouble) ** 2).mean())), rel=1e-6)
            assert (figures.low, figures.high) == (finite.min(), finite.max())


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "uint64", "bool"])
def test_integers_and_flags(dtype: str) -> None:
    values = RNG.integers(0, 2 if dtype == "bool" else 100, 5000).astype(dtype)
    for figures in (direct(values, dtype), counted(values, dtype, Plain())):
        check_counts(figures, values.astype(np.float64), 0.0)
        check_moments(figures, values.astype(np.float64), 2.0**-6)


def test_complex_numbers_are_their_parts() -> None:
    values = (RNG.standard_normal(3000) + 1j * RNG.standard_normal(3000)).astype(np.complex64)
    parts = np.concatenate([values.real, values.imag])
    for figures in (direct(values, "complex64"), counted(values, "complex64", kernels)):
        check_counts(figures, parts, 2.0**-126)
        check_moments(figures, parts, 2.0**-6)


@pytest.mark.parametrize("dtype", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"])
def test_eight_bit_floats_decode_as_torch_decodes_them(dtype: str) -> None:
    codes = np.arange(256, dtype=np.uint8)
    expected = torch.from_numpy(codes).view(getattr(torch, dtype)).to(torch.float32).numpy()
    assert np.array_equal(float8_values(dtype), expected, equal_nan=True)
    for figures in (direct(codes, dtype), counted(codes, dtype, kernels)):
        check_counts(figures, expected, smallest_normal(dtype))
        if dtype != "float8_e8m0fnu":
            check_moments(figures, expected, 2.0**-6)


def test_moments_agree_with_torch() -> None:
    values = FLOATS["normal"]
    tensor = torch.from_numpy(values).double()
    figures = counted(values, "float32", kernels)
    assert figures.mean == pytest.approx(tensor.mean().item(), rel=1e-9)
    assert figures.std == pytest.approx(tensor.std(correction=0).item(), rel=1e-9)
    assert figures.rms == pytest.approx((tensor.norm() / math.sqrt(len(values))).item(), rel=1e-9)


def test_nothing_in_it() -> None:
    for figures in (direct(np.empty(0, np.float32), "float32"), counted(np.empty(0, np.float32), "float32", Plain())):
        assert figures.count == 0
        assert math.isnan(figures.mean)
        assert figures.histogram.counts == ()


anything = hnp.arrays(np.uint32, st.integers(0, 400)).map(lambda a: a.view(np.float32))


@given(anything, st.integers(1, 50), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_bits_any_blocks(values: np.ndarray, block: int, compiled: bool) -> None:
    figures = counted(values, "float32", kernels if compiled else Plain(), block)
    check_counts(figures, values, 2.0**-126)
    exact = direct(values, "float32")
    assert figures.histogram == exact.histogram
    assert (figures.low, figures.high) == pytest.approx((exact.low, exact.high), rel=0, abs=0, nan_ok=True)
    assert figures.mean == pytest.approx(exact.mean, rel=1e-9, abs=exact.rms * 1e-12 if exact.rms > 0 else 0, nan_ok=True)
    assert figures.std == pytest.approx(exact.std, rel=1e-7, abs=exact.rms * 1e-12 if exact.rms > 0 else 0, nan_ok=True)
    assert np.allclose(figures.quantiles, exact.quantiles, rtol=2.0**-8, atol=1e-40, equal_nan=True)


@given(anything, st.integers(0, 400))
@settings(max_examples=80, deadline=None)
def test_two_halves_merge_to_the_whole(values: np.ndarray, at: int) -> None:
    whole, left, right = Tally("float32"), Tally("float32"), Tally("float32")
    whole.add(values, Plain())
    left.add(values[:at], Plain())
    right.add(values[at:], Plain())
    left.merge(right)
    assert np.array_equal(left.counts, whole.counts)
    for name in ("count", "zero", "subnormal", "positive_inf", "negative_inf", "low", "high"):
        assert getattr(left, name) == getattr(whole, name)
    assert left.squares == pytest.approx(whole.squares, rel=1e-12)


@given(hnp.arrays(np.float32, st.integers(2, 300), elements=st.floats(-1, 1, width=32, allow_subnormal=False)), st.integers(-60, 60))
@settings(max_examples=80, deadline=None)
def test_a_power_of_two_changes_nothing_but_the_scale(values: np.ndarray, exponent: int) -> None:
    values = np.where(np.abs(values) < 1e-15, 0, values).astype(np.float32)
    one, two = direct(values, "float32"), direct(np.ldexp(values, exponent), "float32")
    factor = 2.0**exponent
    assert two.mean == pytest.approx(one.mean * factor, rel=1e-12, abs=one.rms * factor * 1e-14)
    assert two.std == pytest.approx(one.std * factor, rel=1e-12, abs=one.rms * factor * 1e-14)
    assert two.kurtosis == pytest.approx(one.kurtosis, rel=1e-6, abs=1e-6, nan_ok=True)
    assert two.histogram.counts == one.histogram.counts


@given(anything.map(lambda a: a[np.isfinite(a)]))
@settings(max_examples=80, deadline=None)
def test_signed_keys_keep_the_order(values: np.ndarray) -> None:
    ordered = np.sort(values)
    assert np.all(np.diff(signed_keys(ordered)) >= 0)
    assert sum(display(signed_keys(ordered)).counts) == len(values)


def test_the_same_bytes_give_the_same_figures() -> None:
    values = FLOATS["special"]
    assert repr(counted(values, "float32", kernels)) == repr(counted(values, "float32", kernels))
