"""Every regular expression that meets an input takes time linear in it: twice the input never takes four times as long."""

import ast
import importlib
import pkgutil
import re
import time
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import postmortem.sources
from postmortem import redact

UNITS = (
    "a", "1", " ", "\t", ".", "-", "=", ":", "/", "\\", "'", '"', "(", "[", "{", "@", "|", "e", "\u4e00", "1e", "1.", "1,", "a.", "a=", "a =", "=1 ", "a:", "a: ", "a b", "0 ", "1_", "[[",
    "a@", "a@b.", "://a:", "loss ", "loss: ", "loss=1", "/home/", "/home/a/", "C:\\Users\\", "C:\\\\Users\\\\", "token=", "token = ", "hf_", "eyJ", "eyJa.", "eyJaaaaaaaaaa.", "sk-", "a_api_key",
    "1.1.1.", 'File "', 'File "a", line 1', "1/", "1/2 ", "10%|", "[1/2]", "it/s", "Error", "Error: ", "rank 1", "[rank1]:", "Tried to allocate ", "events.out.tfevents.1700000000.", "a.a-", "\x1b[",
    "\x1b[1;", "{'a': ", "a|b", "epoch ", "Epoch [1", "NaN", "-Infinity", ", NaN", "1:2:", "00:", "-" * 3, "__", "train_", "a1", "A", "Aa", "xs",
)  # fmt: skip


def patterns() -> Iterator[tuple[str, "re.Pattern[str] | re.Pattern[bytes]"]]:
    """Compiled patterns of the reading and redacting modules, also those in tables and tuples, also those written where they are used."""
    modules = [
        redact,
        *(
            importlib.import_module(m.name)
            for m in pkgutil.walk_packages(postmortem.sources.__path__, "postmortem.sources.")
            if "hdf5_child" not in m.name
        ),
    ]
    seen: set[object] = set()

    def within(value: object, depth: int = 0) -> Iterator["re.Pattern[str] | re.Pattern[bytes]"]:
        if isinstance(value, re.Pattern):
            yield value
        elif depth < 4:
            parts: list[object] = []
            if isinstance(value, dict):
                parts = [*value, *value.values()]
            elif isinstance(value, list | tuple | set | frozenset):
                parts = list(value)
            elif hasattr(value, "__slots__") and type(value).__module__.startswith("postmortem"):
                parts = [getattr(value, name, None) for name in value.__slots__]
            for part in parts:
                yield from within(part, depth + 1)

    for module in modules:
        short = module.__name__.removeprefix("postmortem.")
        for name, value in vars(module).items():
            for pattern in within(value):
                if pattern not in seen:
                    seen.add(pattern)
                    yield f"{short}.{name}", pattern
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.args
            ):
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str | bytes):
                    pattern = re.compile(first.value, flags(node))
                    if pattern not in seen:
                        seen.add(pattern)
                        yield f"{short}:{node.lineno}", pattern


def flags(call: ast.Call) -> int:
    """The flags with which a function of `re` is called, such as `re.IGNORECASE | re.VERBOSE`: without them the same text is another pattern."""
    given = [k.value for k in call.keywords if k.arg == "flags"]
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    at = {"sub": 4, "subn": 4, "split": 3}.get(name, 1 if name == "compile" else 2)
    given += call.args[at : at + 1]
    return sum({getattr(re, n.attr) for one in given for n in ast.walk(one) if isinstance(n, ast.Attribute) and hasattr(re, n.attr)})


ANCHORED = ("match", "fullmatch")
TOO_LONG = 0.5  # seconds of 3 kB, however linear: ambiguity within a bounded repetition is paid for at each place; the longest takes 0.02
SUSPICIOUS = 0.0006  # seconds of 1.2 kB: what is quadratic takes a sixth of what it takes with 3 kB, of which more than 4 ms are looked into


@cache
def all_patterns() -> list[tuple[str, "re.Pattern[str] | re.Pattern[bytes]"]]:
    return list(patterns())


