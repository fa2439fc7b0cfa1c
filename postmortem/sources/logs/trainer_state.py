"""The transformers Trainer's `trainer_state.json`: the whole history, in each checkpoint and at the top.

`loss` is the mean over the steps since the last record; `grad_norm` is before clipping. With `logging_nan_inf_filter` a NaN
loss is logged as 0.0 beside a NaN `grad_norm`: values are kept as logged.
"""

from typing import Any

from postmortem.model.run import Reduction, Setting, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.documents import Unreadable, load
from postmortem.sources.logs.curves import Habits, series_of
from postmortem.sources.logs.jsonrows import RowTaker
from postmortem.sources.logs.long_history import read_long
from postmortem.sources.logs.stretches import Extent
from postmortem.sources.names import setting_name
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "trainer-state"
_LARGEST = 48 << 20  # bytes of one that is read as a document; a larger one goes by blocks
_KEYS = (b'"global_step"', b'"log_history"')
_UNBOUNDED = 1e15  # as many epochs as an integer can say: a plan in steps over a data set without a length
_SETTINGS = ("train_batch_size", "num_train_epochs", "max_steps", "logging_steps", "eval_steps", "save_steps")


def claims(candidate: Candidate) -> bool:
    """`trainer_state.json`, also with a prefix, or a JSON document under another name that begins with its keys."""
    name = candidate.name.lower()
    return name.endswith("trainer_state.json") or (name.endswith(".json") and all(key in candidate.head for key in _KEYS))


def read(candidate: Candidate) -> Found:
    """All curves of `log_history`, and what the run was planned to be."""
    if candidate.size > _LARGEST:
        return _long(candidate)
    try:
        state = load(candidate.file, limit=_LARGEST, kind="json")
    except Unreadable as error:
        return Found(Source(candidate.path, NAME, Status.FAILED, error.why, candidate.size))
    history = state.get("log_history") if isinstance(state, dict) else None
    if not isinstance(history, list):
        return Found(Source(candidate.path, NAME, Status.FAILED, say("it has no log_history"), candidate.size))
    rows = [row for row in history if isinstance(row, dict)]
    taker = RowTaker()
    taker.take(rows)
    return _found(candidate, state, taker, None)


def _long(candidate: Candidate) -> Found:
    extent = Extent(candidate.size)
    taker = RowTaker(effort=extent.effort)
    try:
        state, bad = read_long(candidate.file, extent, taker.take)
    except OSError as error:
        why = say("it could not be read: {why}", why=error.strerror or say("an input error"))
        return Found(Source(candidate.path, NAME, Status.FAILED, why, candidate.size))
    damaged = say("{n} stretches of its history are damaged", n=bad) if bad else None
    return _found(candidate, state, taker, extent.left_out() or damaged)


def _found(candidate: Candidate, state: dict[str, Any], taker: RowTaker, part: Sentence | None) -> Found:
    """`part`: what is to be said of a state that was read in part."""
    habits = Habits(train=Reduction.WINDOW, epochs_are_done=True)
    series = series_of(taker.table(), candidate.path, habits)
    settings = tuple(
        Setting(setting_name(key), key, state[key], candidate.path)
        for key in _SETTINGS
        if isinstance(state.get(key), int | float) and not isinstance(state[key], bool) and 0 < state[key] < _UNBOUNDED
    )
    detail = part or (None if series else say("its history holds no numbers yet"))
    source = Source(candidate.path, NAME, Status.PARTIAL if part else Status.READ, detail, candidate.size)
    return Found(source, series=series, settings=settings, facts=_facts(state))


def _facts(state: dict[str, Any]) -> dict[str, Value]:
    def positive(key: str) -> float | None:
        value = state.get(key)
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _UNBOUNDED else None

    facts: dict[str, Value] = {"framework": "transformers"}
    planned, done = positive("max_steps"), positive("global_step")
    if planned is not None:
        facts["planned_steps"] = planned
        if done is not None and done >= planned:
            facts["finished"] = True
    epochs = positive("num_train_epochs")
    if epochs is not None:
        facts["planned_epochs"] = epochs
    return facts


READER = Reader(NAME, claims, read)
