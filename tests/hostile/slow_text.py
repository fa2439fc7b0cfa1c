"""Text made to be slow to read: ever new lines, keys, numbers and control sequences. Each kind is a function from a source of chance to a line."""

import random
from collections.abc import Callable

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_WORDS = tuple("".join(random.Random(n).choices(_LETTERS, k=2 + n % 9)) for n in range(5_000))
_TRAINING = ("loss", "training", "step", "value", "error", "epoch", "learning", "rate", "accuracy", "score", "validation")


def _some(chance: random.Random, count: int, *, hints: bool = False) -> str:
    return " ".join(chance.choice(_TRAINING) if hints and chance.random() < 0.3 else chance.choice(_WORDS) for _ in range(count))


def _pairs(chance: random.Random, count: int, between: str = "=", after: str = " ") -> str:
    return after.join(f"{chance.choice(_WORDS)}{between}{chance.random():.3f}" for _ in range(count))


KINDS: dict[str, Callable[[random.Random], str]] = {
    "prose": lambda r: _some(r, 12) + ".",
    "prose about training": lambda r: _some(r, 12, hints=True) + ".",
    "prose with numbers": lambda r: f"{_some(r, 8, hints=True)} {r.random():.4f} {_some(r, 4, hints=True)} {r.randrange(9999)}",
    "hundreds of new keys a line": lambda r: _pairs(r, 200),
    "records of new keys": lambda r: f"step {r.randrange(10**6)} loss {r.random():.4f} {_pairs(r, 20, '_loss=')}",
    "JSON of new keys": lambda r: '{"loss": 0.5, ' + ", ".join(f'"{r.choice(_WORDS)}": {r.random()}' for _ in range(8)) + "}",
    "a thousand numbers a line": lambda r: "loss: " + " ".join(f"{r.random():.3f}" for _ in range(r.randrange(1, 1_200))),
    "nothing": lambda _: "",
    "a letter a line": lambda r: r.choice(_LETTERS),
    "a number a line": lambda r: str(r.randrange(10**6)),
    "progress bars": lambda r: "\r".join(
        f"Epoch {k // 50}: {k}%|{'█' * (k // 10)}{' ' * (10 - k // 10)}| {k * 10}/1000 [00:05<01:00, {r.random() * 30:.2f}it/s, loss={r.random():.3f}]"
        for k in range(100)
    ),
    "colours": lambda r: "".join(f"\x1b[{r.randrange(30, 38)}m{r.choice(_WORDS)}\x1b[0m " for _ in range(8)) + f"loss {r.random()}",
    "control sequences without an end": lambda _: "\x1b]0;" + "\x1b[" * 50 + "loss 0.5 \x1b" + "[" * 20,
    "tracebacks": lambda r: (
        f'Traceback (most recent call last):\n  File "x{r.randrange(10**6)}.py", line 3, in f\n    y = g()\nValueError: {_some(r, 2)}'
    ),
    "processes that raise": lambda r: f"[rank{r.randrange(10**6)}]: Traceback (most recent call last):",
    "crashes": lambda r: f"RuntimeError: CUDA out of memory. Tried to allocate {r.random():.2f} GiB ({_some(r, 1)})",
    "settings": lambda r: f"args: Namespace(lr={r.random():g}, {_pairs(r, 60, after=', ')})",
    "dots, equal signs and blanks": lambda r: r.choice((". ", "= ", "  ", "%|", "- ")) * 1_500 + "loss",
    "times": lambda r: ":".join(str(r.randrange(100)) for _ in range(100)),
    "restarts": lambda r: f"step {r.randrange(100)} loss {r.random():.4f}",
}


def made(kind: str, size: int, seed: int = 0) -> bytes:
    """At least `size` bytes of lines of one kind."""
    chance = random.Random(seed)
    lines: list[str] = []
    while size > 0:
        lines.append(KINDS[kind](chance) + "\n")
        size -= len(lines[-1])
    return "".join(lines).encode()