@cache
def all_ways() -> dict[str, set[str]]:
    """By the name of a constant, with which functions of a pattern it is applied."""
    ways: dict[str, set[str]] = defaultdict(set)
    for file in Path(str(redact.__file__)).parent.rglob("*.py"):
        for constant, how in re.findall(r"(\w+)\.(match|fullmatch|search|finditer|findall|sub|subn|split)\b", file.read_text(encoding="utf-8")):
            ways[constant].add(how)
    return ways


def tried(name: str) -> str:
    """How a pattern is applied: only at the start of a text when that is all that the package does with it."""
    ways = all_ways()[name.rpartition(".")[2]] if ":" not in name else set()
    return "match" if ways and ways <= set(ANCHORED) else "finditer"


def cost(pattern: "re.Pattern[str] | re.Pattern[bytes]", text: str, way: str = "finditer", enough: float = 0.004) -> float:
    """Seconds of one search through the whole text (or of one match at its start), the best of three or the first that is quick enough."""
    subject = text.encode() if isinstance(pattern.pattern, bytes) else text
    best = 1e9
    for _ in range(3):
        start = time.process_time()
        if way == "match":
            pattern.match(subject)  # type: ignore[arg-type]
            pattern.fullmatch(subject)  # type: ignore[arg-type]
        else:
            for _found in pattern.finditer(subject):  # type: ignore[arg-type]
                pass
        best = min(best, time.process_time() - start)
        if best < enough:
            break
    return best


def attacks(pattern: "re.Pattern[str] | re.Pattern[bytes]") -> list[str]:
    """Repeated units, and units made of the pattern's own literals."""
    source = pattern.pattern.decode("latin-1") if isinstance(pattern.pattern, bytes) else pattern.pattern
    own = [re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"[A-Za-z_][A-Za-z_ ]{1,20}", source)][:12]
    return [*UNITS, *own, *(f"{word} " for word in own[:6]), *(f"{word}1" for word in own[:6])]


def test_there_are_patterns() -> None:
    assert len(all_patterns()) > 100


@pytest.mark.parametrize("part", range(8))
def test_time_is_linear(part: int) -> None:
    slow = []
    for name, pattern in all_patterns()[part::8]:
        way = tried(name)
        for unit in attacks(pattern):
            for end in ("", "\x00!"):
                if cost(pattern, unit * (1200 // len(unit) + 1) + end, way, SUSPICIOUS) < SUSPICIOUS:
                    continue
                n = 3000 // len(unit) + 1
                once = cost(pattern, unit * n + end, way)
                if once > TOO_LONG:
                    slow.append((name, unit, round(once, 4), 0.0, str(pattern.pattern)[:120]))
                    break
                if once < 0.004:  # 3 kB in 4 ms: quadratic costs tens of ms
                    continue
                twice = cost(pattern, unit * 2 * n + end, way, 3 * once)
                if twice <= 3 * once:
                    continue
                four = cost(pattern, unit * 4 * n + end, way, 3 * twice)
                if four > 3 * twice:
                    slow.append((name, unit, round(once, 4), round(four, 4), str(pattern.pattern)[:120]))
                    break
    assert slow == []


def test_patterns_that_take_long_would_be_seen() -> None:
    bad = re.compile(r"a+$")
    once, four = cost(bad, "a" * 1500 + "!"), cost(bad, "a" * 6000 + "!")
    assert four > 6 * once  # 16 on a quiet machine; 4 is linear
    assert cost(bad, "a" * 1200 + "!", enough=SUSPICIOUS) > 2 * SUSPICIOUS
    ambiguous = re.compile(r"^\s*(?:\W|ERROR:?|\s){0,12}x")  # linear: in 4096 ways from each place
    assert cost(ambiguous, " " * 3000, enough=10.0) > TOO_LONG


def test_flags_are_part_of_a_pattern() -> None:
    def of(text: str) -> int:
        call = ast.parse(text).body[0].value  # type: ignore[attr-defined]
        return flags(call)

    assert of("re.compile('a', re.I | re.VERBOSE)") == re.IGNORECASE | re.VERBOSE
    assert of("re.sub('a', '', text, flags=re.M)") == re.MULTILINE
    assert of("re.search('a', text, re.DOTALL)") == re.DOTALL
    assert of("re.search('a', text)") == 0
