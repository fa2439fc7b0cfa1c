"""What is said of one tensor, and of its way between two checkpoints, worked out from the tensors themselves by numpy, scipy and torch: element by
element, pair by pair, in long double. Nothing of `postmortem.measure` is used."""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
import torch

QUANTILES = (0.001, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)
SMALLEST_NORMAL = {
    "float32": 2.0**-126, "float64": 2.0**-1022, "float16": 2.0**-14, "bfloat16": 2.0**-126, "complex64": 2.0**-126, "complex128": 2.0**-1022,
    "float8_e4m3fn": 2.0**-6, "float8_e5m2": 2.0**-14, "float8_e4m3fnuz": 2.0**-7, "float8_e5m2fnuz": 2.0**-15,
}  # fmt: skip
WHOLE = ("bool", "int8", "uint8", "int16", "int32", "int64")
CONTENTS = ("bits", "normal", "1e-23", "3e19", "near one", "constant", "sparse", "heavy", "specials", "nothing finite", "subnormal", "zeros")
ALIKE = 1e-4  # of the largest magnitude


def content(kind: str, dtype: str, count: int, seed: int) -> torch.Tensor:
    """A flat tensor of `count` elements."""
    rng = np.random.default_rng(seed)
    of = getattr(torch, dtype)
    if dtype in WHOLE:
        top = 2 if dtype == "bool" else 100
        return torch.from_numpy(rng.integers(0, top, count)).to(of)
    if kind == "bits" and count:
        return torch.from_numpy(rng.integers(0, 256, count * of.itemsize, dtype=np.uint8)).view(of)
    n = count * 2 if of.is_complex else count
    x = rng.standard_normal(n) * {"1e-23": 1e-23, "3e19": 3e19, "subnormal": 1e-40}.get(kind, 1.0)
    if kind == "near one":
        x = 1 + x * 1e-3
    elif kind in ("constant", "zeros"):
        x = np.full(n, 0.1 if kind == "constant" else -0.0)
    elif kind == "sparse":
        x *= rng.random(n) < 0.1
    elif kind == "heavy":
        x = rng.standard_t(2, n)
    elif kind == "specials":
        x = np.where(rng.random(n) < 0.1, rng.choice([math.nan, math.inf, -math.inf, 0.0, -0.0], n), x)
    elif kind == "nothing finite":
        x = rng.choice([math.nan, math.inf, -math.inf], n)
    real = torch.from_numpy(x)
    return torch.view_as_complex(real.reshape(-1, 2)).to(of) if of.is_complex else real.to(of)


def numbers(tensor: torch.Tensor) -> np.ndarray:
    """Its values as long doubles; of complex numbers both parts."""
    real = torch.view_as_real(tensor).reshape(-1) if tensor.is_complex() else tensor
    with np.errstate(invalid="ignore"):  # signalling NaN
        return real.to(torch.float64).numpy().astype(np.longdouble)


@dataclass(frozen=True, eq=False)
class Made:
    """A tensor, and what was meant by it."""

    tensor: torch.Tensor
    role: str
    outputs_last: bool = False  # which axis counts the units of a weight
    head: int | None = None  # rows of an attention head
    trainable: bool | None = None

    @property
    def dtype(self) -> str:
        return str(self.tensor.dtype).removeprefix("torch.")

    @property
    def bits(self) -> bytes:
        return self.tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if self.tensor.numel() else b""

    def rows(self) -> np.ndarray | None:
        """(units, inputs) of a weight or an embedding; None of what has no units."""
        t = self.tensor
        if self.role not in ("weight", "embedding") or t.dim() < 2 or t.is_complex() or not t.numel():
            return None
        values = numbers(t)
        return values.reshape(-1, t.shape[-1]).T if self.outputs_last else values.reshape(t.shape[0], -1)


