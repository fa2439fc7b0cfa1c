"""Adam's moments in 8 bits, as bitsandbytes saves them, tell of the gradient what the same moments in float32 tell.

Synthetic files to the library's layout: one code for each element, 256 values, one scale for each block of elements.
"""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.quantised import is_quantised, values
from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.model.run import Checkpoint, TensorRef
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.reader import Candidate
from tests.measure.raw import run_of

SIGNED, UNSIGNED = np.linspace(-1, 1, 256, dtype=np.float32), np.linspace(0, 1, 256, dtype=np.float32) ** 2


def quantise(moment: np.ndarray, table: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales, one element after the other: the nearest entry of the table to the share of its block's largest magnitude."""
    flat = moment.ravel()
    scales = np.array([np.abs(flat[i : i + size]).max() for i in range(0, len(flat), size)], np.float32)
    codes = [int(np.argmin(np.abs(table * scales[i // size] - v))) for i, v in enumerate(flat)]
    return np.array(codes, np.uint8).reshape(moment.shape), scales


def saved(root: Path, moments: dict[int, tuple[np.ndarray, np.ndarray]], *, nested: bool, size: int = 256, step: int = 30) -> Checkpoint:
    """A checkpoint as torch saves it."""
    states = {}
    for key, (mean, square) in moments.items():
        slots = {"state1": torch.tensor(mean), "state2": torch.tensor(square)}
        if mean.size >= 4096:  # smaller ones are kept in float32
            for n, (moment, table) in enumerate(((mean, SIGNED), (square, UNSIGNED)), 1):
                codes, scales = quantise(moment, table, size)
                slots |= {f"state{n}": torch.tensor(codes), f"qmap{n}": torch.tensor(table), f"absmax{n}": torch.tensor(scales)}
        states[key] = {"step": step, "__bnb_optimizer_quant_state__": slots} if nested else {"step": step, **slots}
    groups = [{"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "params": list(moments)}]
    model = {f"{key}.weight": torch.randn(mean.shape) for key, (mean, _) in moments.items()}
    torch.save({"model": model, "optimizer": {"state": states, "param_groups": groups}, "step": step}, root / "ckpt.pt")
    file = root / "ckpt.pt"
    (one,) = torch_zip.read(Candidate(root, "ckpt.pt", file.stat().st_size, file.read_bytes()[:4096])).checkpoints
    return one


def some_moments() -> dict[int, tuple[np.ndarray, np.ndarray]]:
    random = np.random.default_rng(0)
    gradients = {0: random.standard_normal((30, 70, 64)) * 1e-3, 1: random.standard_normal((30, 8, 9)) * 1e-2}
    out = {}
    for key, g in gradients.items():
        mean = square = np.zeros(g.shape[1:])
        for one in g:
            mean, square = 0.9 * mean + 0.1 * one, 0.999 * square + 0.001 * one**2
        out[key] = mean.astype(np.float32), square.astype(np.float32)
    return out


@pytest.mark.parametrize("nested", [False, True])
def test_gradients_out_of_eight_bits(tmp_path: Path, nested: bool) -> None:
    moments = some_moments()
    stats = measure_checkpoints(run_of(tmp_path, saved(tmp_path, moments, nested=nested)))[0][0]
    assert stats.optimizer is not None
    assert (stats.optimizer.kind, stats.optimizer.unmeasured) == ("adam-8bit", None)
    assert [g.name for g in stats.gradients] == ["0.weight", "1.weight"]
    for found, (mean, square) in zip(stats.gradients, moments.values(), strict=True):
        power = math.sqrt(square.mean(dtype=float) / (1 - 0.999**30))
        assert found.source == "adam"
        assert found.rms == pytest.approx(power, rel=2e-3)
        assert found.mean_ratio == pytest.approx(math.sqrt((mean.astype(float) ** 2).mean()) / (1 - 0.9**30) / power, rel=5e-3)
        assert (found.below_epsilon, found.non_finite) == (None, 0)


def test_every_code_has_its_own_blocks_scale(tmp_path: Path) -> None:
    moments = some_moments()
    slots = saved(tmp_path, moments, nested=False).optimizer.states[0].slots  # type: ignore[union-attr]
    codes, scales = quantise(moments[0][0], SIGNED, 256)
    expected = [SIGNED[c] * scales[i // 256] for i, c in enumerate(codes.ravel())]
    for block in (1 << 19, 999, 256, 1):
        with TensorFiles(tmp_path, block) as files:
            found = np.concatenate(list(values(files, slots, "state1")))
        np.testing.assert_array_equal(found, expected)


def ref(shape: tuple[int, ...], dtype: str) -> TensorRef:
    return TensorRef("x", "ckpt.pt", 0, dtype, shape, (1,) * len(shape), 0)


def test_what_does_not_fit_is_not_decoded(tmp_path: Path) -> None:
    whole = {"state1": ref((4096,), "uint8"), "qmap1": ref((256,), "float32"), "absmax1": ref((16,), "float32")}
    assert is_quantised(whole, "state1")
    assert not is_quantised({**whole, "state1": ref((4096,), "float32")}, "state1")
    assert not is_quantised({**whole, "qmap1": ref((16,), "float32")}, "state1")
    assert not is_quantised({**whole, "absmax1": ref((3,), "float32")}, "state1")
    assert not is_quantised({k: v for k, v in whole.items() if k != "absmax1"}, "state1")
    (tmp_path / "ckpt.pt").write_bytes(b"\0" * 3000)
    with TensorFiles(tmp_path) as files, pytest.raises(NotWholeError):
        list(values(files, whole, "state1"))
