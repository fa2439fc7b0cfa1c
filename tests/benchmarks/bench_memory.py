"""Memory and time of measuring sharded checkpoints of three sizes.

    python tests/benchmarks/bench_memory.py [GB] [directory]

Writes a sharded bfloat16 safetensors checkpoint of that size (6 by default; 1024×4096 and 4096×4096 matrices, one embedding of 400 MB), and
measures an eighth of its shards, half, and all, each in a fresh process: anonymous memory at its peak above what the imports took
(`RssAnon` of /proc/self/status, every 5 ms), and seconds, of the second of two runs where the files fit the page cache. Linux only.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

SHARDS = 8


def write_shard(path: Path, names: dict[str, tuple[int, int]], values: np.ndarray) -> None:
    """A safetensors file; every tensor holds the same numbers again."""
    header, at = {}, 0
    for name, shape in names.items():
        size = shape[0] * shape[1] * 2
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for shape in names.values():
            left = shape[0] * shape[1]
            while left:
                part = values[:left]
                file.write(part.data)
                left -= len(part)


def write(root: Path, size: int) -> list[Path]:
    """Three checkpoint directories: one shard, half of them, all; the shards are shared through hard links."""
    values = (np.random.default_rng(0).standard_normal(1 << 24).astype(np.float32) * 0.02).view(np.uint32)
    bits = (values >> 16).astype(np.uint16)
    whole = root / "whole"
    whole.mkdir()
    index: dict[str, str] = {}
    for shard in range(SHARDS):
        names: dict[str, tuple[int, int]] = {"model.embed_tokens.weight": (50_000, 4096)} if shard == 0 else {}
        left = size // SHARDS - sum(2 * a * b for a, b in names.values())
        layer = 0
        while left > 0:
            for kind, shape in (("mlp.up_proj", (4096, 4096)), ("self_attn.k_proj", (1024, 4096))):
                names[f"model.layers.{shard * 100 + layer}.{kind}.weight"] = shape
                left -= 2 * shape[0] * shape[1]
            layer += 1
        file = f"model-{shard + 1:05}-of-{SHARDS:05}.safetensors"
        write_shard(whole / file, names, bits)
        index |= dict.fromkeys(names, file)
    found = []
    for count in (1, SHARDS // 2, SHARDS):
        part = root / f"first{count}"
        part.mkdir()
        files = {f"model-{s + 1:05}-of-{SHARDS:05}.safetensors" for s in range(count)}
        for file in files:
            (part / file).hardlink_to(whole / file)
        chosen = {n: f for n, f in index.items() if f in files}
        (part / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": chosen}))
        found.append(part)
    return found


def anonymous() -> int:
    """Bytes of anonymous memory of this process."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("RssAnon"))
    return int(line.split()[1]) << 10


def measure(path: str) -> None:
    """In a process of its own: print bytes above the imports, seconds of two runs, and tensors measured."""
    from postmortem.measure import kernels  # noqa: F401  # imports are not what is measured
    from postmortem.measure.checkpoints import measure_checkpoints
    from postmortem.sources import read_run

    before, most, done = anonymous(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    seconds, tensors = [], 0
    for _ in range(2):
        start = time.perf_counter()
        stats, _, _ = measure_checkpoints(read_run([Path(path)]))
        seconds.append(time.perf_counter() - start)
        tensors = sum(len(c.tensors) for c in stats)
    done.set()
    thread.join()
    print(json.dumps({"above": most - before, "seconds": seconds[-1], "tensors": tensors}))


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "measure":
        measure(sys.argv[2])
        return
    size = int(float(sys.argv[1] if len(sys.argv) > 1 else 6) * 1e9)
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        for part in write(Path(folder), size):
            nbytes = sum(f.stat().st_size for f in part.glob("*.safetensors"))
            said = subprocess.run([sys.executable, __file__, "measure", str(part)], check=True, capture_output=True, text=True, env=os.environ)
            found = json.loads(said.stdout)
            print(
                f"{nbytes / 1e9:5.2f} GB, {found['tensors']} tensors: {found['above'] / 1e6:.0f} MB above the imports, {found['seconds']:.2f} s, "
                f"{nbytes / found['seconds'] / 1e9:.2f} GB/s",
                flush=True,
            )


if __name__ == "__main__":
    main()
