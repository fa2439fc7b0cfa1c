import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.errors import UsageError
from postmortem.model.run import Status
from postmortem.sources.discover import discover, several_runs

module = sys.modules["postmortem.sources.discover"]  # the package's attribute of that name is the function


def put(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def names(root: Path, *paths: Path) -> list[str]:
    return [c.path for c in discover(paths or [root]).candidates]


def reasons(root: Path) -> dict[str, str]:
    return {s.path: str(s.detail) for s in discover([root]).skipped}


def test_a_directory_is_walked_in_the_order_of_names(tmp_path: Path) -> None:
    put(tmp_path, "b/2.log", "b/10.log", "a.log", "c/.metadata", ".hydra/config.yaml")
    found = discover([tmp_path])
    assert [c.path for c in found.candidates] == [".hydra/config.yaml", "a.log", "b/10.log", "b/2.log", "c/.metadata"]
    assert found.name == tmp_path.name
    assert found.candidates[2].siblings == {"2.log", "10.log"}
    assert found.candidates[1].head == b"x"
    assert found.skipped == ()


def test_a_file_is_taken_alone_and_whatever_it_is_called(tmp_path: Path) -> None:
    put(tmp_path, "train.py", "config.yaml")
    found = discover([tmp_path / "train.py"])
    assert [c.path for c in found.candidates] == ["train.py"]
    assert found.candidates[0].siblings == {"train.py"}
    assert found.root == tmp_path.resolve()


def test_several_paths_are_named_relative_to_their_common_parent(tmp_path: Path) -> None:
    put(tmp_path, "slurm/1.out", "runs/a/train.log", "runs/b/train.log")
    assert names(tmp_path, tmp_path / "slurm/1.out", tmp_path / "runs/a") == ["runs/a/train.log", "slurm/1.out"]
    assert names(tmp_path, tmp_path / "runs", tmp_path / "runs/a", tmp_path / "runs/a/train.log") == ["a/train.log", "b/train.log"]


def test_a_path_that_does_not_exist_is_the_callers_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        discover([tmp_path / "nothing"])
    with pytest.raises(UsageError):
        discover([Path("a\0b")])


def test_links_are_not_followed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    put(tmp_path, "outside/secret.log")
    put(run, "ckpt/1.pt")
    (run / "best.pt").symlink_to("ckpt/1.pt")
    (run / "loop").symlink_to(".")
    (run / "away").symlink_to(tmp_path / "outside")
    (run / "away.log").symlink_to(tmp_path / "outside/secret.log")
    (run / "gone").symlink_to("nothing")
    assert names(run) == ["ckpt/1.pt"]
    said = " ".join(str(s.detail) for s in discover([run]).skipped)
    assert {s.path for s in discover([run]).skipped if "leave the run" in str(s.detail)} == {"away", "away.log"}
    assert "2 files: links to other files of this run" in said
    assert "links to nothing" in said


def test_a_link_named_by_the_caller_is_followed(tmp_path: Path) -> None:
    put(tmp_path, "real/a.log")
    (tmp_path / "link").symlink_to("real")
    assert names(tmp_path, tmp_path / "link") == ["a.log"]


def test_special_files_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.log")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        listener.bind("s.log")
        put(tmp_path, "a.log")
        assert names(tmp_path) == ["a.log"]
        assert reasons(tmp_path) == {"pipe.log": "named pipes", "s.log": "sockets"}
        assert discover([tmp_path / "pipe.log"]).candidates == ()


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_opened_is_a_failed_source(tmp_path: Path) -> None:
    put(tmp_path, "a.log", "locked/b.log")
    (tmp_path / "a.log").chmod(0)
    (tmp_path / "locked").chmod(0)
    try:
        sources = {s.path: s for s in discover([tmp_path]).skipped}
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert {s.status for s in sources.values()} == {Status.FAILED}
    assert set(sources) == {"a.log", "locked"}


def test_a_file_that_cannot_be_opened_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.log", "b.log")
    real = os.open

    def refuse(path: Path, flags: int) -> int:
        if Path(path).name == "a.log":
            raise PermissionError(13, "Permission denied")
        return real(path, flags)

    monkeypatch.setattr(module.os, "open", refuse)
    found = discover([tmp_path])
    assert [c.path for c in found.candidates] == ["b.log"]
    assert [(s.path, s.status, str(s.detail)) for s in found.skipped] == [("a.log", Status.FAILED, "it cannot be opened: Permission denied")]


def test_bystanders_are_counted_by_kind(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.log",
        *(f"samples/{n}.png" for n in range(5)),
        "tokenizer.json",
        ".git/HEAD",
        ".venv/x/y.log",
        "src/__pycache__/m.log",
        "train.py",
    )
    put(tmp_path, "wandb/run-1/logs/debug.log", "wandb/run-1/files/output.log", "events.out.tfevents.1.box.py")
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n....")
    assert names(tmp_path) == ["a.log", "events.out.tfevents.1.box.py", "wandb/run-1/files/output.log"]
    found = reasons(tmp_path)
    assert "6 files: images" in found["."] or "6 files: images" in found.values()
    assert found["tokenizer.json"] == "tokenizer files"
    assert found["wandb/run-1/logs/debug.log"] == "logs of the tracking tool about itself"


def test_a_label_file_for_each_picture_is_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CROWD", 5)
    put(tmp_path, *(f"labels/{n}.txt" for n in range(8)), *(f"ckpt/{n}.pt" for n in range(8)), "train.txt")
    assert names(tmp_path) == [*(f"ckpt/{n}.pt" for n in range(8)), "train.txt"]
    assert reasons(tmp_path) == {"labels": "8 files: files of a data set"}


@pytest.mark.parametrize("name", ["two\nlines.log", "\x1b[31m.log", "\u202egol.txt", "-rf.log", os.fsdecode(b"\xff\xfe.log"), "a\\b.log", "{x}.log"])
def test_odd_names_are_data(tmp_path: Path, name: str) -> None:
    put(tmp_path, name)
    assert names(tmp_path) == [name]


def test_limits_of_number_and_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_FILES", 10)
    put(tmp_path, *(f"{n}.log" for n in range(30)))
    assert len(names(tmp_path)) <= 10
    assert "only the first 10 files" in str(discover([tmp_path]).skipped[-1].detail)
    monkeypatch.setattr(module, "MAX_FILES", 200)
    deep = tmp_path / "deep"
    put(deep, "/".join(["d"] * 45) + "/a.log", "top.log")
    assert names(deep) == ["top.log"]
    assert "more than 40 levels" in str(discover([deep]).skipped[0].detail)


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30), max_size=6))
@settings(max_examples=40, deadline=None)
def test_any_names_are_found_once_or_noted(tmp_path_factory: pytest.TempPathFactory, chosen: list[str]) -> None:
    root = tmp_path_factory.mktemp("run")
    made = set()
    for name in chosen:
        if name not in (".", ".."):
            try:
                (root / name).write_bytes(b"1")
            except OSError:
                continue
            made.add(name)
    found = discover([root])
    taken = [c.path for c in found.candidates]
    assert len(taken) == len(set(taken))
    assert set(taken) <= made
    assert bool(found.skipped) == (set(taken) != made)
    assert found == discover([root])


