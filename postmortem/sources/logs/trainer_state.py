"""The transformers Trainer's `trainer_state.json`: the whole history, in each checkpoint and at the top.

`loss` is the mean over the steps since the last record; `grad_norm` is before clipping. With `logging_nan_inf_filter` a NaN
loss is logged as 0.0 beside a NaN `grad_norm`: values are kept as logged.
"""

from typing import Any

from postmortem.model.run import Reduction, Setting, Source, Status
from postmortem.model.sentence import Value, say
from postmortem.sources.documents import Unreadable, load
from postmortem.sources.logs.curves import Habits, series_of
from postmortem.sources.logs.jsonrows import RowTaker
from postmortem.sources.names import setting_name
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "trainer-state"
_LARGEST = 512 << 20  # bytes
_KEYS = (b'"global_step"', b'"log_history"')
_UNBOUNDED = 1e15  # as many epochs as an integer can say: a plan in steps over a data set without a length
_SETTINGS = ("train_batch_size", "num_train_epochs", "max_steps", "logging_steps", "eval_steps", "save_steps")


def claims(candidate: Candidate) -> bool:
    """`trainer_state.json`, also with a prefix, or a JSON document under another name that begins with its keys."""
    name = candidate.name.lower()
    return name.endswith("trainer_state.json") or (name.endswith(".json") and all(key in candidate.head for key in _KEYS))


def read(candidate: Candidate) -> Found:
    """All curves of `log_history`, and what the run was planned to be."""
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
    habits = Habits(train=Reduction.WINDOW, epochs_are_done=True)
    series = series_of(taker.table(), candidate.path, habits)
    settings = tuple(
        Setting(setting_name(key), key, state[key], candidate.path)
        for key in _SETTINGS
        if isinstance(state.get(key), int | float) and not isinstance(state[key], bool) and 0 < state[key] < _UNBOUNDED
    )
    detail = None if series else say("its history holds no numbers yet")
    return Found(Source(candidate.path, NAME, Status.READ, detail, candidate.size), series=series, settings=settings, facts=_facts(state))


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
