"""What a hostile case is: a builder that writes real files into a run, and what a report must say about them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Build = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """`names`: what the report must name; `tensors`: whole tensors that are still given; `damaged`: a damaged checkpoint may be the verdict;
    `smaller`: limits (module.NAME) that are made this small, to be met by files that are; `slow`: why it is left out of the ordinary run."""

    name: str
    build: Build
    names: tuple[str, ...] = ()
    tensors: int = 0
    damaged: bool = False
    refused: bool = False
    smaller: Mapping[str, int] = field(default_factory=dict)
    slow: str = ""


class Cases(dict[str, Case]):
    """Cases by name."""

    def case(self, name: str, *names: str, **more: Any) -> Callable[[Build], Build]:
        """Make a case of a builder."""

        def add(build: Build) -> Build:
            assert name not in self
            self[name] = Case(name, build, names, **more)
            return build

        return add
