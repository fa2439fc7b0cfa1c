"""The command line as a user meets it: statuses, places, sentences, and nothing half-written."""

import errno
import json
import os
import pickle
import pty
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from postmortem.checklist import checklist
from postmortem.cli import main as cli
from postmortem.cli.files import default_report, write_result
from postmortem.cli.inspect import asides, tensor_lines
from postmortem.errors import OutputError
from postmortem.model.tensors import CheckpointStats
from tests.warm import Warm

FIXTURES = Path(__file__).parents[1] / "fixtures"
COMMAND = [sys.executable, "-c", "from postmortem.cli.main import main; main()"]
LOG = "".join(f"step {n} loss {2.5 - n / 100:.4f} lr 0.1\n" for n in range(0, 100, 2))


WARM: list[Warm] = []


@pytest.fixture(scope="module", autouse=True)
def _warm(a_warm_process: Warm) -> None:
    WARM[:] = [a_warm_process]


def run(*arguments: str | Path, cwd: Path | None = None, stdin: bytes | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a warm process; in one of its own where what the interpreter finds as it starts is another."""
    if not environment:
        return WARM[0]([str(a) for a in arguments], cwd or Path.cwd(), stdin or b"")
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        input=stdin if stdin is not None else b"",
        capture_output=True,
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error."""
    assert done.stderr.startswith("postmortem: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("postmortem: ").strip()


@pytest.fixture
def exp(tmp_path: Path) -> Path:
    folder = tmp_path / "exp1"
    folder.mkdir()
    (folder / "train.log").write_text(LOG)
    return folder


def inside(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


# --- statuses -------------------------------------------------------------------------------------------------------


def test_0_done_and_the_report_is_beside_the_run_not_in_it(exp: Path) -> None:
    done = run("analyze", "exp1", cwd=exp.parent)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "Report: postmortem-exp1.html"
    assert (exp.parent / "postmortem-exp1.html").read_text().startswith("<!DOCTYPE html>")
    assert inside(exp) == {"train.log"}


def test_1_a_finding_as_severe_as_asked_for(tmp_path: Path) -> None:
    bad = FIXTURES / "crash/python-error/run"
    assert run("analyze", bad, "--json", tmp_path / "a.json", "--fail-on", "fatal").returncode == 1
    assert (tmp_path / "a.json").exists()
    assert run("analyze", FIXTURES / "healthy/pytorch/run", "--json", "-", "--fail-on", "minor").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("analyze", "nowhere"), "there is no nowhere"),
        (("sources", "nowhere"), "there is no nowhere"),
        (("inspect", "nowhere"), "there is no nowhere"),
        (("render", "nowhere.json"), "cannot read nowhere.json: No such file or directory"),
        (("analyze",), "Missing argument 'RUN...'."),
        (("analyse", "x"), "No such command 'analyse'."),
        (("analyze", "train.log", "--fail-on", "bad"), "'bad' is not one of 'fatal', 'serious', 'minor'."),
        (("analyze", "train.log", "--alias", "x"), "--alias takes KEY=NAME, such as mynll=val/loss; not 'x'"),
        (("analyze", "train.log", "--alias", "nll=val/los"), "'val/los' is not the name of a series that is known; names are train|val|test/loss|"),
        (("analyze", "train.log", "--ignore", "nonsense"), "ignore names no failure mode of the checklist: nonsense"),
        (("checklist", "nonsense"), "the checklist has no 'nonsense'"),
        (("render", "train.log"), "this is not JSON"),
    ],
)
def test_2_usage(exp: Path, arguments: tuple[str, ...], expected: str) -> None:
    done = run(*arguments, cwd=exp)
    assert done.returncode == 2
    assert expected in sentence(done)
    assert inside(exp) == {"train.log"}


def test_2_an_unknown_family_lists_the_known(exp: Path) -> None:
    done = run("analyze", exp, "--family", "nonsense")
    assert done.returncode == 2
    assert "classifier" in sentence(done)


