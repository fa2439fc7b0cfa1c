"""What is imported when: `--help` is instant, and a log is analysed without the libraries of checkpoints, plots and compilers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIXTURES = Path(__file__).parents[1] / "fixtures"
LOG = FIXTURES / "overfitting/label-noise-blind/run"
CODE = """
import sys
from postmortem.cli.main import main
try:
    main()
except SystemExit as done:
    assert not done.code, done.code
open(sys.argv[-1] if sys.argv[-1].endswith(".modules") else MODULES, "w").write("\\n".join(sys.modules))
"""


def modules(tmp_path: Path, *arguments: str | Path, blocked: tuple[str, ...] = ()) -> set[str]:
    listing = tmp_path / "seen.modules"
    code = f"MODULES = {str(listing)!r}\nimport sys\n" + "".join(f"sys.modules[{name!r}] = None\n" for name in blocked) + CODE
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "POSTMORTEM_TIMEOUT": "0", "POSTMORTEM_MEMORY": "0"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(listing.read_text().split("\n")) - set(blocked)


def test_help_imports_nothing_of_weight(tmp_path: Path) -> None:
    seen = modules(tmp_path, "--help")
    assert not seen & {"numpy", "torch", "matplotlib", "scipy", "numba", "jinja2", "orjson", "yaml", "h5py"}
    assert not {m for m in seen if m.startswith("postmortem.")} - {
        "postmortem.cli",
        "postmortem.cli.main",
        "postmortem.errors",
        "postmortem.cli.text",
    }


def test_json_of_a_log_needs_only_numpy(tmp_path: Path) -> None:
    seen = modules(tmp_path, "analyze", LOG, "--json", tmp_path / "a.json")
    assert "numpy" in seen
    assert not seen & {"torch", "matplotlib", "matplotlib.pyplot", "scipy", "scipy.stats", "numba", "h5py", "jinja2", "rich", "safetensors", "pandas"}


def test_html_of_a_log_draws_without_pyplot(tmp_path: Path) -> None:
    seen = modules(tmp_path, "analyze", LOG, "-o", tmp_path / "a.html")
    assert {"matplotlib.figure", "jinja2"} <= seen
    assert not seen & {"torch", "matplotlib.pyplot", "scipy.stats", "numba", "h5py", "pandas"}


def test_markdown_draws_nothing(tmp_path: Path) -> None:
    assert not modules(tmp_path, "analyze", LOG, "--markdown", tmp_path / "a.md") & {"torch", "matplotlib", "numba", "h5py", "rich"}


def test_importing_the_package_is_cheap() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import postmortem, sys; print('\\n'.join(sys.modules))"], capture_output=True, text=True, check=True
    )
    assert not set(done.stdout.split()) & {"numpy", "typer", "torch", "postmortem.pipeline"}


@pytest.mark.parametrize("library", ["torch", "numba", "h5py", "yaml", "scipy"])
def test_a_library_that_is_missing_is_not_the_end(tmp_path: Path, library: str) -> None:
    """A run with a YAML configuration, checkpoints and a log is read as far as it can be."""
    case = next(FIXTURES.glob("frozen-parameters/requires-grad-off/run"))
    run = tmp_path / "exp1"
    run.mkdir()
    for file in case.rglob("*"):
        if file.is_file():
            (run / file.name).write_bytes(file.read_bytes())
    (run / "extra.yaml").write_text("learning_rate: 0.1\nbatch_size: 4\n")
    seen = modules(tmp_path, "analyze", run, "--json", tmp_path / "a.json", blocked=(library,))
    assert "postmortem.pipeline" in seen
    text = (tmp_path / "a.json").read_text()
    assert "ImportError" not in text
    assert "ModuleNotFoundError" not in text
    if library == "yaml":
        assert "yaml, which is not installed" in text
