"""What a hostile case is: a builder that writes real files into a run, and what a report must say about them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Build = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """`names`: what the report must name; `tensors`: whole tensors that are still given; `damaged`: a damaged checkpoint may be the verdict."""

    name: str
    build: Build
    names: tuple[str, ...] = ()
    tensors: int = 0
    damaged: bool = False
    refused: bool = False


class Cases(dict[str, Case]):
    """Cases by name."""

    def case(self, name: str, *names: str, tensors: int = 0, damaged: bool = False, refused: bool = False) -> Callable[[Build], Build]:
        """Make a case of a builder."""

        def add(build: Build) -> Build:
            assert name not in self
            self[name] = Case(name, build, names, tensors, damaged, refused)
            return build

        return add