def test_2_several_runs_in_one_directory(exp: Path) -> None:
    shutil.copytree(exp, exp.parent / "runs" / "alice")
    shutil.copytree(exp, exp.parent / "runs" / "bob")
    done = run("analyze", "runs", cwd=exp.parent)
    assert done.returncode == 2
    assert "runs holds 2 runs (alice, bob)" in sentence(done)


def picture(folder: Path) -> None:
    for n in range(3):
        (folder / f"{n}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))


def binary(folder: Path) -> None:
    (folder / "train.log").write_bytes(bytes(range(256)) * 40)


def odd(folder: Path) -> None:
    (folder / "notes.xyz").write_bytes(b"\x00\x01\x02" * 100)


def empty_log(folder: Path) -> None:
    (folder / "train.log").write_bytes(b"")


def configured(folder: Path) -> None:
    (folder / "config.json").write_text('{"lr": 0.1, "epochs": 3, "batch_size": 4}')


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (lambda _: None, "the directory is empty"),
        (picture, "3 files"),
        (binary, "train.log"),
        (odd, "notes.xyz"),
        (empty_log, "train.log"),
        (configured, "'config.json' (it holds settings and no curve)"),
    ],
    ids=["empty", "pictures", "binary.log", "unknown", "empty.log", "configuration"],
)
def test_3_nothing_readable(tmp_path: Path, fill: object, expected: str) -> None:
    folder = tmp_path / "exp1"
    folder.mkdir()
    fill(folder)  # type: ignore[operator]
    done = run("analyze", folder, cwd=tmp_path)
    assert done.returncode == 3, done.stdout
    assert expected in sentence(done)
    assert not list(tmp_path.glob("*.html"))


