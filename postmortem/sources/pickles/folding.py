"""What a pickle that breaks off had built: values still on the stack, put into the containers that were waiting for them."""

from collections.abc import Sequence

from postmortem.sources.pickles.rebuild import is_key
from postmortem.sources.pickles.records import OddKey, pairs_of


def fold(frames: Sequence[list[object]]) -> object:
    """The outermost value. `frames` are the stacks between marks, outermost first; innermost values go into their containers first."""
    waiting = list(frames)
    loose: list[object] = []
    while waiting:
        stack = waiting.pop() + loose
        below = waiting[-1][-1] if waiting and waiting[-1] else None
        _collapse(stack, batch=isinstance(below, dict | list))
        loose = []
        if not waiting:
            return stack[0] if stack else None
        if isinstance(below, dict):
            for key, value in pairs_of(stack):
                below[key if is_key(key) else OddKey(key)] = value
        elif isinstance(below, list):
            below.extend(stack)
        elif not waiting[-1]:
            loose = stack  # else: arguments of a call that was never made
    return None


def _collapse(stack: list[object], *, batch: bool) -> None:
    """Put the values at the top into the containers right below them. `batch`: what remains are items of a container below the mark."""
    while len(stack) > 1:
        top, below = stack[-1], stack[-2]
        third = stack[-3] if len(stack) > 2 else None
        if is_key(below) and isinstance(third, dict):
            third[below] = top
            del stack[-2:]
        elif isinstance(below, list):
            below.append(stack.pop())
        elif isinstance(below, dict) and isinstance(top, str | int):
            stack.pop()  # a key without its value
        elif batch:
            break
        else:
            stack.pop()
