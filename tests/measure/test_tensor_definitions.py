"""Every plain figure of a tensor in a file, of any element type, layout and content, against numpy and torch: held whole, counted, compiled."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from postmortem.measure import checkpoints, trajectory
from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.quantiles import QUANTILES
from postmortem.model.run import Checkpoint, Status, TensorRef
from tests.measure.raw import run_of, strides_of
from tests.measure.slow_tensors import CONTENTS, SMALLEST_NORMAL, WHOLE, content, numbers

DTYPES = (*SMALLEST_NORMAL, "float8_e8m0fnu", *WHOLE)
EXACT = ("float16", "bfloat16")  # whose counters hold every value
WIDE = ("float64", "complex128")  # counted as float32
SHAPES = ((), (0,), (4, 0), (1,), (2,), (5000,), (30, 41), (7, 3, 11), (1, 1))


def laid_out(tensor: torch.Tensor, shape: tuple[int, ...], layout: str) -> tuple[torch.Tensor, tuple[int, ...]]:
    """What is written, and the strides at which the elements of `tensor` (flat, C order) lie in it."""
    strides = strides_of(shape)
    if layout == "turned" and len(shape) > 1:
        turned = tuple(reversed(range(len(shape))))
        data = tensor.reshape(shape).permute(turned).contiguous().reshape(-1)
        back = strides_of([shape[i] for i in turned])
        return data, tuple(back[len(shape) - 1 - i] for i in range(len(shape)))
    if layout == "gaps" and shape:
        wide = torch.ones(tensor.numel() * 3, dtype=torch.float32).to(tensor.dtype)
        wide[::3] = tensor
        return wide, tuple(3 * s for s in strides)
    return tensor, strides


@given(
    st.sampled_from(DTYPES), st.sampled_from(CONTENTS), st.sampled_from(SHAPES), st.sampled_from(["plain", "turned", "gaps"]),
    st.sampled_from(["held", "counted", "compiled"]), st.sampled_from([0, 1, 8]), st.integers(0, 1000),
)  # fmt: skip
@example("float32", "bits", (5000,), "plain", "compiled", 1, 0)
@example("bfloat16", "bits", (5000,), "plain", "compiled", 8, 0)
@example("float32", "near one", (5000,), "turned", "compiled", 0, 3)
@example("float16", "3e19", (30, 41), "gaps", "counted", 0, 1)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tensor(tmp_path: Path, dtype: str, kind: str, shape: tuple[int, ...], layout: str, way: str, offset: int, seed: int) -> None:
    tensor = content(kind, dtype, math.prod(shape), seed)
    data, strides = laid_out(tensor, shape, layout)
    (tmp_path / "c").write_bytes(bytes(offset) + data.view(torch.uint8).numpy().tobytes() if data.numel() else b"")
    ref = TensorRef("w.weight", "c", offset, dtype, shape, strides, tensor.numel() * tensor.element_size())
    saved = Checkpoint("c", "raw", Status.READ, step=1.0, tensors=(replace(ref, name="x"),))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trajectory, "DIRECT", 1 << 17 if way == "held" else -1)
        patched.setattr(checkpoints, "COMPILED_FROM", 0 if way == "compiled" else 1 << 60)
        patched.setattr(checkpoints, "LEAST_BLOCK", 999)
        patched.setattr(checkpoints, "BUFFERS", 0)
        (found,) = measure_checkpoints(run_of(tmp_path, saved))[0][0].tensors
    values = numbers(tensor)
    finite = values[np.isfinite(values)]
    size = np.abs(finite)
    assert (found.dtype, found.shape, found.count) == (dtype, shape, len(values))
    assert (found.nan, found.positive_inf, found.negative_inf) == tuple(
        int(n) for n in (np.isnan(values).sum(), (values == np.inf).sum(), (values == -np.inf).sum())
    )
    assert found.zero == int((size == 0).sum())
    assert found.subnormal == int(((size > 0) & (size < SMALLEST_NORMAL.get(dtype, 0.0))).sum())
    assert sum(found.histogram.counts) == len(finite)
    if not len(finite):
        assert all(math.isnan(v) for v in (found.mean, found.std, found.rms, found.low, found.high, found.kurtosis, *found.quantiles))
        return
    rms, std = np.sqrt((finite**2).mean()), np.sqrt(((finite - finite.mean()) ** 2).mean())
    assert found.mean == pytest.approx(float(finite.mean()), rel=1e-9, abs=float(rms) * 1e-12)
    assert found.rms == pytest.approx(float(rms), rel=1e-9, abs=0)
    assert found.std == pytest.approx(float(std), rel=1e-7, abs=float(rms) * 1e-11)
    assert (found.low, found.high) == (float(finite.min()), float(finite.max()))
    exact = way == "held" or dtype in EXACT
    expected = np.quantile(finite.astype(np.float64), QUANTILES, method="inverted_cdf")
    if exact or dtype not in WIDE:
        assert np.allclose(found.quantiles, expected, rtol=0 if exact else 2.0**-8, atol=0 if exact else 1e-40)
        if std > rms * 1e-7:
            kurtosis = float((((finite - finite.mean()) / std) ** 4).mean())
            assert found.kurtosis + 3 == pytest.approx(kurtosis, rel=1e-5 if exact else 2.0**-6)
        else:
            assert finite.min() != finite.max() or math.isnan(found.kurtosis)
