"""Files that together make one checkpoint, joined."""

import math
from collections.abc import Sequence

from postmortem.model.run import Checkpoint


def join(fragments: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Merge the fragments of each directory that is one checkpoint; in order of step."""
    return tuple(sorted(fragments, key=lambda c: (math.inf if c.step is None else c.step, c.path)))
