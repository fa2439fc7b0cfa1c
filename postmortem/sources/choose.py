"""One series per name: copies, ranks and continuations over several files, and which of several sources is believed."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from postmortem.model.run import Floats, LeftOut, Reduction, Series
from postmortem.model.sentence import Sentence, say
from postmortem.sources.logs.text.keys import split_in

ONE_IS_A_SETTING = frozenset({"lr", "loss_scale"})  # a single record of these among many others is the configuration, printed
MANY = 3
_GROUP = re.compile(r"(.*\D)\d{1,3}")  # a key that ends in the number of a parameter group
_SUCCESS = re.compile(r"(?i)(?:^|[/_. ])success[_ ]?rate$")
_ENOUGH_GROUPS = 3  # for a majority
_MINIMISED = ("mse", "rmse", "mae")
LATEST = 1e12  # seconds since 1970; beyond, a clock is none


def choose(series: Sequence[Series], left_out: list[LeftOut] | None = None) -> tuple[Series, ...]:
    """At most one series of each known name. A second, coarser one that holds epoch means becomes `<name>.epoch`.

    left_out : takes what was not chosen, with the reason.
    """
    notes = [] if left_out is None else left_out
    by_name: dict[str, list[Series]] = defaultdict(list)
    series = _measured(_evaluated(series, notes), notes)
    for one in _perplexity_as_loss(_error_as_loss(_test_as_validation(_success_as_score(_rate_of_most_groups(series))))):
        by_name[one.name].append(one)
    out: list[Series] = []
    longest = max(map(len, series), default=0)
    for name, group in by_name.items():
        if name.startswith("other/"):
            for ranked in _by_key(_joined(group, notes)):
                out.append(ranked[0])
                notes.extend(_left_out(one, _worse(one, ranked[0])) for one in ranked[1:])
            continue
        if name in ONE_IS_A_SETTING and max(map(len, group)) == 1 and longest > MANY:
            notes.extend(_left_out(one, say("a single record beside many others: a setting that was printed")) for one in group)
            continue
        ranked = _with_continuations(sorted(_joined(group, notes), key=_rank))
        out.append(ranked[0])
        means = [s for s in ranked[1:] if s.reduction == Reduction.EPOCH and len(s) < len(ranked[0]) and ranked[0].reduction != Reduction.EPOCH]
        used = [ranked[0]]
        if means and f"{name}.epoch" not in by_name:
            out.append(replace(means[0], name=f"{name}.epoch"))
            used.append(means[0])
        notes.extend(_left_out(one, _worse(one, ranked[0])) for one in ranked if not any(one is u for u in used))
    return tuple(out)


def _evaluated(series: Sequence[Series], notes: list[LeftOut]) -> Sequence[Series]:
    """Without the evaluations of a file in which every one of them is exactly 0 throughout: where none is made, trackers are handed zeros."""
    files = {s.source for s in series if s.name == "val/loss" and len(s) > MANY and not s.values.any()}
    of_files = {f: [s for s in series if s.source == f and s.name.startswith("val/")] for f in files}
    idle = {id(s) for of_file in of_files.values() if not any(s.values.any() for s in of_file) for s in of_file}
    notes.extend(_left_out(s, say("zeros throughout: nothing was evaluated")) for s in series if id(s) in idle)
    return [s for s in series if id(s) not in idle]


def _measured(series: Sequence[Series], notes: list[LeftOut]) -> Sequence[Series]:
    """Without a first record of exactly 0 of a training loss whose second is its highest: `loss: 0.00000` of TFLearn, from before anything was
    measured. A loss that begins at 0 by its nature, as that of a policy beside its reference, rises from there."""
    out: list[Series] = []
    for one in series:
        values = one.values
        early = one.name == "train/loss" and len(one) > MANY and values[0] == 0.0 and 0.0 < values[-1] < values[1] == np.nanmax(values)
        if early:
            notes.append(LeftOut(one.name, one.logged_as, one.source, 1, say("a first record of 0, from before anything was measured")))
        out.append(one.part(slice(1, None)) if early else one)
    return out


def _error_as_loss(series: Sequence[Series]) -> Sequence[Series]:
    """Where nothing is called a loss, an error of squares or distances is what was minimised: that of the split `train`, and of `val` beside it."""
    names = {s.name for s in series}
    error = next((error for error in _MINIMISED if f"train/{error}" in names), None)
    if error is None or not names.isdisjoint({"train/loss", "val/loss"}):
        return series
    as_loss = {f"{split}/{error}": f"{split}/loss" for split in ("train", "val")}
    return [replace(s, name=as_loss.get(s.name, s.name)) for s in series]


def _perplexity_as_loss(series: Sequence[Series]) -> Sequence[Series]:
    """Where nothing is called a loss, the perplexities of training and of validation are losses beside them: their logarithms, in nats."""
    names = {s.name for s in series}
    if "train/perplexity" not in names or any("loss" in s.logged_as.lower() or s.name.endswith("/loss") for s in series):
        return series
    of = {"train/perplexity": "train/loss", "val/perplexity": "val/loss"}
    with np.errstate(all="ignore"):
        return [*series, *(replace(s, name=of[s.name], values=np.log(s.values), quantum=None) for s in series if s.name in of)]


def _success_as_score(series: Sequence[Series]) -> Sequence[Series]:
    """Where neither a reward nor a score was logged, rates of success are: the reward, in training without a loss, else the split's score.

    Of several for one split, such as those of tasks, none stands for all.
    """
    if any(s.name == "reward" or s.name.endswith(("/reward", "/score")) for s in series):
        return series
    lossless = not any(s.name.endswith("/loss") for s in series)
    keys: dict[str, set[str]] = defaultdict(set)
    for key in {s.logged_as for s in series if s.name.startswith("other/") and _SUCCESS.search(s.logged_as)}:
        split = split_in(key.replace("_", " ")) or "val"
        keys["reward" if lossless and split == "train" else f"{split}/score"].add(key)
    named = {key: name for name, several in keys.items() if len(several) == 1 for key in several}
    return [replace(s, name=named[s.logged_as]) if s.logged_as in named else s for s in series]


def _by_key(series: Sequence[Series]) -> list[list[Series]]:
    """Series that are called the same in several kinds of files (a table, and the log that prints it), best first."""
    found: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        found[one.logged_as].append(one)
    return [sorted(same, key=_rank) for same in found.values()]


def _left_out(one: Series, why: Sentence) -> LeftOut:
    return LeftOut(one.name, one.logged_as, one.source, len(one), why)


def _worse(one: Series, best: Series) -> Sentence:
    """Why another series of the same name was chosen, in the order of `_rank`."""
    key, file = best.logged_as, best.source
    if len(one) < len(best):
        return say("{key} in {file} says the same in {n:,} records", key=key, file=file, n=len(best))
    if one.quantum is not None and best.quantum is None:
        return say("{key} in {file} says the same with all digits", key=key, file=file)
    return say("{key} in {file} was chosen for it", key=key, file=file)


def _rate_of_most_groups(series: Sequence[Series]) -> Sequence[Series]:
    """Where each parameter group has its learning rate (`lr/pg0`, `lr/pg1`, `lr/pg2`), the one that most of them have is the run's.

    Ultralytics warms the rate of the biases up from 0.1 downwards, all others from 0.
    """
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n, one in enumerate(series):
        numbered = _GROUP.fullmatch(one.logged_as)
        if numbered and one.name in ("lr", f"other/{one.logged_as}"):
            groups[(one.source, numbered[1])].append(n)
    out = list(series)
    for numbers in groups.values():
        named = [n for n in numbers if series[n].name == "lr"]
        if len(named) != 1 or len(numbers) < _ENOUGH_GROUPS:
            continue
        alike = [sum(np.array_equal(series[n].values, series[m].values, equal_nan=True) for m in numbers) for n in numbers]
        most = numbers[int(np.argmax(alike))]
        if max(alike) > alike[numbers.index(named[0])]:
            old, new = series[named[0]], series[most]
            out[named[0]] = replace(old, name=f"other/{old.logged_as}")
            out[most] = replace(new, name="lr")
    return out


def _test_as_validation(series: Sequence[Series]) -> list[Series]:
    """What stands for the validation set when nothing is called so: a test set that is evaluated again and again during
    training, more often than once at the end of each run in the file, else the first of several named evaluation sets (`eval_squad_loss`)."""
    if any(s.name.startswith("val/") for s in series):
        return _one_set(series)
    runs = 1 + max((_begun_again(s) for s in series if s.name == "train/loss"), default=0)
    if any(s.name.startswith("test/") and (len(s) > runs or _went_on_after(s, series)) for s in series):
        return [replace(s, name=f"val/{s.name.removeprefix('test/')}") if s.name.startswith("test/") else s for s in series]
    first = min((s.name.partition("/")[0] for s in series if s.name.startswith("val.")), default="")
    return [replace(s, name=f"val/{s.name.partition('/')[2]}") if first and s.name.startswith(f"{first}/") else s for s in series]


def _went_on_after(test: Series, series: Sequence[Series]) -> bool:
    """Training went on after the first evaluation, in the same file, and did not begin again: it was no test of what had come out."""
    train = next((s for s in series if s.name == "train/loss" and s.source == test.source), None)
    if train is None or train.records is None or test.records is None or not len(train) or not len(test):
        return False
    after = int(np.searchsorted(train.records, test.records[0]))
    return after < len(train) and (after == 0 or _places(train)[after] >= _places(train)[after - 1])


def _one_set(series: Sequence[Series]) -> list[Series]:
    """What is called the test set's below the heading of a validation, `Eval epoch: 1`, `Test loss: 2.5`, `Top1: 40%`, is of the one set that
    there is: no key names that of validation, each quantity is told of one of them, and all at the same places."""
    val, test = ([s for s in series if s.name.startswith(split)] for split in ("val/", "test/"))
    said = {s.name.partition("/")[2] for s in val}
    apart = any(split_in(s.logged_as) for s in val) or any(
        s.name.partition("/")[2] in said or not np.array_equal(s.steps, val[0].steps, equal_nan=True) for s in test
    )
    alone = apart or any(len(s) != len(val[0]) or s.source != val[0].source for s in (*val, *test))
    return list(series) if alone else [replace(s, name=f"val/{s.name[5:]}") if s.name.startswith("test/") else s for s in series]


def _begun_again(one: Series) -> int:
    """How often its epochs, or else its steps, fall."""
    places = _places(one)
    return int(np.count_nonzero(places[1:] < places[:-1]))


def _places(one: Series) -> Floats:
    return one.steps if one.epochs is None else one.epochs


def _rank(one: Series) -> tuple[object, ...]:
    """Best first: enough points, with a step, precise, from a structured source."""
    stepped = bool(np.isfinite(one.steps).any())
    one_step = stepped and len(one) >= MANY and bool((one.steps == one.steps[0]).all())  # the first batch of each evaluation is always batch 0
    points = 1 if one_step else len(one)
    return (-np.log2(max(points, 1)) // 0.5, not stepped, one.quantum is not None, -points, one.source)


MOST_PARTS = 100  # series of one name that are compared with one another: copies, ranks, continuations
_LONGEST_NUMBER = 20  # digits of one that counts as a number


def natural(path: str) -> list[tuple[int, str]]:
    """Sort key: `run-9` before `run-10`."""
    return [(int(p), "") if p.isdecimal() and len(p) < _LONGEST_NUMBER else (-1, p) for p in re.split(r"(\d+)", path)]


def _joined(group: list[Series], notes: list[LeftOut]) -> list[Series]:
    """Series of one name and key that several files of one kind hold: copies and other ranks are dropped, continuations joined."""
    by_kind: dict[tuple[str, str, bool], list[Series]] = defaultdict(list)
    for one in group:
        by_kind[(one.logged_as, _kind(one.source), one.reduction == Reduction.EPOCH)].append(one)
    out: list[Series] = []
    for alike in by_kind.values():
        alike.sort(key=lambda s: (_start(s), natural(s.source)))
        same = alike if len(alike) <= MOST_PARTS else [alike[0], *alike[1 - MOST_PARTS :]]
        if len(alike) > MOST_PARTS:
            why = say("of {n:,} files that hold it the first and the last {most} were put together", n=len(alike), most=MOST_PARTS - 1)
            notes.extend(_left_out(one, why) for one in alike[1 : 1 - MOST_PARTS])
        parts: list[Series] = []
        for one in same:
            whole = next((other for other in parts if _holds(other, one)), None)
            if whole is not None:
                notes.append(_copy(one, whole))
                continue
            notes.extend(_copy(p, one) for p in parts if _holds(one, p))
            parts = [p for p in parts if not _holds(one, p)]
            beside = next((n for n, p in enumerate(parts) if _side_by_side(p, one)), None)
            if beside is None:
                parts.append(one)
            else:  # rank 0 speaks for all
                first, other = sorted((parts[beside], one), key=lambda s: natural(s.source))
                parts[beside] = first
                notes.append(_left_out(other, say("another process logged it at the same time: {file} speaks for all", file=first.source)))
        out.append(_concatenated(parts) if len(parts) > 1 else parts[0])
    return out


def _copy(part: Series, whole: Series) -> LeftOut:
    if part.source == whole.source:
        return _left_out(part, say("it holds the same records as {key}", key=whole.logged_as))
    return _left_out(part, say("its records are in {file} too", file=whole.source))


def _with_continuations(ranked: list[Series]) -> list[Series]:
    """The best series, joined by others of its key that begin where it ends (`train.log`, `train_resumed.log`), and the rest."""
    best, rest = ranked[0], []
    if not np.isfinite(best.steps).all():
        return ranked
    parts = [best]
    for one in ranked[1:]:
        apart = np.isfinite(one.steps).all() and all(one.steps.min() > p.steps.max() or one.steps.max() < p.steps.min() for p in parts)
        alike = one.logged_as == best.logged_as and one.source.rpartition(".")[2] == best.source.rpartition(".")[2]
        if apart and alike and len(one) > 1:
            parts.append(one)
        else:
            rest.append(one)
    if len(parts) == 1:
        return ranked
    return [_concatenated(sorted(parts, key=lambda s: float(s.steps[0]))), *rest]


def _kind(source: str) -> str:
    """Files of one kind: the same name but for digits, in sibling directories."""
    return re.sub(r"\d+", "#", source.rpartition("/")[2])


def _start(one: Series) -> float:
    return float(one.times[0]) if one.times is not None and len(one.times) and np.isfinite(one.times[0]) else 0.0


_RANK = re.compile(r"(?i)(?:(?<![a-z])(?:rank|node|worker|gpu|device|proc|process|host)[_\-]?\d+|attempt_\d+/\d+(?=/))")


def _side_by_side(one: Series, other: Series) -> bool:
    """Written at the same time by several processes: their names say so, or their clocks."""
    if one.source != other.source and _RANK.search(one.source) and _RANK.sub("", one.source) == _RANK.sub("", other.source):
        return True
    if one.source == other.source or one.times is None or other.times is None:
        return False
    if not np.isfinite(one.times).all() or not np.isfinite(other.times).all():
        return False
    if max(np.abs(one.times).max(), np.abs(other.times).max()) > LATEST:
        return False
    shared = min(one.times.max(), other.times.max()) - max(one.times.min(), other.times.min())
    return bool(len(one) > 2 and len(other) > 2 and shared > 0.5 * min(np.ptp(one.times), np.ptp(other.times)) and shared > 0)


def _holds(whole: Series, part: Series) -> bool:
    """`part` is a copy of some records of `whole` (a `trainer_state.json` of an earlier checkpoint)."""
    if len(part) > len(whole):
        return False
    if np.isfinite(part.steps).all() and np.isfinite(whole.steps).all() and not np.any(whole.steps[1:] < whole.steps[:-1]):
        at = np.searchsorted(whole.steps, part.steps)
        inside = at < len(whole)
        if not inside.all() or not np.array_equal(whole.steps[at], part.steps):
            return False
        return bool(np.array_equal(whole.values[at], part.values, equal_nan=True))
    begin = slice(0, len(part))
    return bool(np.array_equal(whole.steps[begin], part.steps, equal_nan=True) and np.array_equal(whole.values[begin], part.values, equal_nan=True))


def _concatenated(parts: Sequence[Series]) -> Series:
    def joined(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
        if all(a is None for a in arrays):
            return None
        return np.concatenate([np.full(len(p), np.nan) if a is None else a for a, p in zip(arrays, parts, strict=True)])

    first = parts[0]
    return replace(
        first,
        source=", ".join(dict.fromkeys(p.source for p in parts)),
        steps=np.concatenate([p.steps for p in parts]),
        values=np.concatenate([p.values for p in parts]),
        epochs=joined([p.epochs for p in parts]),
        times=joined([p.times for p in parts]),
        records=None,
    )
