"""What launchers put before each line of a job: whose it is. `[rank0]:` and `[default0]:` of torchrun, `0: ` of `srun --label`,
`(RayTrainWorker pid=123, ip=10.0.0.1)` of Ray.
"""

import re
from itertools import pairwise

from postmortem.sources.logs.text.tokens import MOMENT, NUMBER, WHOSE

_IN_SHAPE = re.compile(rf"^(?:\[(?:rank|default) ?{NUMBER}\]:?|\([A-Za-z][\w ,]{{0,40}}pid={NUMBER}(?:, ip={MOMENT})?\))[ \t]?")
_LABEL = re.compile(rb"^[ ]{0,6}([0-9]{1,6}):(?: |$)", re.MULTILINE)
_COUNTED = re.compile(rb"\b(?:epoch|step|iter|iteration|batch|update)s?\b", re.IGNORECASE)
_LOOKED_AT = 65_536  # bytes
_FEWEST = 3  # lines
_SHARE = 0.8  # of the lines: a job script's own lines have no label


def rank_of(shape: str) -> re.Match[str] | None:
    """The prefix of a shape that names a rank."""
    return _IN_SHAPE.match(shape)


def unranked(raw: bytes) -> bytes:
    """A line without that prefix."""
    whose = WHOSE.match(raw)
    return raw[whose.end() :] if whose else raw


def labelled(text: bytes) -> bool:
    """Whether the lines of a job begin with the number of the task that printed them, as `srun --label` has it.

    Such a number stands still, or goes back and forth while the lines count for themselves; a step or an epoch goes on.
    """
    lines = [line for line in text[:_LOOKED_AT].split(b"\n") if line.strip()]
    found = [(int(label[1]), line[label.end() :]) for line in lines if (label := _LABEL.match(line))]
    if len(found) < max(_FEWEST, _SHARE * len(lines)):
        return False
    if all(number == found[0][0] for number, _ in found):
        return True
    falls = any(b < a for (a, _), (b, _) in pairwise(found))
    return falls and any(_COUNTED.search(rest) or not any(48 <= c <= 57 for c in rest) for _, rest in found)


def with_ranks(text: bytes) -> bytes:
    """Lines that begin with the number of a task, as torchrun would have begun them."""
    return _LABEL.sub(rb"[rank\1]: ", text)