@pytest.mark.parametrize(
    ("paths", "runs"),
    [
        (("exp1/train.log", "exp1/a.pt", "exp2/train.log"), ("exp1", "exp2")),
        (("sweep/exp1/metrics.csv", "sweep/exp2/metrics.csv", "sweep/exp3/metrics.csv"), ("sweep/exp1", "sweep/exp2", "sweep/exp3")),
        (("train.log", "exp1/train.log", "exp2/train.log"), ()),
        (("lightning_logs/version_0/metrics.csv", "lightning_logs/version_1/metrics.csv"), ()),
        (("checkpoint-10/trainer_state.json", "checkpoint-20/trainer_state.json"), ()),
        (("train/events.out.tfevents.1", "validation/events.out.tfevents.2"), ()),
        (("loss_train/events.out.tfevents.1", "loss_val/events.out.tfevents.2"), ()),
        (("resnet/events.out.tfevents.1", "vit/events.out.tfevents.2"), ("resnet", "vit")),
        (("wandb/run-1-a/files/output.log", "wandb/run-2-b/files/output.log"), ()),
        (("exp1/train.log", "ckpts/1.pt"), ()),
        (("20240101_101010/20240101.log", "20240102_101010/20240102.log", "epoch_1.pth"), ()),
        (("0/train.log", "0/.hydra/config.yaml", "1/train.log", "1/.hydra/config.yaml"), ("0", "1")),
        (("mlruns/0/aa/meta.yaml", "mlruns/0/aa/metrics/loss", "mlruns/0/meta.yaml"), ()),
        (
            ("mlruns/0/aa/meta.yaml", "mlruns/0/aa/metrics/loss", "mlruns/0/bb/meta.yaml", "mlruns/0/bb/metrics/loss"),
            ("mlruns/0/aa", "mlruns/0/bb"),
        ),
        (("rank0/stdout.log", "rank1/stdout.log"), ()),
        ((), ()),
    ],
)
def test_several_runs(tmp_path: Path, paths: tuple[str, ...], runs: tuple[str, ...]) -> None:
    put(tmp_path, *paths)
    assert several_runs(discover([tmp_path])) == runs


def test_pointers_of_git_lfs_are_not_taken_for_the_files(tmp_path: Path) -> None:
    put(tmp_path, "model.safetensors", "runs/events.out.tfevents.1.host", text="version https://git-lfs.github.com/spec/v1\noid sha256:0b\nsize 12\n")
    put(tmp_path, "train.log", text="loss 1")
    found = discover([tmp_path])
    assert [c.path for c in found.candidates] == ["train.log"]
    assert any("git lfs pull" in str(s.detail) for s in found.skipped)


def test_of_ever_so_many_logs_the_first_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import postmortem.sources

    monkeypatch.setattr(postmortem.sources, "MOST_ALIKE", 3)
    for n in range(7):
        (tmp_path / f"rank{n}.log").write_text("step 1 loss 1\nstep 2 loss 0.5\n")
    (tmp_path / "metrics.csv").write_text("step,val_loss\n1,2\n2,1\n")
    run = postmortem.sources.read_run([tmp_path])
    assert [s.path for s in run.sources if s.reader] == ["metrics.csv", "rank0.log", "rank1.log", "rank2.log"]
    (rest,) = [s for s in run.sources if not s.reader]
    assert (rest.path, str(rest.detail).startswith("4 files from here on")) == ("rank3.log", True)
