"""Coverage-guided fuzzing of one reader.

    pip install atheris
    python -m tests.fuzz NAME --seconds 60 [--corpus DIR] [--canary]

Starts from the seeds beside this file; what it finds on the way goes to DIR (a temporary directory unless given). An input
that raises, takes more than 10 seconds or more than 1.5 GB is written to the current directory and ends the run with a
non-zero status. With `--canary` the target raises as soon as the parser gets somewhere, which shows that it does.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.targets import TARGETS

SEEDS = Path(__file__).with_name("seeds")


class Canary(Exception):
    """Raised on purpose."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--canary", action="store_true")
    asked = parser.parse_args()
    import atheris

    target = TARGETS[asked.name]
    with atheris.instrument_imports(include=list(target.modules), enable_loader_override=False):
        for module in target.modules:
            __import__(module)
        import postmortem.sources.registry

        postmortem.sources.registry.readers()

    target.check(b"")  # compiling and importing are not timed

    def one(data: bytes) -> None:
        reached = target.check(data)
        if asked.canary and reached:
            raise Canary("the parser got somewhere")

    corpus = asked.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{asked.name}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={asked.seconds}", "-timeout=10", "-rss_limit_mb=1500", "-max_len=20480", "-print_final_stats=1", "-verbosity=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus), str(SEEDS / asked.name)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
