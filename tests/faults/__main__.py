"""Train small networks with planted faults and ask the analyzer what failed.

Plain PyTorch trains, and Lightning, the Hugging Face Trainer and Keras where they are installed; W&B and MLflow log where they are.

python -m tests.faults --runs 60 --seed 3 --out /tmp/faults    # writes runs/<id>, labels.jsonl, plans.jsonl
python -m tests.faults --score /tmp/faults
python -m tests.faults --repair /tmp/faults                    # applies the analyzer's fixes and trains again
"""

import argparse
import json
import time
from pathlib import Path

from tests.faults import repair
from tests.faults.frameworks import absent
from tests.faults.make import generate
from tests.faults.repaired import report as report_of_repairs
from tests.faults.score import report
from tests.faults.style import missing_loggers

parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--runs", type=int, default=40)
parser.add_argument("--seed", type=int, default=int(time.time()), help="new plans, severities, sizes and formats for each (default: the time)")
parser.add_argument("--out", type=Path, help="where to write the runs")
parser.add_argument("--only", nargs="*", default=(), help="faults by name")
parser.add_argument("--repairable", action="store_true", help="only faults that a parameter can repair")
parser.add_argument("--score", type=Path, metavar="DIR", help="analyze the runs of DIR and compare with its labels")
parser.add_argument(
    "--repair",
    type=Path,
    nargs="+",
    metavar="DIR",
    help="apply the fixes to the runs of DIR that a parameter can repair, train again, compare with the sound twins",
)
parser.add_argument("--write", type=Path, help="write what the repairs came to here")
options = parser.parse_args()
if options.out is None and options.score is None and options.repair is None:
    parser.error("give --out, --score or --repair")
if options.out is not None:
    if missing := [*absent(), *missing_loggers()]:
        print(f"Not installed, so plain PyTorch and plain files stand in: {', '.join(missing)}")
    rows = generate(options.runs, options.seed, options.out, repair.repairable() if options.repairable else tuple(options.only))
    drawn = {"runs": options.runs, "seed": options.seed, "repairable": options.repairable, "only": list(options.only), "absent": missing}
    (options.out / "drawn.json").write_text(json.dumps(drawn))
    print(f"{len(rows)} runs in {options.out} (seed {options.seed})")
if options.score is not None:
    print(report(options.score))
if options.repair is not None:
    repairs = [r for directory in options.repair for r in repair.repairs(directory, tuple(options.only))]
    text = report_of_repairs(repairs, options.repair)
    if options.write is not None:
        options.write.write_text(text)
    print(text)
