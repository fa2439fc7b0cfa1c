"""Data that is generated, or text that comes with Python. Every task has its own difficulty and a known chance level."""

import functools
import math
import pydoc_data.topics
from dataclasses import replace

import numpy as np
import torch

from tests.faults.plan import Plan, Task

SIDE = 12  # pixels of an image
VAL = 240


def _gratings(rng: np.random.Generator, count: int, classes: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    label = rng.integers(0, classes, count)
    angle = label * np.pi / classes + rng.normal(0, 0.06, count)
    phase, frequency = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.8, 1.3, count)
    v, u = np.mgrid[:SIDE, :SIDE]
    wave = np.cos(frequency[:, None, None] * (np.cos(angle)[:, None, None] * u + np.sin(angle)[:, None, None] * v) + phase[:, None, None])
    return (wave + rng.normal(0, noise, wave.shape))[:, None], label


def _shapes(rng: np.random.Generator, count: int, classes: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    label = rng.integers(0, classes, count)
    images = np.zeros((count, 1, SIDE, SIDE))
    v, u = np.mgrid[:SIDE, :SIDE]
    for i, kind in enumerate(label):
        cy, cx, r = (*rng.uniform(4, 7, 2), rng.uniform(2.5, 4))
        dy, dx = np.abs(v - cy), np.abs(u - cx)
        distance = np.hypot(dy, dx)
        image = (
            distance < r,
            (dy < r * 0.9) & (dx < r * 0.9),
            ((dy < 1) | (dx < 1)) & (distance < r * 1.3),
            np.abs(distance - r) < 0.9,
            (np.abs(dy - dx) < 1.1) & (distance < r * 1.3),
        )[kind]
        images[i, 0] = image
    return (images - 0.2) * 2 + rng.normal(0, noise, images.shape), label


@functools.cache
def _prose() -> tuple[np.ndarray, int]:
    """Python's own reference manual as character codes."""
    text = "\n".join(pydoc_data.topics.topics[k] for k in sorted(pydoc_data.topics.topics))[:200_000].lower()
    kept = "abcdefghijklmnopqrstuvwxyz .,\n()'\"-*_="
    code = {c: i + 1 for i, c in enumerate(kept)}
    return np.array([code.get(c, 0) for c in text]), len(kept) + 1


def _grammar(rng: np.random.Generator, length: int) -> tuple[np.ndarray, int]:
    """Sentences of a small grammar with agreement: determiner, adjectives, noun, verb of the noun's class, object, stop. 40 words."""
    words: list[int] = []
    while len(words) < length:
        kind = int(rng.integers(0, 4))
        words += [1 + kind % 2]
        words += [3 + int(a) for a in rng.integers(0, 8, rng.integers(0, 3))]
        words += [11 + kind * 4 + int(rng.integers(0, 4)), 27 + kind * 2 + int(rng.integers(0, 2))]
        if rng.random() < 0.6:
            words += [1 + (kind + 1) % 2, 11 + ((kind + 1) % 4) * 4 + int(rng.integers(0, 4))]
        words += [0]
    return np.array(words[:length]), 40


def _windows(stream: np.ndarray, rng: np.random.Generator, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    at = rng.integers(0, len(stream) - length - 1, count)
    block = np.stack([stream[a : a + length + 1] for a in at])
    return block[:, :-1], block[:, 1:]


def _tokens(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Four classes of sequences of 16 out of 40 words: each class prefers ten of them."""
    label = rng.integers(0, 4, count)
    preferred = rng.random((count, 16)) < 0.6 - noise
    words = np.where(preferred, 1 + label[:, None] * 9 + rng.integers(0, 9, (count, 16)), rng.integers(0, 40, (count, 16)))
    return words, label


def _series(rng: np.random.Generator, count: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """24 points of two sine waves; the target is the value three steps on."""
    t = np.arange(27)[None]
    a, b = rng.uniform(0.3, 0.6, (count, 1)), rng.uniform(0.9, 1.4, (count, 1))
    wave = np.sin(a * t + rng.uniform(0, 6.3, (count, 1))) + 0.5 * np.sin(b * t + rng.uniform(0, 6.3, (count, 1)))
    wave = (wave + rng.normal(0, noise, wave.shape)) / 0.8
    return wave[:, :24, None], wave[:, -1:]


def _views(rng: np.random.Generator, count: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    fixed = np.random.default_rng(seed)
    code = rng.normal(0, 1, (count, 6))
    left, right = fixed.normal(0, 1, (6, 20)) / 2.4, fixed.normal(0, 1, (6, 28)) / 2.4
    return np.tanh(code @ left) + rng.normal(0, noise, (count, 20)), np.tanh(code @ right) + rng.normal(0, noise, (count, 28))


def make(plan: Plan) -> Task:
    """The plan's data, with the mistakes that lie in data."""
    rng = np.random.default_rng(plan.seed + 17)
    n = max(plan.train_samples, 1600)  # enough to draw from, whatever the size: the validation data stay the same
    task = _clean(plan, rng, n)
    task = replace(task, x=task.x[: plan.train_samples], y=task.y[: plan.train_samples])
    return spoiled(plan, task)


def _clean(plan: Plan, rng: np.random.Generator, n: int) -> Task:
    noise, total = plan.noise, n + VAL
    if plan.task in ("gratings", "shapes"):
        classes = 6 if plan.task == "gratings" else 5
        draw = _gratings if plan.task == "gratings" else _shapes
        x, y = draw(rng, total, classes, 0.7 if noise is None else noise)
        if plan.net in ("vae", "autoencoder"):
            x = x.reshape(total, -1)
            return _split("vae", x, x, n, SIDE * SIDE, float(x.var()))
        return _split("class", x, y, n, classes, math.log(classes))
    if plan.task in ("prose", "grammar"):
        stream, vocabulary = _prose() if plan.task == "prose" else _grammar(rng, 60_000)
        cut = len(stream) * 9 // 10
        x, y = _windows(stream[:cut], rng, n, 32)
        xv, yv = _windows(stream[cut:], rng, 120, 32)
        return _split("lm", np.concatenate([x, xv]), np.concatenate([y, yv]), n, vocabulary, math.log(vocabulary), vocabulary)
    if plan.task == "tokens":
        x, y = _tokens(rng, total, 0.15 if noise is None else noise)
        return _split("class", x, y, n, 4, math.log(4), 40)
    if plan.task == "parity":
        x = rng.integers(0, 2, (total, 10)) * 2.0 - 1
        return _split("class", x, (x[:, :3].prod(1) > 0).astype(int), n, 2, math.log(2))
    if plan.task == "teacher":
        x = rng.normal(0, 1, (total, 12))
        score = np.tanh(x @ rng.normal(0, 0.6, (12, 10))) @ rng.normal(0, 1, (10, 3)) + rng.normal(0, 0.2 if noise is None else noise, (total, 3))
        return _split("class", x, (score - score.mean(0)).argmax(1), n, 3, math.log(3))
    if plan.task == "friedman":
        u = rng.random((total, 8))
        y = 10 * np.sin(np.pi * u[:, 0] * u[:, 1]) + 20 * (u[:, 2] - 0.5) ** 2 + 10 * u[:, 3] + 5 * u[:, 4] + rng.normal(0, noise or 0.7, total)
        return _split("regress", (u - 0.5) * 3.46, ((y - y.mean()) / y.std())[:, None], n, 1, 1.0)
    if plan.task == "series":
        x, y = _series(rng, total, 0.1 if noise is None else noise)
        return _split("regress", x, y, n, 1, float(y.var()))
    if plan.task == "views":
        x, y = _views(rng, total, 0.2 if noise is None else noise, plan.seed)
        return _split("pairs", x, y, n, 16, math.log(plan.batch_size))
    raise ValueError(plan.task)


def _split(kind: str, x: np.ndarray, y: np.ndarray, n: int, outputs: int, chance: float, vocabulary: int = 0) -> Task:
    xt = torch.tensor(x, dtype=torch.long if np.issubdtype(x.dtype, np.integer) else torch.float32)
    yt = torch.tensor(y, dtype=torch.long if np.issubdtype(y.dtype, np.integer) else torch.float32)
    return Task(kind, xt[:n], yt[:n], xt[n:], yt[n:], outputs, chance, vocabulary)


def spoiled(plan: Plan, task: Task) -> Task:
    """The same data with what `plan.wrong` does to them."""
    x, y, xv, yv = task.x.clone(), task.y.clone(), task.x_val.clone(), task.y_val.clone()
    dice = torch.Generator().manual_seed(plan.seed + 5)
    if (share := plan.has("shuffled_labels")) is not None:
        hit = torch.randperm(len(y), generator=dice)[: int(share * len(y))]
        y[hit] = y[hit[torch.randperm(len(hit), generator=dice)]]
    if (shift := plan.has("val_label_shift")) is not None:
        yv = (yv + shift) % task.outputs
    if (how := plan.has("val_inputs")) is not None:
        xv = {
            "scale": xv * 6,
            "offset": xv + 2.5,
            "negated": -xv,
            "raw": xv * 40 + 100,
            "transposed": xv.transpose(-1, -2) if xv.ndim == 4 else xv.flip(-1),
        }[how]
    if (keep := plan.has("imbalance")) is not None:
        kept = torch.cat([torch.nonzero(y == c).flatten()[: (None if c == 0 else keep)] for c in range(task.outputs)])
        kept = kept[torch.randperm(len(kept), generator=dice)]
        x, y = x[kept], y[kept]
    if (raw := plan.has("raw_inputs")) is not None:
        scale = torch.exp(torch.linspace(0, math.log(raw), x.shape[-1])) if x.ndim == 2 else torch.tensor(float(raw))
        x, xv = x * scale + scale, xv * scale + scale
    if plan.has("zero_inputs"):
        x, xv = torch.zeros_like(x), torch.zeros_like(xv)
    if plan.has("sorted"):
        order = torch.argsort(y.flatten() if y.ndim == 1 or y.shape[-1] == 1 else y[:, 0], stable=True)
        x, y = x[order], y[order]
    if plan.has("same_batch"):
        x, y = (t[: plan.batch_size].repeat(len(t) // plan.batch_size, *([1] * (t.ndim - 1))) for t in (x, y))
    if (rows := plan.has("nan_rows")) is not None:
        hit = torch.randperm(len(x), generator=dice)[:rows]
        if x.is_floating_point():
            x.flatten(1)[hit, 0] = float("nan")
        else:
            raise ValueError("words cannot be NaN")
    if plan.has("constant_sample") is not None:
        x[int(torch.randint(len(x), (1,), generator=dice))] = 0.0
    return replace(task, x=x, y=y, x_val=xv, y_val=yv)
