"""How well optimizer state tells the gradients: real trainings, with the true gradients (hooks, before clipping) as the oracle.

    python tests/benchmarks/bench_gradients.py [steps]

Two networks (a dense one whose gradients shrink towards the input, a small transformer) are trained on data that can be learned,
with every optimizer, with and without clipping, with and without decay. `correlation` is Pearson's of log10 RMS by tensor (each network's about its median), between what a checkpoint's state tells and the
true RMS gradient (root of the mean square over the steps that the optimizer's memory reaches back to); `ratio` is the median of
told / true and `spread` its 10th to 90th percentile. What is told is what the optimizer got: clipping shows as a ratio, and tensors
whose memory L2 decay hides are not told. Adam's windows between checkpoints are rows of their own.
"""

import math
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from postmortem.measure.checkpoints import measure_checkpoints
from postmortem.measure.weights import HIDDEN
from postmortem.model.run import Checkpoint, Run, Status
from tests.measure.raw import RawFile, run_of, torch_optimizer

Make = Callable[[Iterable[nn.Parameter], float], torch.optim.Optimizer]
SAVES = 2
OPTIMIZERS: dict[str, tuple[str, str, Make, float]] = {  # kind, source, constructor (parameters, decay), steps that its memory reaches back
    "Adam": ("adam", "adam", lambda p, d: torch.optim.Adam(p, 1e-3, betas=(0.9, 0.99), weight_decay=d), 100),
    "Adam fused": ("adam", "adam", lambda p, d: torch.optim.Adam(p, 1e-3, betas=(0.9, 0.99), weight_decay=d, fused=True), 100),
    "Adam foreach": ("adam", "adam", lambda p, d: torch.optim.Adam(p, 1e-3, betas=(0.9, 0.99), weight_decay=d, foreach=True), 100),
    "Adam amsgrad": ("adam-amsgrad", "adam", lambda p, d: torch.optim.Adam(p, 1e-3, betas=(0.9, 0.99), weight_decay=d, amsgrad=True), 100),
    "AdamW": ("adamw", "adam", lambda p, d: torch.optim.AdamW(p, 1e-3, betas=(0.9, 0.99), weight_decay=d), 100),
    "AdamW, window": ("adamw", "adam-window", lambda p, d: torch.optim.AdamW(p, 1e-3, betas=(0.9, 0.99), weight_decay=d), 100),
    "NAdam": ("nadam", "adam", lambda p, d: torch.optim.NAdam(p, 1e-3, betas=(0.9, 0.99), weight_decay=d), 100),
    "RMSprop": ("rmsprop", "rmsprop", lambda p, d: torch.optim.RMSprop(p, 3e-4, alpha=0.99, weight_decay=d), 100),
    "Adagrad": ("adagrad", "adagrad", lambda p, d: torch.optim.Adagrad(p, 1e-2, weight_decay=d), math.inf),
    "Adafactor": ("adafactor", "adafactor", lambda p, d: torch.optim.Adafactor(p, 1e-3, weight_decay=d), 50),
    "SGD, momentum 0.9": ("sgd", "momentum", lambda p, d: torch.optim.SGD(p, 0.03, momentum=0.9, weight_decay=d), 10),
    "Adamax": ("adamax", "momentum", lambda p, d: torch.optim.Adamax(p, 1e-3, weight_decay=d), 10),
}


SAME = ("Adam fused", "Adam foreach")  # as Adam in all that is saved


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.down(nn.functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Sequences of 12 tokens to one of 4 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.blocks, self.head = nn.Embedding(20, 24), nn.ModuleList(Block(24) for _ in range(3)), nn.Linear(24, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.embedding(x)
        for block in self.blocks:
            h = block(h)
        return self.head(h.mean(1))  # type: ignore[no-any-return]


def dense() -> nn.Module:
    return nn.Sequential(*(layer for _ in range(7) for layer in (nn.Linear(20, 20), nn.Tanh())), nn.Linear(20, 4))


def batch(generator: torch.Generator, network: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    if isinstance(network, Transformer):
        x = torch.randint(0, 20, (32, 12), generator=generator)
        return x, x[:, :4].sum(1) % 4
    x = torch.randn(32, 20, generator=generator)
    return x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()


def train(root: Path, network: nn.Module, kind: str, make: Make, steps: int, clip: float | None, decay: float) -> tuple[Run, dict[str, list[float]]]:
    """Train and save twice; the mean square of each tensor's gradient at every step, as the backward pass made it."""
    optimizer = make(list(network.parameters()), decay)
    truth: dict[str, list[float]] = {n: [] for n, _ in network.named_parameters()}
    for name, parameter in network.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda p, name=name: truth[name].append(float((p.grad.double() ** 2).mean())))
    generator = torch.Generator().manual_seed(1)
    saved = []
    for step in range(1, steps + 1):
        x, y = batch(generator, network)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        if step % (steps // SAVES) == 0:
            file = RawFile(root, f"m{step}.bin")
            refs = tuple(file.add(n, t.detach().numpy()) for n, t in network.state_dict().items())
            state = torch_optimizer(root, f"o{step}.bin", optimizer, kind)
            saved.append(Checkpoint(f"m{step}.bin", "raw", Status.READ, step=step, tensors=refs, optimizer=state))
    return run_of(root, *saved), truth


def compare(run: Run, truth: dict[str, list[float]], source: str, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """log10 of told and of true RMS, by tensor, in the last checkpoint."""
    last = measure_checkpoints(run)[0][-1]
    told = {g.name: g.rms for g in last.gradients if g.source == source and (g.decay_share or 0.0) <= HIDDEN}
    names = [n for n in truth if told.get(n, 0.0) > 0]
    true = [math.sqrt(np.mean(truth[n][-int(min(reach, len(truth[n]))) :])) for n in names]
    return np.log10([told[n] for n in names]), np.log10(true)


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    torch.set_num_threads(1)
    print("| optimizer | clipped at | decay | told of 55 | correlation | ratio | spread |\n| --- | --- | --- | --- | --- | --- | --- |")
    for label, (kind, source, make, reach) in OPTIMIZERS.items():
        for clip in (None, 0.1):
            for decay in (0.0, 0.01):
                if label in SAME and (clip or decay):
                    continue
                told, true = [], []
                for build in (dense, Transformer):
                    torch.manual_seed(0)
                    with tempfile.TemporaryDirectory() as folder:
                        a, b = compare(*train(Path(folder), build(), kind, make, steps, clip, decay), source, reach)
                    told.append(a)
                    true.append(b)
                off = np.concatenate(told) - np.concatenate(true)
                depth = [np.concatenate([part - np.median(part) if len(part) else part for part in parts]) for parts in (told, true)]
                low, middle, high = 10 ** np.quantile(off, (0.1, 0.5, 0.9)) if len(off) else (math.nan,) * 3
                fit = np.corrcoef(*depth)[0, 1] if len(off) > 2 else math.nan
                print(f"| {label} | {clip or '–'} | {decay:g} | {len(off)} | {fit:.3f} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True)


if __name__ == "__main__":
    main()
