"""The published JSON Schema, and the contract that others' programs lean on."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import postmortem
from postmortem.checklist import all_causes, checklist
from postmortem.model.codec import schema
from tests.analysed import CASES, judged

ROOT = Path(__file__).parents[1]
VALIDATOR = jsonschema.Draft202012Validator(schema())


def test_the_published_copy_is_the_one_of_the_code() -> None:
    """To renew: python -c "import json; from postmortem.model.codec import schema; print(json.dumps(schema(), indent=1, ensure_ascii=False))"."""
    assert json.loads((ROOT / "postmortem" / "model" / "schema.json").read_text(encoding="utf-8")) == schema()


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    """Every fourth fixture whole, the rest without exhibits: quick, and each kind of exhibit is there."""
    whole = {case: postmortem.analyze(case / "run") for case in CASES[::4]}
    return {f"{case.parent.name}/{case.name}": json.loads((whole.get(case) or judged(case)).to_json()) for case in CASES}


def test_every_fixture_s_document_is_valid(documents: dict[str, Any]) -> None:
    assert len(documents) >= 50
    problems = {name: [f"{e.json_path}: {e.message[:200]}" for e in VALIDATOR.iter_errors(data)] for name, data in documents.items()}
    assert not {name: found for name, found in problems.items() if found}


def test_a_document_that_breaks_the_contract_is_not_valid(documents: dict[str, Any]) -> None:
    data = json.loads(json.dumps(next(iter(documents.values()))))
    del data["verdict"]["confidence"]
    data["findings"][0]["status"] = "perhaps"
    data["run"]["steps"]["completed"] = "many"
    assert {e.json_path for e in VALIDATOR.iter_errors(data)} == {"$.verdict", "$.findings[0].status", "$.run.steps.completed"}


def test_the_contract_field_by_field(documents: dict[str, Any]) -> None:
    modes, known_causes = {c.id for c in checklist()}, set(all_causes())
    for name, data in documents.items():
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
        assert all(
            set(s) >= {"path", "reader", "status", "detail"} and s["status"] in {"read", "partial", "skipped", "failed"} for s in run["sources"]
        )
        assert all(set(s) >= {"name", "logged_as", "points", "first_step", "last_step"} for s in run["series"])
        assert all(set(c) >= {"path", "step", "format", "status", "tensors"} for c in run["checkpoints"])
        assert not [s["path"] for s in run["sources"] if s["path"].startswith("/")], name
        assert set(verdict) >= {"mode", "cause", "severity", "confidence", "onset", "summary", "last_good_checkpoint", "cost"}
        assert verdict["mode"] in modes | {"healthy", "inconclusive"}
        assert verdict["cause"] is None or verdict["cause"] in known_causes | modes
        assert (verdict["confidence"] is None) == (verdict["mode"] == "inconclusive"), name
        assert verdict["onset"] is None or set(verdict["onset"]) >= {"step", "epoch", "visible_from_step"}
        assert verdict["cost"] is None or set(verdict["cost"]) >= {"steps_after_onset", "share", "hours", "gpu_hours"}
        assert verdict["last_good_checkpoint"] is None or verdict["last_good_checkpoint"] in {c["path"] for c in run["checkpoints"]}
        last = len(run["attempts"]) - 1
        assert {f["mode"] for f in data["findings"] if f["attempt"] == last} == modes, name
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
            assert finding["severity"] is not None or finding["status"] != "present", (name, finding["mode"])
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
