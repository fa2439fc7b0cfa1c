"""MLflow's file store and data base: what MLflow wrote is read back, the run is left as it is, and no bytes do harm."""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from postmortem.model.run import Series, Status
from postmortem.sources import read_run
from postmortem.sources.logs import mlflow_sqlite
from postmortem.sources.logs.mlflow import READERS
from postmortem.sources.reader import Candidate, Found

FIXTURES = Path(__file__).parents[2] / "fixtures" / "formats" / "mlflow"
FILES = FIXTURES / "files"


def candidate(root: Path, path: str) -> Candidate:
    file = root / path
    with file.open("rb") as opened:
        head = opened.read(4096)
    return Candidate(root, path, file.stat().st_size, head, frozenset(p.name for p in file.parent.iterdir()))


def read(root: Path, path: str) -> Found:
    one = candidate(root, path)
    (reader,) = [r for r in READERS if r.claims(one)]
    return reader.read(one)


def read_all(root: Path) -> dict[str, Found]:
    return {str(p.relative_to(root)): read(root, str(p.relative_to(root))) for p in sorted(root.rglob("*")) if p.is_file()}


def values(one: Series) -> list[str]:
    return [repr(v) for v in one.values.tolist()]


def written() -> list[float]:
    """train/loss as the script of the fixtures logs it."""
    return [2.0 / (i + 1) for i in range(9)] + [-math.inf, math.inf, math.nan, 0.25]


# --- the file store ----------------------------------------------------------------------------------------------------


def test_the_newest_run_of_a_file_store() -> None:
    everything = read_all(FILES)
    series = {s.logged_as: s for f in everything.values() for s in f.series}
    assert set(series) == {"train/loss", "val/loss", "without step"}
    loss = series["train/loss"]
    assert loss.name == "train/loss"
    assert values(loss) == [repr(v) for v in written()]
    assert loss.steps.tolist() == [10.0 * i for i in range(12)] + [20.0]  # a duplicate, out of order, kept
    assert loss.times is not None
    assert loss.times[:2].tolist() == [1.7e9, 1.7e9 + 1]
    unstepped = series["without step"]
    assert np.isnan(unstepped.steps).all()
    assert unstepped.values.tolist() == list(range(12))
    assert {s.key: s.value for f in everything.values() for s in f.settings} == {
        "lr": 0.1,
        "batch_size": 32,
        "optimizer": "sgd",
        "nesterov": True,
        "clip": None,
    }
    assert {s.name for f in everything.values() for s in f.settings} >= {"learning_rate", "batch_size", "optimizer"}
    (facts,) = [dict(f.facts) for f in everything.values() if f.facts]
    assert facts["status"] == "finished"
    assert facts["finished"] is True
    assert float(facts["ended_at"]) >= float(facts["started_at"]) > 1.7e9


def test_an_older_run_is_passed_over_and_said_so() -> None:
    older = [f for f in read_all(FILES).values() if f.source.status == Status.SKIPPED and "2 runs" in str(f.source.detail)]
    assert len(older) == 2  # its meta.yaml and its one metric
    assert not any(f.series or f.facts for f in older)


def test_an_older_run_alone_is_read() -> None:
    (run,) = [p.parent for p in FILES.rglob("meta.yaml") if "run_name: failed" in p.read_text()]
    found = read_all(run)
    assert found["meta.yaml"].facts["status"] == "failed"
    assert [len(s) for s in found["metrics/train/loss"].series] == [6]


def run_folder(root: Path) -> Path:
    (root / "metrics").mkdir()
    (root / "meta.yaml").write_text("run_id: abc\nstatus: 1\nstart_time: 1700000000000\nend_time: null\n")
    return root / "metrics"


def test_lines_of_every_age(tmp_path: Path) -> None:
    (run_folder(tmp_path) / "loss").write_text("1700000000000 0.5\n1700000001000 0.25 7\n1700000002000 nan 8 data 0123abcd\n1700000003000 -inf 9\n\n")
    found = read(tmp_path, "metrics/loss")
    assert found.source.status == Status.READ
    (one,) = found.series
    assert values(one) == ["0.5", "0.25", "nan", "-inf"]
    assert one.steps.tolist() == [0, 7, 8, 9]


def test_lines_that_are_not_sorted_are_put_in_the_order_of_the_clock(tmp_path: Path) -> None:
    (run_folder(tmp_path) / "loss").write_text("1700000002000 3.0 0\n1700000000000 1.0 0\n1700000001000 2.0 0\n")
    (one,) = read(tmp_path, "metrics/loss").series
    assert one.values.tolist() == [1, 2, 3]
    assert np.isnan(one.steps).all()


