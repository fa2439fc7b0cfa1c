"""The document as JSON: what is read back is what was written, and renders the same; whatever is no document is said to be none."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from postmortem.errors import DocumentError
from postmortem.model.codec import dump, encode, load
from postmortem.model.diagnosis import Diagnosis
from postmortem.model.sentence import Sentence, say
from tests.analysed import FIXTURES, judged

SOME = (
    "crash/killed",
    "exploding-gradients/learning-rate-too-high",
    "healthy/lightning",
    "non-finite/bad-batch",
    "frozen-parameters/requires-grad-off",
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUE = st.one_of(TEXT, st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.none())
TEMPLATES = st.sampled_from(["{a}", "{a:.3g} of {b:,}", "no value", "{{x}} {b:>8.2f} {c:.0%}", "{missing}"])
SENTENCES = st.builds(
    Sentence, TEMPLATES, st.dictionaries(st.sampled_from("abc"), st.one_of(VALUE, st.just(math.inf)), max_size=3).map(MappingProxyType)
)


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Values of an annotated type of the document."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [a for a in arguments if a is not type(None)]
        return VALUE if {str, int, float} <= set(options) else st.one_of(st.none(), of_type(options[0]))
    if origin is tuple:
        return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return st.dictionaries(TEXT, of_type(arguments[1]), max_size=2).map(MappingProxyType)
    if hint is Sentence:
        return SENTENCES
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        fields = {f.name: of_type(hints[f.name]) for f in dataclasses.fields(hint) if f.name != "schema"}
        return st.builds(hint, **fields)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return {str: TEXT, int: st.integers(0, 2**53), bool: st.booleans(), float: st.floats(allow_nan=False)}[hint]


DIAGNOSES = of_type(Diagnosis)


@settings(max_examples=25, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck))
@given(DIAGNOSES)
def test_any_document_survives(diagnosis: Diagnosis) -> None:
    text = dump(diagnosis)
    assert load(text) == diagnosis
    assert dump(load(text)) == text
    json.loads(text, parse_constant=lambda token: pytest.fail(f"{token} is no JSON"))


@pytest.fixture(scope="module", params=SOME)
def diagnosis(request: pytest.FixtureRequest) -> Diagnosis:
    return judged(FIXTURES / request.param)


def test_a_real_document_survives_and_renders_the_same(diagnosis: Diagnosis) -> None:
    text = dump(diagnosis)
    again = load(text)
    assert dump(again) == text
    assert again.to_html() == diagnosis.to_html()
    assert again.to_markdown() == diagnosis.to_markdown()
    json.loads(text, parse_constant=lambda token: pytest.fail(f"{token} is no JSON"))


def test_without_exhibits_the_rest_is_the_same(diagnosis: Diagnosis) -> None:
    whole, lean = json.loads(dump(diagnosis)), json.loads(dump(diagnosis, exhibits=False))
    assert not any(lean.pop("exhibits").values())
    assert any(whole.pop("exhibits").values())
    assert lean == whole


def test_unknown_keys_of_a_newer_minor_version_are_ignored(diagnosis: Diagnosis) -> None:
    def add(data: Any) -> Any:
        if isinstance(data, dict):
            plain = {k: v if k.endswith("_sentence") or k in ("hyperparameters", "chance") else add(v) for k, v in data.items()}
            return plain if "hyperparameters" in data and "learning_rate" in data else {**plain, "of_tomorrow": [{"x": 1}]}
        return [add(v) for v in data] if isinstance(data, list) else data

    assert dump(load(json.dumps(add(json.loads(dump(diagnosis)))))) == dump(diagnosis)


def test_a_document_starts_by_saying_what_it_is(diagnosis: Diagnosis) -> None:
    assert list(json.loads(dump(diagnosis)))[:2] == ["schema", "tool"]
    assert dump(diagnosis).endswith("}\n")


def test_numbers_of_numpy_are_numbers() -> None:
    assert encode((np.float64(1.5), np.int64(2), np.bool_(True), np.float32(np.nan))) == [1.5, 2, True, "nan"]


def test_a_number_that_is_not_finite_is_told_from_its_word() -> None:
    back = load(_with_summary(say("{a} {b:g}", a="nan", b=math.nan))).verdict.summary
    assert back.values["a"] == "nan"
    assert math.isnan(typing.cast("float", back.values["b"]))


def _with_summary(sentence: Sentence) -> str:
    found = judged(FIXTURES / "crash/python-error")
    return dump(dataclasses.replace(found, verdict=dataclasses.replace(found.verdict, summary=sentence)))


@pytest.fixture(scope="module")
def good() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(dump(judged(FIXTURES / "crash/python-error"), exhibits=False))
    return found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"schema": 1}',
        '{"schema": "postmortem/2"}',
        '{"schema": "postmortem/1"}',
        b"\xff\xfe\x00",
        "[" * 100_000,
        "1" * 5000,
    ],
)
def test_what_is_no_document(text: str | bytes) -> None:
    with pytest.raises(DocumentError):
        load(text)


DAMAGE = [
    ("run", None), ("run", []), ("run", "x"), ("verdict", {}), ("findings", {}), ("findings", "abc"), ("findings", [1]), ("findings", None),
    ("run.steps.completed", "many"), ("run.steps.completed", 10**400), ("run.steps.completed", True), ("run.sources", [{}]), ("run.hyperparameters", []),
    ("run.hyperparameters", {"a": []}), ("verdict.mode", None), ("verdict.mode", 3), ("verdict.severity", "awful"), ("verdict.summary_sentence", {}),
    ("verdict.summary_sentence", {"template": 1, "values": {}}), ("verdict.summary_sentence", {"template": "{", "values": {}}),
    ("verdict.summary_sentence", {"template": "{a:99999999999}", "values": {"a": 1}}), ("verdict.summary_sentence", {"template": "{a}", "values": {"a": [1]}}),
    ("verdict.summary_sentence", {"template": "{a}", "values": {"a": {"number": []}}}), ("verdict.summary_sentence", {"template": "{a}", "values": 3}),
    ("exhibits", []), ("exhibits.curves", [3]), ("tool", "x"),
]  # fmt: skip


@pytest.mark.parametrize(("where", "what"), DAMAGE, ids=lambda x: str(x)[:40])
def test_a_damaged_document_is_said_to_be_damaged(good: dict[str, Any], where: str, what: object) -> None:
    data = json.loads(json.dumps(good))
    *path, last = where.split(".")
    inner = data
    for key in path:
        inner = inner[key]
    assert last in inner
    inner[last] = what
    with pytest.raises(DocumentError, match="damaged"):
        load(json.dumps(data))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_document_with_anything_anywhere_loads_or_is_damaged(good: dict[str, Any], data: st.DataObject) -> None:
    whole = json.loads(json.dumps(good))
    inner: Any = whole
    for _ in range(data.draw(st.integers(1, 6))):
        keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys:
            break
        key = data.draw(st.sampled_from(keys))
        if isinstance(inner[key], dict | list) and inner[key]:
            inner = inner[key]
            continue
        inner[key] = data.draw(st.recursive(VALUE, lambda x: st.one_of(st.lists(x, max_size=2), st.dictionaries(TEXT, x, max_size=2)), max_leaves=3))
        break
    try:
        found = load(json.dumps(whole))
    except DocumentError:
        return
    assert found.to_markdown()
