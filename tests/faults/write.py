"""A trace as the directory of a run."""

import random
import shutil
from pathlib import Path

from tests.faults.configured import write_configuration
from tests.faults.logs import FILE_WRITERS, header, text_log
from tests.faults.plan import Trace
from tests.faults.saved import write_checkpoints
from tests.faults.style import FILES, TEXT, Style


def write(trace: Trace, style: Style, directory: Path, dice: random.Random) -> None:
    if trace.left is not None:
        shutil.move(trace.left, directory)
        with (directory / "train.log").open("a") as log:
            log.write(trace.stderr)
        trace.left = None
        write_configuration(trace, style, directory, dice)
        return
    directory.mkdir(parents=True)
    write_configuration(trace, style, directory, dice)
    text = text_log(trace, style, dice) if style.log in TEXT else header(trace, style)
    if style.log in FILES:
        FILE_WRITERS[style.log](trace, style, directory)
        if trace.ended == "done" and trace.plan.has("cut") is None and dice.random() < 0.4:
            text += "Training finished.\n"
    if trace.ended == "guarded":
        text += f"Loss is {trace.curve('loss', of_epoch=False)[-1]}, stopping training\n"
    name = dice.choice(["train.log", "output.log", "stdout.txt", "run.out"])
    if trace.stderr and dice.random() < 0.4:  # both streams in one file
        text += trace.stderr
    elif trace.stderr or dice.random() < 0.3:
        (directory / "stderr.log").write_text(trace.stderr)
    if text or style.log in TEXT:
        (directory / name).write_text(text)
    write_checkpoints(trace, style, directory)


def discard(trace: Trace) -> None:
    """Remove what a framework wrote."""
    if trace.left is not None:
        shutil.rmtree(trace.left)
        trace.left = None
