"""What the recorder costs: a small GPT on the CPU (or a GPU with `--device cuda`).

Run `python tests/benchmarks/bench_recorder.py`. Three copies of one training take each step right after one another, in random order: without a
recorder, with one that does not look at the step, and with one that does. What a step costs more is the difference of neighbours, so that
the load of the machine, its clock and its caches are the same for both; of a step in a hundred is looked at. Processor time on the CPU, clock time
on a GPU. The interval is a bootstrap over the rounds. Memory is counted by Python's tracer, which sees numpy's arrays as well.
"""

import argparse
import copy
import random
import tempfile
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import postmortem
from postmortem.capture.recorder import EVERY

NEVER = 1_000_000_000  # steps between two that are looked at
DRAWS = 2000  # of the bootstrap
TRIMMED = 0.25  # share of the rounds left out at each end: another process had the core


class GPT(nn.Module):
    def __init__(self, width: int, depth: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


def training(model: nn.Module, batches: list[torch.Tensor], recorder: postmortem.Recorder | None) -> Callable[[int], None]:
    """One step of a training, as a function of its number."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if recorder is not None:
        recorder.watch(model, optimizer)

    def step(number: int) -> None:
        ids = batches[number % len(batches)]
        if recorder is not None:
            recorder.batch(ids[:, :-1], ids[:, 1:])
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder is not None:
            recorder.step(loss)

    return step


def trimmed(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean without the largest and the smallest quarter."""
    ordered = np.sort(values, axis=axis)
    cut = int(TRIMMED * values.shape[axis])
    return ordered[..., cut : values.shape[axis] - cut].mean(axis)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = GPT(given.width, given.depth, 512, 64).to(given.device)
    batches = [torch.randint(0, 512, (given.batch, 65), device=given.device) for _ in range(8)]
    seldom, always = (postmortem.Recorder(tempfile.mkdtemp(), every=every) for every in (NEVER, 1))
    kinds = [training(copy.deepcopy(model), batches, recorder) for recorder in (None, seldom, always)]

    def clock() -> float:
        if given.device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    rounds, order, rng = [], [0, 1, 2], random.Random(0)
    for number in range(given.rounds + 10):
        rng.shuffle(order)
        took = [0.0] * 3
        for kind in order:
            start = clock()
            kinds[kind](number)
            took[kind] = clock() - start
        if number >= 10 and not seldom.sampled(number):  # the first steps of a run are looked at more often
            rounds.append(took)
    table = np.array(rounds)  # (rounds, 3) seconds
    differences = np.stack([table[:, 1] - table[:, 0], table[:, 2] - table[:, 0]])
    usual = trimmed(table[:, 0])
    chosen = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
    plain, looked = trimmed(differences[0][chosen]), trimmed(differences[1][chosen])
    overhead = ((EVERY - 1) * plain + looked) / EVERY / trimmed(table[:, 0][chosen])
    low, middle, high = np.percentile(100 * overhead, [2.5, 50, 97.5])
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {given.device}, {given.threads} thread(s), {len(table)} rounds, every {EVERY} steps")
    print(f"a step {1e3 * usual:.2f} ms; not looked at {1e3 * np.median(plain):+.3f} ms, looked at {1e3 * np.median(looked):+.3f} ms")
    print(f"overhead at the default interval {middle:.2f} % of step time (95 % interval {low:.2f} to {high:.2f} %)")
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    print(f"memory beside the training: {100 * memory(kinds) / weights:.2f} % of the model's {weights / 2**20:.1f} MiB")
    print(f"a looked-at step takes {always.path.stat().st_size / 2**10 / (given.rounds + 10):.1f} KiB of the file")


def memory(kinds: list[Callable[[int], None]]) -> float:
    """Bytes at the peak of a step that is looked at, less those of a step without a recorder: Python's and numpy's."""
    peaks = []
    for kind in (kinds[0], kinds[2]):
        kind(0)
        tracemalloc.start()
        kind(1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return float(peaks[1] - peaks[0])


if __name__ == "__main__":
    main()
