"""The published JSON Schema, and the contract that others' programs lean on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from postmortem.checklist import all_causes, checklist
from postmortem.model.codec import schema
from tests.analysed import CASES, judged

ROOT = Path(__file__).parents[1]
VALID: set[tuple[str, str]] = set()  # parts of documents that were looked at: where the schema describes such a part, and the part
FOLLOW = jsonschema.Draft202012Validator.VALIDATORS["$ref"]


def follow(validator: Any, where: str, part: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    """What is wrong with a part of a document. Documents are alike in much, and no part that is valid is looked at twice."""
    key = (where, json.dumps(part))
    if key in VALID:
        return
    sound = True
    for error in FOLLOW(validator, where, part, schema):
        sound = False
        yield error
    if sound:
        VALID.add(key)


VALIDATOR = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"$ref": follow})(schema())


def test_the_published_copy_is_the_one_of_the_code() -> None:
    """To renew: python -c "import json; from postmortem.model.codec import schema; print(json.dumps(schema(), indent=1, ensure_ascii=False))"."""
    assert json.loads((ROOT / "postmortem" / "model" / "schema.json").read_text(encoding="utf-8")) == schema()


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def document_of(case: Path) -> dict[str, Any]:
    """Every fourth fixture whole, the rest without exhibits: quick, and each kind of exhibit is there."""
    data: dict[str, Any] = json.loads(judged(case).to_json(exhibits=CASES.index(case) % 4 == 0))
    return data


@pytest.fixture(scope="module", params=CASES[::-1], ids=lambda c: f"{c.parent.name}/{c.name}")
def data(request: pytest.FixtureRequest) -> dict[str, Any]:
    """From the last to the first: another worker may be looking at what is expected of them, from the first to the last."""
    return document_of(request.param)


def test_a_fixture_s_document_is_valid(data: dict[str, Any]) -> None:
    assert not [f"{e.json_path}: {e.message[:200]}" for e in VALIDATOR.iter_errors(data)]


def test_a_document_that_breaks_the_contract_is_not_valid() -> None:
    data = document_of(CASES[0])
    assert not list(VALIDATOR.iter_errors(data))
    del data["verdict"]["confidence"]
    data["findings"][0]["status"] = "perhaps"
    data["run"]["steps"]["completed"] = "many"
    assert {e.json_path for e in VALIDATOR.iter_errors(data)} == {"$.verdict", "$.findings[0].status", "$.run.steps.completed"}


def test_the_contract_field_by_field(data: dict[str, Any]) -> None:
    modes, known_causes = {c.id for c in checklist()}, set(all_causes())
    assert data["schema"] == "postmortem/1"
    assert set(data["tool"]) >= {"name", "version"}
    run, verdict = data["run"], data["verdict"]
    assert run["outcome"] in {"finished", "early-stopped", "cancelled", "crashed", "running", "unknown"}
    assert set(run) >= {"name", "family", "outcome", "steps", "attempts", "sources", "hyperparameters", "model", "series", "checkpoints"}
    assert set(run["steps"]) >= {"completed", "planned"}
    assert set(run["model"]) >= {"parameters", "trainable_parameters"}
    assert all(set(a) >= {"first_step", "last_step", "seam"} for a in run["attempts"])
    assert run["attempts"]
    assert run["attempts"][0]["seam"] is None
    assert all(set(s) >= {"path", "reader", "status", "detail"} and s["status"] in {"read", "partial", "skipped", "failed"} for s in run["sources"])
    assert all(set(s) >= {"name", "logged_as", "points", "first_step", "last_step"} for s in run["series"])
    assert all(set(c) >= {"path", "step", "format", "status", "tensors"} for c in run["checkpoints"])
    assert not [s["path"] for s in run["sources"] if s["path"].startswith("/")]
    assert set(verdict) >= {"mode", "cause", "severity", "confidence", "onset", "summary", "last_good_checkpoint", "cost"}
    assert verdict["mode"] in modes | {"healthy", "inconclusive"}
    assert verdict["cause"] is None or verdict["cause"] in known_causes | modes
    assert (verdict["confidence"] is None) == (verdict["mode"] == "inconclusive")
    assert verdict["onset"] is None or set(verdict["onset"]) >= {"step", "epoch", "visible_from_step"}
    assert verdict["cost"] is None or set(verdict["cost"]) >= {"steps_after_onset", "share", "hours", "gpu_hours"}
    assert verdict["last_good_checkpoint"] is None or verdict["last_good_checkpoint"] in {c["path"] for c in run["checkpoints"]}
    last = len(run["attempts"]) - 1
    assert {f["mode"] for f in data["findings"] if f["attempt"] == last} == modes
    for finding in data["findings"]:
        assert set(finding) >= {
            "mode",
            "status",
            "severity",
            "confidence",
            "attempt",
            "consequence_of",
            "onset",
            "prior",
            "clues",
            "causes",
            "fixes",
        }
        assert finding["status"] in {"present", "absent", "not-measured", "crashed"}
        assert finding["severity"] is not None or finding["status"] != "present", finding["mode"]
        for clue in finding["clues"]:
            assert set(clue) >= {"claim", "holds", "weight", "detail", "source"}
            assert clue["holds"] is not None or clue["weight"] == 0.0
        for cause in finding["causes"]:
            assert set(cause) >= {"cause", "standing", "confidence", "prior", "clues"}
            assert cause["standing"] in {"confirmed", "likely", "possible", "unlikely", "ruled-out", "not-measured"}
            assert 0 <= cause["confidence"] <= 1
        for fix in finding["fixes"]:
            assert set(fix) >= {"title", "why", "changes", "code"}
            assert all(set(c) >= {"parameter", "key", "file", "from", "to"} for c in fix["changes"])
    assert all(set(n) >= {"log", "how", "would_decide"} for n in data["next_time"])
    assert isinstance(data["exhibits"], dict)