@lru_cache(512)
def figures(made: Made) -> dict[str, object]:
    """The figures that need no neighbour."""
    values = numbers(made.tensor).reshape(-1)
    finite = values[np.isfinite(values)]
    size = np.abs(finite)
    none = math.nan
    out: dict[str, object] = {
        "dtype": made.dtype, "shape": tuple(made.tensor.shape), "role": made.role, "count": len(values), "nan": int(np.isnan(values).sum()),
        "positive_inf": int((values == np.inf).sum()), "negative_inf": int((values == -np.inf).sum()), "zero": int((size == 0).sum()),
        "subnormal": int(((size > 0) & (size < SMALLEST_NORMAL.get(made.dtype, 0.0))).sum()), "requires_grad": made.trainable,
        "mean": none, "std": none, "rms": none, "low": none, "high": none, "kurtosis": none, "quantiles": (none,) * len(QUANTILES),
    }  # fmt: skip
    if len(finite):
        mean = finite.mean()
        std = np.sqrt(((finite - mean) ** 2).mean()) if finite.min() != finite.max() else np.longdouble(0)
        out |= {
            "mean": float(mean),
            "std": float(std),
            "rms": float(np.sqrt((finite**2).mean())),
            "low": float(finite.min()),
            "high": float(finite.max()),
        }
        out["quantiles"] = tuple(np.quantile(finite.astype(np.float64), QUANTILES, method="inverted_cdf").tolist())
        if std > 0:
            out["kurtosis"] = float((((finite - mean) / std) ** 4).mean() - 3)
    return out | _drawn(made, float(out["std"])) | _of_rows(made)  # type: ignore[arg-type]


def fans(made: Made) -> tuple[int, int]:
    """As torch counts them for the module's own weight."""
    weight = made.tensor if not made.outputs_last else made.tensor.T
    return torch.nn.init._calculate_fan_in_and_fan_out(weight.real.to(torch.float64) if weight.is_complex() else weight.to(torch.float64))


def _drawn(made: Made, std: float) -> dict[str, object]:
    """Beside the usual initialisations, of which torch itself knows the spread."""
    out: dict[str, object] = {"fan_in": None, "scale": None, "initial": None, "initial_distance": None}
    rules: dict[str, float] = {"0.02": 0.02}
    if made.role == "embedding":
        rules["unit"] = 1.0
    elif made.role == "weight" and made.tensor.numel():
        fan_in, fan_out = fans(made)
        gains = {
            n: torch.nn.init.calculate_gain(*of)
            for n, of in {"torch": ("leaky_relu", math.sqrt(5)), "kaiming": ("relu", None), "lecun": ("linear", None)}.items()
        }
        rules |= {n: gain / math.sqrt(fan_in) for n, gain in gains.items()} | {"xavier": math.sqrt(2 / (fan_in + fan_out))}
        out["fan_in"] = fan_in
        if made.tensor.numel() * (1 + made.tensor.is_complex()) >= 8:
            out["scale"] = math.nan if math.isnan(std) else -math.inf if std == 0 else math.log10(std / rules["torch"])
    else:
        rules = {}
    if rules and 0 < std < math.inf:
        away = {n: abs(math.log10(std / expected)) for n, expected in rules.items()}
        rule = min(away, key=lambda n: away[n])
        near = [n for n in away if away[n] < away[rule] + 1e-9]
        out |= {
            "initial": rule if len(near) == 1 else ...,
            "initial_distance": math.log10(std / rules[rule]) if len({rules[n] for n in near}) == 1 else ...,
        }
    return out


def alike(one: np.ndarray, other: np.ndarray, peak: np.longdouble) -> bool | None:
    """Whether two vectors are equal to 1e-4 of the largest magnitude; None where rounding decides."""
    apart = float(np.abs(one - other).max() / peak)
    return None if abs(apart - ALIKE) < 1e-3 * ALIKE else apart < ALIKE


