"""What the recorder costs: a small GPT on the CPU (or a GPU with `--device cuda`), steps with and without it taken in turns.

Run `python tests/benchmarks/bench_recorder.py`. Prints the medians over blocks of `every` steps each, and their ratio; memory beside it.
"""

import argparse
import statistics
import tempfile
import time
import tracemalloc

import torch
from torch import nn

import postmortem
from postmortem.capture.recorder import EVERY
from postmortem.capture.watching import Watch


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


def timed(owner: type, name: str, spent: list[float]) -> None:
    """Have a method add the processor seconds of each call to `spent`."""
    inner = getattr(owner, name)

    def outer(*args: object, **kwargs: object) -> object:
        start = time.process_time()
        try:
            return inner(*args, **kwargs)
        finally:
            spent.append(time.process_time() - start)

    setattr(owner, name, outer)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blocks", type=int, default=6, help="of each kind")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    model = GPT(given.width, given.depth, 512, 64).to(given.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    batches = [torch.randint(0, 512, (given.batch, 65), device=given.device) for _ in range(8)]
    recorder = postmortem.Recorder(tempfile.mkdtemp())

    def step(number: int, *, record: bool) -> None:
        ids = batches[number % 8]
        if record:
            recorder.batch(ids[:, :-1], ids[:, 1:])
        loss = nn.functional.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if record:
            recorder.step(loss)

    def clock() -> float:
        if given.device == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()  # other people's load does not count

    def block(*, record: bool) -> float:
        if record:
            recorder.watch(model, optimizer)
        start = clock()
        for number in range(EVERY):
            step(number, record=record)
        took = clock() - start
        if record:
            recorder._watch.remove()
            recorder._watch = None
        return took / EVERY

    recorder.at(EVERY)  # past the first steps, of which more are looked at
    for number in range(10):
        step(number, record=False)
    without, with_it = [], []
    for _ in range(given.blocks):
        without.append(block(record=False))
        with_it.append(block(record=True))
    spent: list[float] = []
    for owner, name in ((postmortem.Recorder, "batch"), (postmortem.Recorder, "step"), (Watch, "_before_update"), (Watch, "_after_update")):
        timed(owner, name, spent)
    accounted = block(record=True)
    inside = sum(spent) / EVERY
    tracemalloc.start()
    block(record=True)
    _, peak = tracemalloc.get_traced_memory()
    ratios = [b / a for a, b in zip(without, with_it, strict=True)]
    print(f"inside the recorder {1e3 * inside:.3f} ms of processor time per step: {100 * inside / accounted:.2f} % (activation hooks not among it)")
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {given.device}, {given.threads} thread(s), every {EVERY} steps")
    print(f"step without the recorder {1e3 * statistics.median(without):.2f} ms, with it {1e3 * statistics.median(with_it):.2f} ms")
    print(
        f"overhead {100 * (statistics.median(ratios) - 1):+.2f} % (median of {len(ratios)} pairs; {', '.join(f'{100 * (r - 1):+.2f}' for r in ratios)})"
    )
    print(
        f"Python's peak memory while recording {peak / 2**20:.2f} MiB, the model {weights / 2**20:.1f} MiB, the file {recorder.path.stat().st_size / 2**10:.0f} KiB"
    )


if __name__ == "__main__":
    main()
