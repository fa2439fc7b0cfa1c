"""What the recorder costs a training: a small GPT on the CPU, larger ones, or any of them on a GPU.

Run `python tests/benchmarks/bench_recorder.py [--preset small|10m|100mib|124m|124m-short] [--device cuda] [--no-time] [--no-memory]`.

Time. Three copies of one training take each step right after one another, in random order: without a recorder, with one that does not look at
the step, and with one that does. What a step costs more is the difference of neighbours, so that the load of the machine, its clock and its
caches are the same for both; of a step in two hundred is looked at. Processor time on the CPU, clock time on a GPU. The interval is a bootstrap
over the rounds. Beside it stands what the recorder's own calls take, timed one by one, which is steady where a step's time is not. A GPU that
is waited for after every step hides what waiting costs; therefore whole stretches of steps, one of them looked at, are also taken with
and without a recorder, alternately, and waited for only at their ends.

Memory. Each training runs in processes of its own, with a recorder and without, looked at in its first steps as at the default interval. What
is compared is the resident memory of the process: its own pages, which it allocated, and those of files, the code of torch and numpy that a look
is the first to run, which the system shares between processes and takes back at will; further the peak that torch allocated on the GPU, and what
Python's tracer saw, which counts numpy's arrays as well.
"""

import argparse
import copy
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

import postmortem
from postmortem.capture.recorder import EVERY
from postmortem.capture.watching import Watch

NEVER = 1_000_000_000  # steps between two that are looked at
DRAWS = 2000  # of the bootstrap
TRIMMED = 0.25  # share of the rounds left out at each end: another process had the core
PRESETS: dict[str, dict[str, int]] = {
    "small": {"width": 128, "depth": 4, "heads": 4, "vocabulary": 512, "context": 64, "batch": 8},
    "10m": {"width": 384, "depth": 6, "heads": 6, "vocabulary": 65, "context": 256, "batch": 64},  # as nanoGPT learns characters
    "100mib": {"width": 512, "depth": 8, "heads": 8, "vocabulary": 1024, "context": 64, "batch": 2},
    "124m": {"width": 768, "depth": 12, "heads": 12, "vocabulary": 50304, "context": 1024, "batch": 8},
    "124m-short": {"width": 768, "depth": 12, "heads": 12, "vocabulary": 50304, "context": 64, "batch": 1},  # its memory is that of the weights
}
REPEATS = 3  # pairs of processes whose memory is compared
ALONE = 12  # steps of such a process, five of them looked at


class GPT(nn.Module):
    def __init__(self, *, width: int, depth: int, heads: int, vocabulary: int, context: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(context))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
        return self.head(self.blocks(x, mask=self.mask, is_causal=True))


Step = Callable[[int], None]


def training(model: nn.Module, batches: list[torch.Tensor], recorder: postmortem.Recorder | None) -> Step:
    """One step of a training, as a function of its number; bfloat16 where that is fast."""
    device = batches[0].device
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    if recorder is not None:
        recorder.watch(model, optimizer)

    def step(number: int) -> None:
        ids = batches[number % len(batches)]
        inputs, labels = ids[:, :-1], ids[:, 1:]
        if recorder is not None:
            recorder.batch(inputs, labels)
        with torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext():
            loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), labels.flatten())
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


def made(given: argparse.Namespace) -> tuple[GPT, list[torch.Tensor]]:
    """The model and its batches, always the same ones."""
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    shape = dict(PRESETS[given.preset])
    batch = shape.pop("batch")
    model = GPT(**shape).to(given.device)
    return model, [torch.randint(0, shape["vocabulary"], (batch, shape["context"] + 1), device=given.device) for _ in range(8)]


