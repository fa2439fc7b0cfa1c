"""`postmortem.toml`: what the user states about a run.

family = "gan"
frozen = ["backbone.*"]
ignore = ["overfitting"]
[aliases]
mynll = "val/loss"
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from postmortem.errors import UsageError
from postmortem.measure import Stated
from postmortem.model.run import Run, Source, Status
from postmortem.model.sentence import say

NAME = "postmortem.toml"
READER = "stated"
FAMILIES = frozenset({
    "classifier", "language-model", "regression", "autoencoder", "gan", "reinforcement",
    "preference", "detection", "diffusion", "contrastive", "self-distillation", "segmentation", "",
})  # fmt: skip
MOST = 1 << 16  # bytes of a configuration


def stated_beside(paths: Sequence[Path]) -> tuple[Stated, Source | None]:
    """What `postmortem.toml` in the run, or in the working directory, states, and what became of the one in the run; nothing when there is none.

    A malformed one in the run came with the run, perhaps from a stranger: it is not used, and the run is analysed without it. A malformed one in
    the working directory is the user's own: `UsageError`.
    """
    for folder in dict.fromkeys(p if p.is_dir() else p.parent for p in paths):
        file = folder / NAME
        if _is_there(file):
            own = Source(NAME, READER, Status.READ, size=file.stat().st_size)
            try:
                return _read(file), own
            except UsageError as error:
                return Stated(), replace(own, status=Status.FAILED, detail=say("it was not used: {why}", why=str(error)[:300]))
    return (_read(Path(NAME)) if _is_there(Path(NAME)) else Stated()), None


def listed(run: Run, own: Source | None) -> Run:
    """The run with what became of its `postmortem.toml` among its sources, in place of what a reader of configurations says of it."""
    if own is None:
        return run
    others = [s for s in run.sources if s.path.rpartition("/")[2] != NAME]
    return replace(run, sources=tuple(sorted([*others, own], key=lambda s: s.path)))


def _is_there(file: Path) -> bool:
    return file.is_file() and not file.is_symlink() and file.stat().st_size <= MOST


def _read(file: Path) -> Stated:
    try:
        return stated_from(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError, ValueError) as error:
        raise UsageError(f"{NAME} cannot be read: {error}") from error


def laid_over(flags: Stated, file: Stated) -> Stated:
    """Flags beside what `postmortem.toml` states: they win where both speak of one thing, and add elsewhere."""
    return Stated(
        flags.family or file.family,
        tuple(dict.fromkeys((*file.frozen, *flags.frozen))),
        file.ignore | flags.ignore,
        MappingProxyType({**file.aliases, **flags.aliases}),
    )


def stated_from(data: Mapping[str, object]) -> Stated:
    """Check and take over. Raises `UsageError` with the offending key."""
    from postmortem.checklist import checklist

    family = data.get("family", "")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UsageError(f"family must be one of {', '.join(sorted(f for f in FAMILIES if f))}; not {family!r}")
    ignore = _texts(data, "ignore")
    unknown = set(ignore) - {check.id for check in checklist()}
    if unknown:
        raise UsageError(f"ignore names no failure mode of the checklist: {', '.join(sorted(unknown))}")
    aliases = data.get("aliases", {})
    if not isinstance(aliases, Mapping) or not all(isinstance(v, str) for v in aliases.values()):
        raise UsageError('aliases must be a table of texts, such as mynll = "val/loss"')
    return Stated(family, _texts(data, "frozen"), frozenset(ignore), MappingProxyType({str(k): str(v) for k, v in aliases.items()}))


def _texts(data: Mapping[str, object], key: str) -> tuple[str, ...]:
    value = data.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise UsageError(f"{key} must be a list of texts")
    return tuple(value)