def _of_rows(made: Made) -> dict[str, object]:
    rows = made.rows()
    names = ("dead_rows", "identical_rows", "row_cosine", "repeated_rows", "twin_heads")
    heads = len(made.tensor) // made.head if made.head else None
    if rows is None:
        return dict.fromkeys(names) | {"heads": heads}
    n = len(rows)
    live = [i for i in range(n) if rows[i].any()]
    out: dict[str, object] = {
        "dead_rows": 1 - len(live) / n,
        "identical_rows": 0.0,
        "row_cosine": None,
        "repeated_rows": 0,
        "twin_heads": 0 if made.head else None,
    }
    out["heads"] = heads
    if not np.isfinite(rows).all() or not live:
        return out
    peak = np.abs(rows).max()
    pairs = {(i, j): alike(rows[i], rows[j], peak) for i, j in combinations(live, 2)}
    sure = all(same is False or (same and (rows[i] == rows[j]).all()) for (i, j), same in pairs.items())
    equal = {p for p, same in pairs.items() if same}
    out["identical_rows"] = len({i for p in equal for i in p}) / n if sure else ...
    unit = {i: rows[i] / np.abs(rows[i]).max() for i in live}
    unit = {i: u / np.sqrt((u**2).sum()) for i, u in unit.items()}
    if len(live) > 1:
        out["row_cosine"] = float(np.mean([unit[i] @ unit[j] for i, j in pairs]))
    once = len(equal) * 2 == len({i for p in equal for i in p})  # no row has two others like it
    starts = [(i, d) for d in range(1, n) for i in range(n - d)]
    longest = max((k for i, d in starts for k in range(1, min(d, n - d - i) + 1) if all((i + m, i + d + m) in equal for m in range(k))), default=0)
    out["repeated_rows"] = longest if sure and once else ...
    if made.head:
        blocks = [range(h * made.head, (h + 1) * made.head) for h in range(n // made.head)]
        twins = [p for p in combinations(range(len(blocks)), 2) if all(rows in equal for rows in zip(blocks[p[0]], blocks[p[1]], strict=True))]
        out["twin_heads"] = len({h for p in twins for h in p}) if sure else ...
    return out


def all_alike(made: Made) -> bool | None:
    """All rows, or all columns, are the same and not 0; None where rounding decides."""
    rows = made.rows()
    if rows is None or not np.isfinite(rows).all() or not rows.any():
        return False
    peak = np.abs(rows).max()
    told = [alike(m, np.broadcast_to(m[:1], m.shape), peak) for m in (rows, rows.T) if len(m) > 1]
    return True if True in told else None if None in told else False


def movement(a: Made, b: Made, z: Made | None) -> dict[str, object]:
    """From a to b; z is the copy before a."""
    x, y = (numbers(m.tensor).reshape(-1) for m in (a, b))
    step = y - x

    def norm(v: np.ndarray) -> np.longdouble:
        peak = np.abs(v).max(initial=0)
        return peak * np.sqrt(((v / peak) ** 2).sum()) if 0 < peak < np.inf else np.sqrt((v**2).sum())

    moved, before, after = norm(step), norm(x), norm(y)
    cosine = None
    if z is not None:
        earlier = x - numbers(z.tensor).reshape(-1)
        if 0 < moved < np.inf and 0 < norm(earlier) < np.inf:
            cosine = float((step / moved) @ (earlier / norm(earlier)))
    still = None
    if b.rows() is not None and a.dtype == b.dtype:
        bits = [np.frombuffer(m.bits, np.uint8).reshape(*m.tensor.shape, -1) for m in (a, b)]
        same = (bits[0] == bits[1]).all(axis=-1)
        still = float((same.reshape(-1, same.shape[-1]) if b.outputs_last else same.reshape(len(same), -1).T).all(axis=0).mean())
    return {
        "relative_change": 0.0 if moved == 0 and before == 0 else float(moved / before), "identical": a.dtype == b.dtype and a.bits == b.bits,
        "norm_ratio": 1.0 if before == 0 and after == 0 else float(after / before), "cosine": cosine,
        "rms": float(moved / np.sqrt(np.longdouble(len(x)))) if len(x) else math.nan, "still_rows": still,
    }  # fmt: skip