def clock(device: str) -> float:
    """Seconds, when everything asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def step_time(given: argparse.Namespace) -> None:
    """Steps side by side."""
    model, batches = made(given)
    seldom, always = (postmortem.Recorder(tempfile.mkdtemp(), every=every) for every in (NEVER, 1))
    kinds = [training(copy.deepcopy(model), batches, recorder) for recorder in (None, seldom, always)]
    rounds, order, rng = [], [0, 1, 2], random.Random(0)
    for number in range(given.rounds + 10):
        rng.shuffle(order)
        took = [0.0] * 3
        for kind in order:
            start = clock(given.device)
            kinds[kind](number)
            took[kind] = clock(given.device) - start
        if number >= 10 and not seldom.sampled(number):  # the first steps of a run are looked at more often
            rounds.append(took)
    table = np.array(rounds)  # (rounds, 3) seconds
    differences = np.stack([table[:, 1] - table[:, 0], table[:, 2] - table[:, 0]])
    chosen = np.random.default_rng(0).integers(0, len(table), (DRAWS, len(table)))
    plain, looked = trimmed(differences[0][chosen]), trimmed(differences[1][chosen])
    overhead = ((EVERY - 1) * plain + looked) / EVERY / trimmed(table[:, 0][chosen])
    low, middle, high = np.percentile(100 * overhead, [2.5, 50, 97.5])
    print(f"time: {len(table)} rounds, {given.threads} thread(s), every {EVERY} steps")
    print(
        f"  a step {1e3 * trimmed(table[:, 0]):.2f} ms; not looked at {1e3 * np.median(plain):+.3f} ms, looked at {1e3 * np.median(looked):+.3f} ms"
    )
    print(f"  overhead at the default interval {middle:.2f} % of step time (95 % interval {low:.2f} to {high:.2f} %)")
    print(f"  a looked-at step takes {always.path.stat().st_size / 2**10 / (given.rounds + 10):.1f} KiB of the file")


def own_time(given: argparse.Namespace) -> None:
    """The recorder's own calls alone, each timed by itself, on the host: what another process does to the steps is not in it, nor what the
    calls do to caches."""
    spent = [0.0]
    own = time.perf_counter if given.device == "cuda" else time.process_time  # nobody waits for a GPU that the recorder does not wait for

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def around(*args: Any, **kwargs: Any) -> Any:
            start = own()
            out = call(*args, **kwargs)
            spent[0] += own() - start
            return out

        return around

    with ExitStack() as stack:
        for owner, name in ((postmortem.Recorder, "batch"), (postmortem.Recorder, "step"), (Watch, "_before_update"), (Watch, "_after_update")):
            stack.enter_context(patch.object(owner, name, timed(getattr(owner, name))))
        hook = Watch._hook
        stack.enter_context(patch.object(Watch, "_hook", lambda self, name: timed(hook(self, name))))
        model, batches = made(given)
        recorders = [postmortem.Recorder(tempfile.mkdtemp(), every=every) for every in (NEVER, 1)]
        plain = training(copy.deepcopy(model), batches, None)
        seldom, always = (training(copy.deepcopy(model), batches, recorder) for recorder in recorders)
        rows = []
        for number in range(given.own):
            row = []
            for step in (seldom, always):
                spent[0] = 0.0
                step(number)
                row.append(spent[0])
            start = clock(given.device)
            plain(number)
            row.append(clock(given.device) - start)
            if number >= 3 and not recorders[0].sampled(number):
                rows.append(row)
    unlooked, looked, whole = np.median(np.array(rows), axis=0)
    fetched = np.mean([row[0] for row in rows]) - unlooked  # once in several steps, which a median does not see
    share = ((EVERY - 1) * (unlooked + fetched) + looked) / EVERY / whole
    print(
        f"  its own calls: {1e3 * (unlooked + fetched):.3f} ms of a step not looked at, {1e3 * looked:.3f} ms of one looked at: {100 * share:.2f} %"
    )


def stretch_time(given: argparse.Namespace) -> None:
    """Stretches of EVERY steps, waited for at their ends alone."""
    model, batches = made(given)
    recorder = postmortem.Recorder(tempfile.mkdtemp())
    kinds = [training(copy.deepcopy(model), batches, recorder), training(model, batches, None)]
    took: list[list[float]] = [[], []]
    for stretch in range(given.stretches + 1):
        for kind in (0, 1) if stretch % 2 else (1, 0):
            start = clock(given.device)
            for number in range(EVERY):
                kinds[kind](number)
            took[kind].append(clock(given.device) - start)
    ratios = sorted(100 * (on / off - 1) for on, off in list(zip(*took, strict=True))[1:])  # the first of a run is looked at more often
    print(f"  {given.stretches} stretches of {EVERY} steps, waited for at their ends: {1e3 * statistics.median(took[1][1:]) / EVERY:.2f} ms a step, "
          f"with the recorder {statistics.median(ratios):+.2f} % (from {ratios[0]:+.2f} to {ratios[-1]:+.2f} %)")  # fmt: skip


@contextmanager
def traced(*, on: bool) -> Iterator[None]:
    if on:
        tracemalloc.start()
    yield


def alone(given: argparse.Namespace) -> None:
    """A training by itself; prints what it took at its peak, in bytes, as JSON."""
    model, batches = made(given)
    recorder = postmortem.Recorder(tempfile.mkdtemp()) if given.alone == "on" else None
    step = training(model, batches, recorder)
    step(0)
    with traced(on=given.traced):
        for number in range(1, ALONE):
            step(number)
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    # `getrusage` would count what the parent had before `exec`
    peaks = {k: float(told[v].split()[0]) * 1024 for k, v in (("resident", "VmHWM"), ("private", "RssAnon"), ("files", "RssFile"))}
    if given.traced:
        peaks["traced"] = tracemalloc.get_traced_memory()[1]
    if given.device == "cuda":
        peaks["device"] = torch.cuda.max_memory_allocated()
    print(json.dumps(peaks))


def memory(given: argparse.Namespace, weights: int) -> None:
    """With and without, in processes of their own."""
    # Freed memory goes back to the system at once, as the peak would else be the allocator's choice.
    returning = {**os.environ, "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    same = ["--preset", given.preset, "--device", given.device, "--threads", str(given.threads)]

    def peaks(alone: str, *more: str) -> dict[str, Any]:
        done = subprocess.run([sys.executable, __file__, *same, "--alone", alone, *more], check=True, capture_output=True, text=True, env=returning)
        return json.loads(done.stdout)

    with ThreadPoolExecutor(given.at_once) as pool:
        off, on = ([pool.submit(peaks, kind) for _ in range(REPEATS)] for kind in ("off", "on"))
        tracing = [pool.submit(peaks, kind, "--traced") for kind in ("off", "on")]
        pairs = [(a.result(), b.result()) for a, b in zip(off, on, strict=True)]
        extra = tracing[1].result()["traced"] - tracing[0].result()["traced"]
    print(f"memory: {ALONE} steps, {REPEATS} pairs of processes, as a share of the weights' {weights / 2**20:.1f} MiB")
    shown = {"resident": "resident memory of the process at its peak", "private": "of its own at the end", "files": "pages of libraries' code at the end",
             "device": "allocated on the GPU at its peak"}  # fmt: skip
    for key in pairs[0][0]:
        more = sorted(on[key] - off[key] for off, on in pairs)
        print(f"  {shown[key]}: {pairs[0][0][key] / 2**20:.1f} MiB, with the recorder {more[REPEATS // 2] / 2**20:+.2f} MiB "
              f"(from {more[0] / 2**20:+.2f} to {more[-1] / 2**20:+.2f}): {100 * more[REPEATS // 2] / weights:+.2f} %")  # fmt: skip
    print(f"  of Python and numpy {extra / 2**20:+.2f} MiB: {100 * extra / weights:+.2f} %")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--preset", default="small", choices=PRESETS)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=400)
    parser.add_argument("--own", type=int, default=120, help="steps whose calls of the recorder are timed one by one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--stretches", type=int, default=12, help="pairs of stretches on a GPU")
    parser.add_argument("--at-once", type=int, default=1, help="processes whose memory is measured at once")
    parser.add_argument("--no-time", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--alone", choices=("on", "off"), help=argparse.SUPPRESS)
    parser.add_argument("--traced", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        alone(given)
        return
    model, _ = made(given)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    where = torch.cuda.get_device_name() if given.device == "cuda" else given.device
    print(f"{given.preset}: {sum(p.numel() for p in model.parameters()):,} parameters, {where}, torch {torch.__version__}", flush=True)
    del model
    if not given.no_time:
        step_time(given)
        own_time(given)
        if given.device == "cuda":
            stretch_time(given)
    if not given.no_memory:
        memory(given, weights)


if __name__ == "__main__":
    main()
