"""Whether groups of a batch are the labelled faults: the adjusted Rand index.

    python tests/benchmarks/bench_groups.py LABELS.jsonl RUNS

A label is a line {"id": name of the run's directory, "primary": mode, "cause": cause or null}. 1 is agreement, 0 is chance.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Hashable, Sequence
from math import comb
from pathlib import Path

from postmortem.batch.groups import signature
from postmortem.batch.run import Plan, run_batch
from postmortem.batch.task import Options


def adjusted_rand(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Hubert and Arabie (1985): pairs that both partitions keep together, beyond what chance would. 1.0 where both are trivial."""
    together, a, b = (sum(comb(n, 2) for n in Counter(p).values()) for p in (list(zip(first, second, strict=True)), list(first), list(second)))
    expected = a * b / comb(len(first), 2) if len(first) > 1 else 0.0
    most = (a + b) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def main() -> None:
    labels = {str(d["id"]): d for d in map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())}
    with tempfile.TemporaryDirectory() as output:
        done = run_batch([f"{sys.argv[2]}/*"], Plan(Path(output), Options(reports=False)))
    rows = [r for r in done.rows if r.name in labels]
    truth = [(labels[r.name]["primary"], labels[r.name]["cause"]) for r in rows]
    whole = [("healthy",) if r.good else signature(r) for r in rows]
    without = [s[:-1] for s in whole]
    print(
        f"{len(rows)} runs, {len(set(whole))} groups; adjusted Rand index {adjusted_rand(truth, whole):.3f}, layers left out {adjusted_rand(truth, without):.3f}"
    )


if __name__ == "__main__":
    main()