def test_a_run_that_is_still_running_or_died(tmp_path: Path) -> None:
    run_folder(tmp_path)
    assert read(tmp_path, "meta.yaml").facts == {"status": "running", "finished": False, "started_at": 1.7e9}


def test_metrics_of_a_logged_model_are_passed_over(tmp_path: Path) -> None:
    (run_folder(tmp_path) / "loss").write_text("1700000000000 0.5 1 0123456789abcdef\n")
    assert read(tmp_path, "metrics/loss").source.status == Status.SKIPPED


def test_a_cut_line_and_damaged_lines(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder / "cut").write_text("1700000000000 0.5 1\n17000")
    (folder / "worse").write_text("1700000000000 0.5 1\nhello world\n1700000000000 x 2\n")
    (folder / "none").write_text("hello world\n")
    (folder / "empty").write_text("")
    assert str(read(tmp_path, "metrics/cut").source.detail) == "the last line is cut off"
    assert "2 lines" in str(read(tmp_path, "metrics/worse").source.detail)
    assert read(tmp_path, "metrics/none").source.status == Status.FAILED
    assert read(tmp_path, "metrics/empty").source.status == Status.READ


def test_a_metric_file_is_known_by_its_lines_without_meta_yaml(tmp_path: Path) -> None:
    (tmp_path / "metrics/rollout").mkdir(parents=True)
    (tmp_path / "metrics/rollout/ep_rew_mean").write_text("1700000000000 -3.5 720\n")
    (tmp_path / "metrics/notes.txt").write_text("loss went down\n")
    assert [s.logged_as for s in read(tmp_path, "metrics/rollout/ep_rew_mean").series] == ["rollout/ep_rew_mean"]
    assert not any(r.claims(candidate(tmp_path, "metrics/notes.txt")) for r in READERS)


