"""`postmortem.toml`: what the user states about a run.

family = "gan"
frozen = ["backbone.*"]
ignore = ["overfitting"]
[aliases]
mynll = "val/loss"
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from postmortem.errors import UsageError
from postmortem.measure import Stated

NAME = "postmortem.toml"
FAMILIES = frozenset({
    "classifier", "language-model", "regression", "autoencoder", "gan", "reinforcement",
    "preference", "detection", "diffusion", "contrastive", "segmentation", "",
})  # fmt: skip
MOST = 1 << 16  # bytes of a configuration


def stated_beside(paths: Sequence[Path]) -> Stated:
    """What `postmortem.toml` in the run, or in the working directory, states; nothing when there is none.

    Raises `UsageError` when it is malformed.
    """
    for folder in [*(p if p.is_dir() else p.parent for p in paths), Path()]:
        file = folder / NAME
        if file.is_file() and not file.is_symlink() and file.stat().st_size <= MOST:
            try:
                return stated_from(tomllib.loads(file.read_text(encoding="utf-8")))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
                raise UsageError(f"{NAME} cannot be read: {error}") from error
    return Stated()


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
