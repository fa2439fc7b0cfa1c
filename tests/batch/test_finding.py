"""Which runs an argument means, and what they are called."""

import io
from pathlib import Path

import pytest

from postmortem.batch.files import report_name
from postmortem.batch.find import find_runs, named
from postmortem.errors import UsageError


def tree(top: Path, *files: str) -> Path:
    for file in files:
        (top / file).parent.mkdir(parents=True, exist_ok=True)
        (top / file).write_text("loss: 1\n", encoding="utf-8")
    return top


def found(top: Path, *arguments: str, **options: object) -> list[str]:
    paths, _ = find_runs(arguments or [str(top)], **options)
    return [p.relative_to(top).as_posix() for p in paths]


def test_a_run_is_itself(tmp_path: Path) -> None:
    assert found(tree(tmp_path, "train.log", "checkpoints/a.pt", "val/metrics.csv")) == ["."]
    assert found(tmp_path, str(tmp_path / "train.log")) == ["train.log"]


def test_a_directory_of_runs_stands_for_each_also_nested(tmp_path: Path) -> None:
    tree(tmp_path, "alice/exp1/train.log", "alice/exp2/train.log", "bob/exp1/version_0/metrics.csv", "bob/exp1/version_1/metrics.csv", "bob/x/a.log")
    assert found(tmp_path) == ["alice/exp1", "alice/exp2", "bob/exp1", "bob/x"]


def test_numbered_jobs_and_logs_beside_them(tmp_path: Path) -> None:
    tree(tmp_path, "41001/out.log", "41002/out.log", "41003/out.log", "submit.log", "logs/all.log")
    paths, remarks = find_runs([str(tmp_path)])
    assert [p.name for p in paths] == ["41001", "41002", "41003"]
    assert len(remarks) == 1
    assert "submit.log" in remarks[0]
    assert "logs/" in remarks[0]


def test_neighbours_without_a_log_are_not_lost(tmp_path: Path) -> None:
    tree(tmp_path, "one/a.log", "two/a.log", "weights-only/model.pt", "validation-study/a.log")
    assert found(tmp_path) == ["one", "two", "validation-study", "weights-only"]


def test_folds_of_one_run_stay_together(tmp_path: Path) -> None:
    assert found(tree(tmp_path, "train.log", "fold_a/train.log", "fold_b/train.log")) == ["."]
    assert found(tree(tmp_path / "other", "rank0/a.log", "rank1/a.log", "rank2/a.log")) == ["."]


def test_globs_lists_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, "jobs/a/t.log", "jobs/b/t.log", "jobs/c.log", "jobs/picture.png", "jobs/.hidden/t.log")
    (tmp_path / "jobs" / "empty").mkdir()
    assert found(tmp_path, str(tmp_path / "jobs/*")) == ["jobs/a", "jobs/b", "jobs/c.log", "jobs/empty"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("jobs/a\n\njobs/b\r\njobs/gone\n", encoding="utf-8")
    expected = ["jobs/a", "jobs/b", "jobs/gone"]
    assert found(tmp_path, "@list") == expected
    assert found(tmp_path, "-", stdin=io.BytesIO(b"jobs/a\0jobs/b\0")) == ["jobs/a", "jobs/b"]
    assert found(tmp_path, "jobs/a", "jobs/*", "@list") == ["jobs/a", "jobs/b", "jobs/c.log", "jobs/empty", "jobs/gone"]
    for wrong in ("nowhere", "no/*/thing", "@nolist"):
        with pytest.raises(UsageError):
            find_runs([wrong])


def test_links_are_followed_at_the_top_only(tmp_path: Path) -> None:
    tree(tmp_path, "real/a/t.log", "real/b/t.log")
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a")
    assert found(tmp_path, str(tmp_path / "real")) == ["real/a", "real/b"]
    assert len(find_runs([str(tmp_path / "link"), str(tmp_path / "real" / "a")])[0]) == 1


def test_names_are_unique_short_and_hide_the_owner_of_a_home() -> None:
    runs = named([Path("/home/alice/x"), Path("/home/bob/x")], lambda user: f"user-{len(user)}")
    assert [r.name for r in runs] == ["user-5/x", "user-3/x"]
    assert [r.name for r in named([Path("/data/runs/a/x"), Path("/data/runs/b")])] == ["a/x", "b"]
    assert [r.name for r in named([Path("/data/runs/a")])] == ["a"]


def test_names_of_reports_are_harmless_and_distinct() -> None:
    names = ["a/b", "a--b", "a b", "a?b", "../../x", "", ".", "ü", "x" * 300, "x" * 301, "<script>", "CON", "a.b"]
    made = [report_name(n) for n in names]
    assert len({m.lower() for m in made}) == len(names)
    assert all("/" not in m and len(m) < 160 and m.isascii() and not m.startswith(".") for m in made)
    assert report_name("exp-1") == "exp-1.html"