def test_4_an_internal_error_is_one_sentence_that_says_how_to_report_it(exp: Path) -> None:
    broken = "import postmortem.pipeline as p, sys\ndef f(*a, **k): raise RuntimeError('boom')\np.analyze = f\nfrom postmortem.cli.main import main\nmain()"
    done = subprocess.run([sys.executable, "-c", broken, "analyze", str(exp)], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "internal error: RuntimeError: boom" in sentence(done)
    assert "report" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").exists(), reason="needs a place that cannot be written")
@pytest.mark.parametrize(
    ("option", "target"), [("-o", "missing/x.html"), ("-o", "exp1"), ("--json", "exp1"), ("--markdown", "/proc/x.md"), ("-o", "train.txt/x.html")]
)
def test_5_cannot_write(exp: Path, option: str, target: str) -> None:
    (exp.parent / "train.txt").write_text("")
    before = inside(exp.parent)
    done = run("analyze", "exp1", option, target, cwd=exp.parent)
    assert done.returncode == 5
    assert sentence(done).startswith(f"cannot write {target}: ")
    assert inside(exp.parent) == before


def test_5_a_full_disk_leaves_the_old_report(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = exp.parent / "report.html"
    target.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_result(target, "new")
    assert target.read_text() == "old"
    assert inside(exp.parent) == {"exp1", "exp1/train.log", "report.html"}


def test_5_a_full_standard_output(exp: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*COMMAND, "analyze", str(exp), "--json", "-"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 5
    assert done.stderr == "postmortem: cannot write to standard output: No space left on device\n"


def test_130_interrupted_leaves_nothing_behind(exp: Path, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    with tarfile.open(tmp_path / "exp1.tar.gz", "w:gz") as archive:
        archive.add(exp, "exp1")
    slow = (
        "import time, sys, postmortem.pipeline as p\ndef wait(*a, **k):\n    print('here', flush=True); time.sleep(60)\n"
        "p.diagnose_run = wait\nfrom postmortem.cli.main import main\nmain()"
    )
    going = subprocess.Popen(
        [sys.executable, "-c", slow, "analyze", "exp1.tar.gz", "-o", "x.html"], cwd=tmp_path, env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert going.stdout is not None
    going.stdout.readline()
    assert inside(temporary)
    going.send_signal(signal.SIGINT)
    _, complaint = going.communicate(timeout=20)
    assert (going.returncode, complaint) == (130, "postmortem: interrupted\n")
    assert not inside(temporary)
    assert not (tmp_path / "x.html").exists()


# --- outputs --------------------------------------------------------------------------------------------------------


def test_all_outputs_at_once_and_nothing_else(exp: Path) -> None:
    done = run("analyze", "exp1", "-o", "a.html", "--json", "a.json", "--markdown", "-", cwd=exp.parent)
    assert done.returncode == 0
    assert inside(exp.parent) == {"exp1", "exp1/train.log", "a.html", "a.json"}
    assert done.stdout.startswith("#")
    assert json.loads((exp.parent / "a.json").read_text())["exhibits"]["curves"]
    again = run("render", "a.json", "-o", "-", cwd=exp.parent)
    assert again.stdout == (exp.parent / "a.html").read_text()


def test_a_report_elsewhere_is_shown_like_one_here(exp: Path) -> None:
    here, there = (run("analyze", "exp1", *option, cwd=exp.parent).stdout.splitlines() for option in ((), ("-o", "a.html")))
    assert here[-1] == "Report: postmortem-exp1.html"
    assert there == [*here[:-1], "Report: a.html"]


def test_no_exhibits_is_about_the_json_only(exp: Path) -> None:
    run("analyze", "exp1", "-o", "a.html", cwd=exp.parent)
    done = run("analyze", "exp1", "--json", "-", "-o", "b.html", "--no-exhibits", cwd=exp.parent)
    assert json.loads(done.stdout)["exhibits"]["curves"] == []
    assert (exp.parent / "a.html").read_bytes() == (exp.parent / "b.html").read_bytes()


def test_the_report_of_a_run_that_one_stands_in_goes_to_its_parent(exp: Path) -> None:
    (exp / "logs").mkdir()
    done = run("analyze", "..", cwd=exp / "logs")
    assert done.returncode == 0
    assert inside(exp.parent) == {"exp1", "exp1/train.log", "exp1/logs", "postmortem-exp1.html"}
    here = run("analyze", ".", cwd=exp)
    assert here.returncode == 0
    assert inside(exp) == {"train.log", "logs"}


def test_the_report_of_a_file(exp: Path) -> None:
    assert run("analyze", exp / "train.log", cwd=exp.parent).returncode == 0
    assert (exp.parent / "postmortem-train.log.html").exists()


def test_the_report_of_a_file_that_one_stands_beside_is_not_in_the_run(exp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(exp.parent)
    assert default_report(["exp1"], "../a b/:x") == exp.parent / "postmortem-a-b--x.html"
    monkeypatch.chdir(exp)
    assert default_report(["train.log"], "x") == exp / "postmortem-x.html"


def test_intents_are_handed_on(exp: Path) -> None:
    done = run("analyze", exp, "--json", "-", "--family", "gan", "--ignore", "overfitting", "--frozen", "backbone.*", "--alias", "loss=val/loss")
    data = json.loads(done.stdout)
    assert data["run"]["family"] == "gan"
    assert next(s for s in data["run"]["series"] if s["logged_as"] == "loss")["name"] == "val/loss"
    assert next(f for f in data["findings"] if f["mode"] == "overfitting")["status"] != "present"


def test_intents_from_the_run_s_own_file(exp: Path) -> None:
    (exp / "postmortem.toml").write_text('family = "gan"\n[aliases]\nloss = "val/loss"\n')
    data = json.loads(run("analyze", exp, "--json", "-").stdout)
    assert data["run"]["family"] == "gan"
    assert data["run"]["series"][0]["name"] == "val/loss"
    flags = json.loads(run("analyze", exp, "--json", "-", "--family", "regression").stdout)
    assert flags["run"]["family"] == "regression"
    assert flags["run"]["series"][0]["name"] == "val/loss"  # a flag does not undo the rest of the file
    assert [(s["reader"], s["status"]) for s in data["run"]["sources"] if s["path"] == "postmortem.toml"] == [("stated", "read")]


@pytest.mark.parametrize(
    "text", ["family = [", "x = " + "[" * 60_000, 'family = "cat"', "ignore = 3", 'ignore = ["nothing"]', "x = 1" + "0" * 5000, "\xff"]
)
def test_a_malformed_file_of_intents_stops_nobody_but_its_author(exp: Path, tmp_path: Path, text: str) -> None:
    (exp / "postmortem.toml").write_bytes(text.encode("latin-1"))
    done = run("analyze", exp, "--json", "-", cwd=tmp_path)
    assert done.returncode == 0
    assert "postmortem.toml: it was not used: " in sentence(done)
    own = [s for s in json.loads(done.stdout)["run"]["sources"] if s["path"] == "postmortem.toml"]
    assert [(s["reader"], s["status"]) for s in own] == [("stated", "failed")]
    (exp / "postmortem.toml").rename(tmp_path / "postmortem.toml")
    done = run("analyze", exp, cwd=tmp_path)  # one's own, in the working directory
    assert done.returncode == 2


def test_the_rest_of_the_commands_speak_json(exp: Path) -> None:
    assert json.loads(run("sources", exp, "--json").stdout)["series"][0]["name"] == "train/loss"
    assert {m["id"] for m in json.loads(run("checklist", "--json").stdout)} >= {"crash", "overfitting"}
    assert json.loads(run("checklist", "overfitting", "--json").stdout)["id"] == "overfitting"
    assert json.loads(run("inspect", next((FIXTURES / "frozen-parameters/requires-grad-off/run").rglob("*.pt")), "--json").stdout)["checkpoints"][0][
        "tensors"
    ]
    assert "train.log" in run("sources", exp).stdout


# --- inputs ---------------------------------------------------------------------------------------------------------


def series_of(done: subprocess.CompletedProcess[str]) -> list[tuple[str, int]]:
    assert done.returncode == 0, done.stderr
    return [(s["name"], s["points"]) for s in json.loads(done.stdout)["run"]["series"]]


def test_a_log_on_standard_input(exp: Path) -> None:
    expected = series_of(run("analyze", exp, "--json", "-"))
    assert expected
    assert series_of(run("analyze", "-", "--json", "-", stdin=LOG.encode())) == expected
    report = run("analyze", "-", cwd=exp.parent, stdin=LOG.encode())
    assert report.returncode == 0
    assert len(list(exp.parent.glob("postmortem-*.html"))) == 1


def test_nothing_on_standard_input(tmp_path: Path) -> None:
    assert run("analyze", "-", cwd=tmp_path, stdin=b"").returncode == 3


@pytest.mark.parametrize("ending", [".tar.gz", ".zip", ".tar"])
def test_archives(exp: Path, ending: str) -> None:
    archive = exp.parent / f"exp1{ending}"
    if ending == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            file.write(exp / "train.log", "exp1/train.log")
    else:
        with tarfile.open(archive, "w:gz" if ending.endswith("gz") else "w") as file:
            file.add(exp, "exp1")
    done, plain = run("analyze", archive, "--json", "-"), run("analyze", exp, "--json", "-")
    assert done.stdout == plain.stdout


def test_several_paths_of_one_run(exp: Path) -> None:
    (exp / "val.csv").write_text("step,val_loss\n" + "".join(f"{n},{3 - n / 100}\n" for n in range(0, 100, 10)))
    both = series_of(run("analyze", exp / "train.log", exp / "val.csv", "--json", "-"))
    assert {name for name, _ in both} >= {"train/loss", "val/loss"}


def test_a_pickle_that_would_run_something_is_reported_and_runs_nothing(exp: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path}/executed",)

    (exp / "model.pt").write_bytes(pickle.dumps({"state_dict": Evil()}))
    done = run("analyze", exp, "-o", tmp_path / "a.html", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0
    data = json.loads(done.stdout)
    assert any(s["refused"] for s in data["run"]["sources"])
    assert "system" in json.dumps(data["run"]["sources"])
    assert "system" in (tmp_path / "a.html").read_text()
    assert not (tmp_path / "executed").exists()


def test_a_truncated_checkpoint_alone_is_a_finding(tmp_path: Path) -> None:
    source = next((FIXTURES / "frozen-parameters/requires-grad-off/run").rglob("*.pt"))
    (tmp_path / "exp1").mkdir()
    (tmp_path / "exp1/step_100.pt").write_bytes(source.read_bytes()[:-2000])
    done = run("analyze", "exp1", "--json", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"]["mode"] == "corrupt-checkpoint"


def test_odd_names_of_files(exp: Path) -> None:
    odd_name = os.fsencode(exp) + b"/tr\xffin \x1b[31m<b>.log"
    (exp / "train.log").rename(os.fsdecode(odd_name))
    done = run("analyze", "exp1", "-o", "a.html", "--json", "a.json", "--markdown", "a.md", cwd=exp.parent)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in (exp.parent / "a.html").read_text()
    assert "<b>.log" not in (exp.parent / "a.html").read_text()
    shown = run("analyze", "exp1", cwd=exp.parent)
    assert "\x1b[31m" not in shown.stdout


# --- surroundings ---------------------------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes_anywhere(exp: Path, tmp_path: Path) -> None:
    shutil.copy(next((FIXTURES / "frozen-parameters/requires-grad-off/run").rglob("*.pt")), exp / "step_50.pt")
    other = tmp_path / "elsewhere" / "deep"
    shutil.copytree(exp, other / "exp1")
    for seed, place, target in (("0", tmp_path, "exp1"), ("1", other, "exp1"), ("2", other / "exp1", other / "exp1")):
        done = run(
            "analyze",
            target,
            "-o",
            tmp_path / f"{seed}.html",
            "--json",
            tmp_path / f"{seed}.json",
            "--markdown",
            tmp_path / f"{seed}.md",
            cwd=place,
            PYTHONHASHSEED=seed,
        )
        assert done.returncode == 0, done.stderr
    for kind in ("json", "html", "md"):
        texts = [(tmp_path / f"{seed}.{kind}").read_bytes() for seed in "012"]
        assert texts[0] == texts[1] == texts[2]
        assert str(tmp_path).encode() not in texts[0]
        assert b"/tmp/" not in texts[0]


def test_a_reader_that_stops_reading_is_no_error(exp: Path) -> None:
    for arguments in (
        ("analyze", str(exp), "--json", "-"),
        ("analyze", str(exp), "--markdown", "-"),
        ("checklist",),
        ("checklist", "--json"),
        ("sources", str(exp)),
    ):
        with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as going:
            assert going.stdout is not None
            assert going.stderr is not None
            going.stdout.close()
            assert going.stderr.read() == b""
            assert going.wait(timeout=60) == 0


def test_other_locales_and_homes(exp: Path, tmp_path: Path) -> None:
    plain = run("analyze", exp, "--json", "-", "--markdown", tmp_path / "a.md")
    poor = {k: v for k, v in os.environ.items() if k not in ("HOME", "LANG", "LC_ALL", "XDG_CACHE_HOME", "MPLCONFIGDIR")}
    poor.update(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    for environment in (poor, {**poor, "HOME": "/proc/none"}):
        done = subprocess.run(
            [*COMMAND, "analyze", str(exp), "--json", "-", "-o", str(tmp_path / "a.html")], env=environment, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode() == plain.stdout
        assert subprocess.run([*COMMAND, "checklist", "no-warmup"], env=environment, capture_output=True, check=False).returncode == 0
    shown = subprocess.run([*COMMAND, "analyze", str(exp)], env=environment, cwd=tmp_path, capture_output=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, b"")


def on_a_terminal(*arguments: str, cwd: Path, **environment: str) -> bytes:
    leader, follower = pty.openpty()
    going = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", **environment},
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    assert going.wait(timeout=60) == 0
    return shown


def test_colour_on_a_terminal_unless_it_is_not_wanted(exp: Path) -> None:
    environment = {k: "" for k in ("NO_COLOR", "FORCE_COLOR") if k in os.environ}
    assert b"\x1b[" in on_a_terminal("analyze", "exp1", cwd=exp.parent, **environment)
    without = on_a_terminal("analyze", "exp1", cwd=exp.parent, NO_COLOR="1")
    assert b"\x1b[3" not in without
    assert b"\x1b[9" not in without
    assert "\x1b" not in run("analyze", "exp1", cwd=exp.parent).stdout


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("postmortem 0.")
    shown = run("--help").stdout
    for command in ("analyze", "checklist", "inspect", "sources", "render"):
        assert command in shown
        assert run(command, "--help").returncode == 0
    assert cli.app is not None


def test_writing_is_quick_to_notice_a_directory_that_is_not_there(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(OutputError, match="No such file"):
        write_result(tmp_path / "a" / "b.html", "x")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("item", ["", "exploding-gradients", "learning-rate-too-high"])
def test_lines_of_the_checklist_go_on_under_their_beginning(item: str) -> None:
    lines = run("checklist", *filter(None, [item])).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    bullets = [(a, b) for a, b in pairwise(lines) if a.startswith("  · ") and b and not b.startswith("  · ")]
    assert all(b.startswith("    ") for _, b in bullets)
    if not item:
        assert all(line.startswith((" " * 21, *(m.id for m in checklist()))) for line in lines)


def test_inspect_has_a_line_per_tensor_where_nothing_limits_it() -> None:
    checkpoint = next((FIXTURES / "frozen-parameters/requires-grad-off/run").rglob("*.pt"))
    tensors = json.loads(run("inspect", checkpoint, "--json").stdout)["checkpoints"][0]["tensors"]
    first, *lines = run("inspect", checkpoint).stdout.splitlines()
    assert f"{len(tensors)} tensors" in first
    assert lines[0].startswith("output bias: its softmax is 0.")
    assert lines[1].split() == ["tensor", "shape", "dtype", "mean", "std", "min", "max", "zero", "NaN/Inf", "grad", "RMS"]
    assert [line.split()[0] for line in lines[2:10]] == [t["name"] for t in tensors]
    assert lines[10] == "model: convolutional, 3,658 parameters, output layer classifier.4.weight with 10 outputs"
    assert lines[11:] == ["  features: 1,248", "  classifier: 2,410"]


def test_inspect_tells_heads_that_equal_one_another(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(16, 16, generator=generator)
    weight[12:] = weight[4:8]
    state = {"layer.0.attention.self.query.weight": weight, "layer.0.attention.self.key.weight": torch.rand(16, 16, generator=generator)}
    torch.save(state, tmp_path / "model.pt")
    (tmp_path / "config.json").write_text('{"num_attention_heads": 4, "hidden_size": 16}')
    out = run("inspect", tmp_path).stdout
    assert "query.weight: 50.0% equal another row, 2 of its 4 heads equal another one\n" in out
    assert "model: transformer, 512 parameters, 4 heads of 4 (by num_attention_heads)" in out


def test_inspect_tells_how_tensors_moved_and_which_rows_are_alike(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(16, 6, generator=generator)
    weight[8:16] = weight[:8]
    for n in range(3):
        state = {
            "attn.q.weight": weight * (1 + n / 10),
            "attn.k.weight": torch.rand(16, 6, generator=generator),
            "norm.weight": torch.ones(6) * (1 + n),
        }
        state["attn.k.weight"][3] = 0 if n < 2 else float("nan")
        torch.save(state, tmp_path / f"step_{n * 100}.pt")
    out = run("inspect", tmp_path).stdout
    assert "attn.q.weight: 100.0% equal another row, 8 rows stand there once more in the same order, as duplicate heads do" in out
    assert "attn.k.weight: 6.2% of its rows are zero" in out
    assert "moved since step 0 by " in out
    assert "update-to-weight ratio at least 0.00" in out
    assert "attn.k.weight: finite from step_0.pt to step_100.pt" in out
    weights = json.loads(run("inspect", tmp_path, "--json").stdout)["weights"]
    assert weights["finite_in"]["attn.k.weight"] == ["step_0.pt", "step_100.pt"]


def test_inspect_tells_what_the_gradients_are_made_of(tmp_path: Path) -> None:
    """Of two tensors one never got a gradient but noise below ε, of the other all steps agree."""
    torch.manual_seed(0)
    quiet, agreed = (torch.nn.Parameter(torch.randn(4, 3)) for _ in range(2))
    optimizer = torch.optim.Adam([{"params": [quiet], "eps": 1e-3}, {"params": [agreed]}])
    for _ in range(200):
        quiet.grad, agreed.grad = 1e-5 * torch.randn(4, 3), torch.ones(4, 3)
        optimizer.step()
    torch.save({"model": {"quiet": quiet.data, "agreed": agreed.data}, "optimizer": optimizer.state_dict()}, tmp_path / "step_200.pt")
    lines = run("inspect", tmp_path).stdout.splitlines()
    assert "optimizer: adam, 200 steps, learning rate 0.001" in lines
    (line,) = (line for line in lines if line.startswith("gradients: "))
    assert "(median over 2 tensors, 0." in line
    assert "to 1; near 1 steps agree" in line
    assert "√v below ε in 1 tensors, most in quiet (100.0%)" in line


def test_inspect_names_what_it_could_not_measure() -> None:
    """As where a file shrank after it was found."""
    (line,) = asides(CheckpointStats("c.pt", None, None, (), unread=tuple(f"{n}.weight" for n in range(9))))
    assert line.endswith("no numbers: 0.weight, 1.weight, 2.weight, 3.weight, 4.weight, 5.weight, 6.weight, 7.weight, …")
    assert not [*asides(CheckpointStats("c.pt", None, None, ()))]


def test_inspect_puts_long_names_above_their_figures() -> None:
    row = ("4×4", "float32", "0.1", "0.2", "-1", "1", "0%", "", "0.001")
    lines = "\n".join(tensor_lines(["x" * 60, "y"], [row, row], 80)).splitlines()
    assert max(map(len, lines)) <= 80
    assert (lines[0], lines[2], lines[4]) == ("tensor", "x" * 60, "y")
    assert lines[3] == lines[5]


def test_many_files_of_a_directory_take_one_row(tmp_path: Path) -> None:
    """A tracking store has a file for each setting; all of them are in the JSON."""
    store = tmp_path / "mlruns/0/ab12"
    for folder in ("params", "metrics"):
        (store / folder).mkdir(parents=True)
    (store / "meta.yaml").write_text("artifact_uri: x\nrun_id: ab12\nrun_uuid: ab12\nstatus: 3\nlifecycle_stage: active\n")
    (store / "metrics/loss").write_text("".join(f"{1000 + n} {1 / (n + 1)} {n}\n" for n in range(20)))
    for n in range(40):
        (store / f"params/setting{n}").write_text("1")
    said = run("sources", tmp_path).stdout
    assert "mlruns/0/ab12/params/ (40 files)" in said
    assert "setting7" not in said
    assert "metrics/loss" in said
    assert len([s for s in json.loads(run("sources", tmp_path, "--json").stdout)["sources"] if "/params/" in s["path"]]) == 40


def test_sources_names_series_as_the_user_does(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,mynll,mine\n1,2.0,1\n2,1.5,1\n3,1.2,1\n")
    (tmp_path / "postmortem.toml").write_text('[aliases]\nmine = "lr"\n')
    done = run("sources", tmp_path, "--json", "--alias", "mynll=val/loss", "--alias", "nosuch=train/loss")
    data = json.loads(done.stdout)
    assert {s["logged_as"]: s["name"] for s in data["series"]} == {"mynll": "val/loss", "mine": "lr"}
    assert ("stated", "read") in [(s["reader"], s["status"]) for s in data["sources"]]
    assert done.stderr == "postmortem: no series is logged as 'nosuch'\n"
