"""Files that together make one checkpoint, joined: weights, optimizer and scheduler saved side by side, shards, ranks.

Two files belong together when they lie in one directory (or one below it that belongs to it), state the same step, and one
has weights and the other none. A directory of `step_N.pt`, each of which is whole, stays apart; so do averaged copies.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType

from postmortem.model.run import Checkpoint, Status, TensorRef
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.checkpoints.fragments import PART_OF_PARENT, whole_folder
from postmortem.sources.checkpoints.model_parallel import rank_of, stated_ranks, whole_model
from postmortem.sources.checkpoints.shares import is_share, whole_optimizer, whole_tensors
from postmortem.sources.checkpoints.steps import counted_by_siblings, step_and_epoch

# One of several files with the weights: a shard, a rank, a pipeline stage.
_PIECE = re.compile(r"(?:^|[-_])(?:mp_rank|tp_rank|pp_rank|zero_pp_rank|rank|layer|shard|part)[-_]?\d+|(?<!\d)\d{1,18}[-_]of[-_]\d+")
_OF = re.compile(r"(\d{1,6})[-_]of[-_](\d{1,6})")
_ZERO_RANK = re.compile(r"zero_pp_rank_(\d+)_mp_rank_\d+_?optim")
_COPY = re.compile(r"(?:^|[-_.])(?:ema|swa|averaged|average|shadow|teacher)(?:[-_.]|$)")
_NON_WEIGHTS = re.compile(
    r"^(?:optim|scheduler|scaler|lr_sched|sampler|trainer_state|grad_?scaler)|optim_states|(?:^|[-_])(?:optim|optimizer|opt|sched|scheduler)(?:[-_.]|$)"
)
_NUMBERS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A fragment with where it belongs."""

    one: Checkpoint
    folder: str  # of the whole checkpoint
    stem: str  # of the file's name
    weights: bool
    number: tuple[float | None, float | None]  # step and epoch as the file's own name states them