@given(st.binary(max_size=300), st.sampled_from(["metrics/loss", "params/lr", "meta.yaml", "tags/a"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_in_a_file_store(tmp_path: Path, data: bytes, path: str) -> None:
    for folder in ("metrics", "params", "tags"):
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / "meta.yaml").write_bytes(b"run_id: a\n")
    (tmp_path / path).write_bytes(data)
    one = candidate(tmp_path, path)
    for reader in READERS:
        if reader.claims(one):
            assert isinstance(reader.read(one), Found)


def test_a_line_without_end_is_read_in_pieces(tmp_path: Path) -> None:
    (run_folder(tmp_path) / "loss").write_bytes(b"1700000000000 0.5 1\n" + b"9" * 3_000_000)
    assert [len(s) for s in read(tmp_path, "metrics/loss").series] == [1]


# --- the data base -----------------------------------------------------------------------------------------------------


def test_the_newest_run_of_a_data_base() -> None:
    found = read(FIXTURES, "sqlite/mlflow.db")
    assert found.source.status == Status.READ
    assert "2 runs" in str(found.source.detail)
    series = {s.logged_as: s for s in found.series}
    assert values(series["train/loss"]) == [repr(v) for v in written()]
    assert series["train/loss"].steps.tolist() == [10.0 * i for i in range(12)] + [20.0]
    assert np.isnan(series["without step"].steps).all()
    assert {s.key: s.value for s in found.settings} == {"lr": 0.1, "batch_size": 32, "optimizer": "sgd", "nesterov": True, "clip": None}
    assert found.facts["status"] == "finished"


SCHEMA = """CREATE TABLE runs (run_uuid TEXT PRIMARY KEY, status TEXT, start_time BIGINT, end_time BIGINT, lifecycle_stage TEXT);
CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT, step BIGINT, is_nan BOOLEAN);
CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
        connection.executescript(SCHEMA)
        yield connection


def test_what_only_the_write_ahead_log_has_is_read_and_the_run_is_not_touched(tmp_path: Path, store: sqlite3.Connection) -> None:
    store.execute("PRAGMA journal_mode = WAL")
    store.execute("INSERT INTO runs VALUES ('r', 'RUNNING', 1700000000000, NULL, 'active')")
    store.executemany("INSERT INTO metrics VALUES ('loss', ?, 1700000000000, 'r', ?, 0)", [(1.0 / (i + 1), i) for i in range(5)])
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before["mlflow.db-wal"]) > 0
    found = read(tmp_path, "mlflow.db")
    assert [s.values.tolist() for s in found.series] == [[1.0 / (i + 1) for i in range(5)]]
    assert found.facts == {"status": "running", "finished": False, "started_at": 1.7e9}
    assert found.consumed == ("mlflow.db-wal",)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_run_without_metrics_does_not_hide_the_one_before(tmp_path: Path, store: sqlite3.Connection) -> None:
    store.execute(
        "INSERT INTO runs VALUES ('old', 'FINISHED', 1, 2, 'active'), ('new', 'FAILED', 3, 4, 'active'), ('gone', 'FINISHED', 5, 6, 'deleted')"
    )
    store.execute("INSERT INTO metrics VALUES ('loss', 1.0, 1, 'old', 0, 0), ('loss', 9.0, 1, 'gone', 0, 0)")
    found = read(tmp_path, "mlflow.db")
    assert [s.values.tolist() for s in found.series] == [[1.0]]
    assert "old" in str(found.source.detail)


def test_values_of_wrong_types_are_left_out(tmp_path: Path, store: sqlite3.Connection) -> None:
    store.execute("INSERT INTO runs VALUES ('r', 'FINISHED', 'x', NULL, 'active')")
    store.execute(
        "INSERT INTO metrics VALUES ('loss', 1.0, 1, 'r', 3, 0), ('loss', 'x', 1, 'r', 4, 0), (NULL, 1.0, 1, 'r', 5, 0), ('loss', 2.0, NULL, 'r', 6, 0)"
    )
    store.execute("INSERT INTO metrics VALUES (X'FF', 1.0, 1, 'r', 7, 0), ('loss', 1e999, 1, 'r', 8, 0)")
    found = read(tmp_path, "mlflow.db")
    assert found.source.status == Status.PARTIAL
    (one,) = found.series
    assert one.steps.tolist() == [3, 8]
    assert one.values.tolist() == [1.0, math.inf]


def test_another_data_base_is_skipped(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "study.db", isolation_level=None)) as connection:
        connection.executescript("CREATE TABLE trials (x); INSERT INTO trials VALUES (1);")
    assert read(tmp_path, "study.db").source.status == Status.SKIPPED


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT 'loss', x, 1, 'r', 1, 0 FROM c"


def test_views_in_the_place_of_tables_are_not_asked(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)) as connection:
        connection.executescript(
            SCHEMA
            + f"DROP TABLE metrics; CREATE VIEW metrics(key, value, timestamp, run_uuid, step, is_nan) AS {ENDLESS}; INSERT INTO runs VALUES ('r', '', 1, 1, '');"
        )
    assert read(tmp_path, "mlflow.db").source.status == Status.SKIPPED


def test_a_query_that_does_not_end_is_stopped(tmp_path: Path, store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    store.execute("INSERT INTO runs VALUES ('r', 'FINISHED', 1, 2, 'active')")
    store.execute(f"INSERT INTO metrics SELECT * FROM ({ENDLESS} LIMIT 200000)")
    monkeypatch.setattr(mlflow_sqlite, "TIME_LIMIT", -1.0)
    assert read(tmp_path, "mlflow.db").source.status == Status.FAILED


def test_no_store_above_the_limit_is_copied(tmp_path: Path, store: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_sqlite, "MAX_STORE", 1000)
    monkeypatch.setattr(mlflow_sqlite.shutil, "copyfile", lambda *_a, **_k: pytest.fail("copied"))
    assert read(tmp_path, "mlflow.db").source.status == Status.SKIPPED


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_data_bases(tmp_path: Path, data: st.DataObject) -> None:
    raw = bytearray((FIXTURES / "sqlite/mlflow.db").read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        raw[data.draw(st.integers(16, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(raw), len(raw) // 2, 100, 16]))
    (tmp_path / "mlflow.db").write_bytes(bytes(raw[:cut]))
    assert isinstance(read(tmp_path, "mlflow.db"), Found)


@pytest.mark.parametrize(
    ("place", "named", "key"),
    [("loss", "loss", "loss"), ("metrics/rollout/ep_rew_mean", "metrics/rollout/ep_rew_mean", "rollout/ep_rew_mean")],
)
def test_one_metric_file_named_alone(tmp_path: Path, place: str, named: str, key: str) -> None:
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("1675439144259 -2.5 720\n1675439176197 nan 1440\n1675439208004 1.5e-3 2160\n")
    run = read_run([tmp_path / named])
    (series,) = run.series
    assert (series.logged_as, series.steps.tolist()) == (key, [720, 1440, 2160])
    assert series.values[[0, 2]].tolist() == [-2.5, 0.0015]
    assert run.sources[0].reader == "mlflow"


@pytest.mark.parametrize("text", ["1675439144259 -2.5 720\nhello\n", "step 1 loss 2.5\n", "167543914425 2.5 720\n"])
def test_other_numbers_are_no_metric_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "numbers").write_text(text)
    assert read_run([tmp_path / "numbers"]).sources[0].reader != "mlflow"