def join(fragments: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """Merge fragments of one checkpoint; in order of step, then of name. Nothing is dropped but files that another fragment holds."""
    consumed = {file for f in fragments for file in f.files if file != f.path}
    by_folder: dict[str, list[_Piece]] = defaultdict(list)
    for path, same in _by_path(f for f in fragments if f.path not in consumed).items():
        one = same[0] if len(same) == 1 else _merged(same, path)
        folder = _folder(one)
        name = path.rpartition("/")[2]
        number = (None, None) if PART_OF_PARENT.match(name) else step_and_epoch(name)
        by_folder[folder].append(_Piece(one, folder, name.lower(), _has_weights(one, name.lower()), number))
    _move_up(by_folder)
    joined = [c for folder, pieces in by_folder.items() for c in _in_folder(folder, pieces)]
    joined = [_flagged(c) for c in _without_backward_guesses(_numbered(joined))]
    return tuple(sorted(joined, key=_order))


def _numbered(checkpoints: list[Checkpoint]) -> list[Checkpoint]:
    """States of one model whose names tell no more than a number get it as their epoch; whether it is a step the log says later."""
    silent: dict[object, list[str]] = defaultdict(list)
    for one in checkpoints:
        if one.step is None and one.epoch is None and one.tensors:
            silent[frozenset((t.name, t.shape) for t in one.tensors)].append(one.path)
    counted = {path: n for paths in silent.values() for path, n in counted_by_siblings(paths).items()}
    return [replace(c, epoch=counted[c.path]) if c.path in counted else c for c in checkpoints]


def _move_up(by_folder: dict[str, list[_Piece]]) -> None:
    """Weights below the directory in which their optimizer lies (`checkpoint-20/unet/`, as diffusers saves them) belong to it."""
    for folder, pieces in list(by_folder.items()):
        if not folder or any(p.weights for p in pieces) or not any(p.one.optimizer for p in pieces):
            continue
        below = [f for f, found in by_folder.items() if f.rpartition("/")[0] == folder and any(p.weights for p in found)]
        own = [f for f in below if not _COPY.search(f.rpartition("/")[2].lower())]
        if len(own) == 1:
            pieces.extend(replace(p, folder=folder) for p in by_folder.pop(own[0]))


def _has_weights(one: Checkpoint, stem: str) -> bool:
    """Has them, or is called like a file that should: a broken one has neither."""
    return bool(one.tensors) or (
        one.status is not Status.READ and one.optimizer is None and not one.scheduler and not one.scaler and not _NON_WEIGHTS.search(stem)
    )


def _order(one: Checkpoint) -> tuple[float, float, list[tuple[int, str]]]:
    natural = [(int(n), "") if n.isdecimal() and len(n) < 18 else (-1, n) for n in re.split(r"(\d+)", one.path)]
    return (math.inf if one.step is None else one.step, math.inf if one.epoch is None else one.epoch, natural)


def _by_path(fragments: Iterable[Checkpoint]) -> dict[str, list[Checkpoint]]:
    out: dict[str, list[Checkpoint]] = {}
    for one in fragments:
        out.setdefault(one.path, []).append(one)
    return out


def _folder(one: Checkpoint) -> str:
    """The directory of the whole: a sharded checkpoint is a directory itself."""
    return whole_folder(one.path if one.format == "dcp" else one.path.rpartition("/")[0])


def _in_folder(folder: str, pieces: list[_Piece]) -> list[Checkpoint]:
    """The checkpoints of one directory."""
    groups: list[list[_Piece]] = []
    sets: dict[object, list[_Piece]] = {}  # shards and ranks, by what their names have in common
    by_key: dict[object, list[list[_Piece]]] = defaultdict(list)
    for piece in pieces:
        if not piece.weights or _COPY.search(piece.stem):
            continue
        same = _set_of(piece)
        if same is not None and same in sets:
            sets[same].append(piece)
            continue
        group = [piece]
        groups.append(group)
        if same is not None:
            sets[same] = group
        for key in _keys(piece):
            by_key[key].append(group)
    copies = [p.one for p in pieces if p.weights and _COPY.search(p.stem)]
    loose: dict[object, list[_Piece]] = {}
    for piece in pieces:
        if piece.weights:
            continue
        fits = {id(g): g for key in _asks(piece) for g in by_key.get(key, ()) if _fits(g, piece)}
        if len(groups) == 1 and groups[0][0].one.path == folder:
            fits = {0: groups[0]}  # what lies in a sharded checkpoint's own directory
        if len(fits) == 1:
            next(iter(fits.values())).append(piece)
        elif piece.number in loose:
            loose[piece.number].append(piece)
        else:
            loose[piece.number] = [piece]
            groups.append(loose[piece.number])
    alone = len(groups) == 1
    return [_whole(folder, group, alone=alone) for group in groups] + copies


def _set_of(piece: _Piece) -> object:
    """What the shards and ranks of one checkpoint have in common, None for a file that is no part of several."""
    if rank_of(piece.one.path) is not None:
        return (piece.number, "rank", _PIECE.sub("", piece.stem))
    return (piece.number, _PIECE.sub("", piece.stem)) if _PIECE.search(piece.stem) else None


def _keys(piece: _Piece) -> tuple[object, ...]:
    """What others may find these weights by: the number in the name, the step in it, the step of the content."""
    return (("name", piece.number), ("step in name", piece.number[0]), ("content", piece.one.step, piece.one.epoch))


def _asks(piece: _Piece) -> tuple[object, ...]:
    """By what a file without weights finds those that it belongs to."""
    keys: list[object] = [("name", piece.number)]
    if piece.number[0] is not None:
        keys.append(("step in name", piece.number[0]))
    if piece.number == (None, None):
        keys.append(("content", piece.one.step, piece.one.epoch))
    return tuple(keys)


def _fits(group: Sequence[_Piece], piece: _Piece) -> bool:
    """No other optimizer is there yet, unless both are parts of one."""
    return piece.one.optimizer is None or not any(p.one.optimizer is not None and _set_of(p) is None for p in group)


def _whole(folder: str, group: Sequence[_Piece], *, alone: bool) -> Checkpoint:
    name = folder.rpartition("/")[2]
    is_directory = (
        alone and bool(folder) and (len(group) > 1 or group[0].folder != group[0].one.path.rpartition("/")[0] or step_and_epoch(name) != (None, None))
    )
    if len(group) == 1 and not is_directory:
        return group[0].one
    path = folder if is_directory else group[0].one.path
    return _checked_shards(_merged([p.one for p in group], path), group)


def _checked_shards(one: Checkpoint, group: Sequence[_Piece]) -> Checkpoint:
    """Flag a set `…-00001-of-00003` of which some are not there."""
    ranks, world = {m[1] for p in group if (m := _ZERO_RANK.search(p.stem))}, one.facts.get("dp_world_size")
    parallel = {rank for p in group if p.weights and (rank := rank_of(p.one.path)) is not None}
    if parallel and not ranks:
        ranks, world = {str(rank) for rank in parallel}, stated_ranks(one.settings)
    if ranks and isinstance(world, int) and len(ranks) < world:
        detail = say("{n} of {all} ranks' files are missing", n=world - len(ranks), all=world)
        return replace(one, status=Status.PARTIAL, detail=detail, facts=MappingProxyType({**one.facts, "missing_shards": world - len(ranks)}))
    found = [m for p in group if p.weights and (m := _OF.search(p.stem))]
    if not found or one.facts.get("shards") is not None:
        return one
    total, there = max(int(m[2]) for m in found), {int(m[1]) for m in found}
    if len(there) >= total:
        return one
    detail = say("{n} of {all} shards are missing", n=total - len(there), all=total)
    return replace(
        one,
        status=Status.PARTIAL if one.tensors else Status.FAILED,
        detail=detail,
        facts=MappingProxyType({**one.facts, "missing_shards": total - len(there)}),
    )


def _flagged(one: Checkpoint) -> Checkpoint:
    """Say so where the shares of some ranks are missing."""
    shares = sum(is_share(t) for t in one.tensors)
    if not shares or one.detail is not None:
        return one
    detail = say("{n:,} tensors are one rank's share of a larger one: the files of other ranks are missing or do not fit", n=shares)
    return replace(one, status=Status.PARTIAL, detail=detail, facts=MappingProxyType({**one.facts, "shares": shares}))


def _merged(parts: Sequence[Checkpoint], path: str) -> Checkpoint:
    """One checkpoint out of its parts, weights first."""
    parts = sorted(parts, key=lambda p: (not p.tensors, p.path))
    step, epoch = _step_and_epoch(parts)
    facts: dict[str, Value] = {}
    for part in reversed(parts):
        facts.update(part.facts)
    failed = [p for p in parts if p.status is Status.FAILED]
    status = Status.FAILED if len(failed) == len(parts) else Status.PARTIAL if any(p.status is not Status.READ for p in parts) else Status.READ
    optimizers = [p.optimizer for p in parts if p.optimizer is not None]
    optimizer = whole_optimizer(parts) or max(optimizers, key=lambda o: len(o.states), default=None)
    ranks = {rank for p in parts if p.tensors and (rank := rank_of(p.path)) is not None}
    detail = _details(parts)
    if len(ranks) > 1 and optimizer is not None and optimizer.states:
        optimizer = replace(optimizer, states=())
        detail = detail or say(
            "the optimizer's numbers lie in {n} ranks' files, each for its own part of the model: they are not measured", n=len(ranks)
        )
        status = Status.PARTIAL if status is Status.READ else status
    if len(optimizers) > 1 and not (optimizer is not None and optimizer not in optimizers):
        facts["optimizers"] = len(optimizers)
    flags: Mapping[str, bool] | None = next((p.trainable for p in parts if p.trainable is not None), None)
    names = {p.path.rpartition("/")[2] for p in parts}
    like_transformers = names & {"optimizer.pt", "scheduler.pt"} and any(n.startswith(("model", "pytorch_model", "adapter_model")) for n in names)
    return Checkpoint(
        path,
        "hf" if like_transformers else parts[0].format,
        status,
        step,
        epoch,
        detail,
        tensors=whole_model(parts) if len(ranks) > 1 else _tensors(parts),
        optimizer=optimizer,
        scheduler=next((p.scheduler for p in parts if p.scheduler), MappingProxyType({})),
        scaler=next((p.scaler for p in parts if p.scaler), MappingProxyType({})),
        settings=tuple(s for p in parts for s in p.settings),
        trainable=flags,
        facts=MappingProxyType(facts),
        files=tuple(dict.fromkeys(file for p in parts for file in p.files or (p.path,))),
        size=sum(p.size for p in parts),
        modified=max((p.modified for p in parts if p.modified is not None), default=None),
        truncated=any(p.truncated for p in parts),
        refused=tuple(dict.fromkeys(name for p in parts for name in p.refused)),
    )


def _step_and_epoch(parts: Sequence[Checkpoint]) -> tuple[float | None, float | None]:
    """What most of the parts know: a step from content or name before the optimizer's own count."""
    counted = [p.step for p in parts if p.step is not None and p.facts.get("step_from") == "optimizer"]
    stated = [p.step for p in parts if p.step is not None and p.facts.get("step_from") != "optimizer"]
    step = stated[0] if stated else counted[0] if counted else None
    epoch = next((p.epoch for p in parts if p.epoch is not None), None)
    if epoch is not None and epoch == step and any(p.epoch is None for p in parts):
        epoch = None  # the number in the directory's name: the optimizer shows that it counts steps
    return step, epoch


def _tensors(parts: Sequence[Checkpoint]) -> tuple[TensorRef, ...]:
    """All tensors; where ranks hold parts of tensors of one name, later ones are named after their file."""
    out = dict(whole_tensors(parts))
    made = frozenset(out)
    for part in parts:
        stem = part.path.rpartition("/")[2].rpartition(".")[0] or part.path
        for ref in part.tensors:
            if ref.name in made:
                continue
            name = ref.name if ref.name not in out else f"{stem}:{ref.name}"
            out.setdefault(name, ref if name == ref.name else replace(ref, name=name))
    return tuple(out.values())


def _details(parts: Sequence[Checkpoint]) -> Sentence | None:
    told = [p for p in parts if p.detail is not None]
    if not told:
        return None
    first = told[0]
    if len(parts) == 1:
        return first.detail
    where = first.path.rpartition("/")[2]
    if len(told) == 1:
        return say("{file}: {why}", file=where, why=first.detail)
    return say("{file}: {why}; and {n} more of its files have problems", file=where, why=first.detail, n=len(told) - 1)


def _without_backward_guesses(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Steps counted by the optimizer are dropped where they run backwards against epochs: the optimizer was started anew."""
    by_folder: dict[str, list[Checkpoint]] = defaultdict(list)
    for one in checkpoints:
        if one.facts.get("step_from") == "optimizer" and one.epoch is not None:
            by_folder[one.path.rpartition("/")[0]].append(one)
    wrong: set[str] = set()
    for group in by_folder.values():
        ordered = sorted(group, key=lambda c: c.epoch or 0.0)
        if any((b.step or 0) <= (a.step or 0) for a, b in pairwise(ordered) if a.epoch != b.epoch):
            wrong.update(c.path for c in group)
    return [replace(c, step=None) if c.path in wrong else c for c in checkpoints]
