"""The templates are found in a checkout, in a wheel, and in a wheel made from the source distribution."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def build(what: str, source: Path, to: Path) -> Path:
    pytest.importorskip("hatchling")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", what, "-d", str(to)], cwd=source, check=True, capture_output=True)
    return next(to.glob("*.whl" if what == "wheel" else "*.tar.gz"))


def test_the_wheel_holds_the_templates(tmp_path: Path) -> None:
    names = zipfile.ZipFile(build("wheel", ROOT, tmp_path)).namelist()
    assert {f"postmortem/templates/{p.relative_to(ROOT / 'templates').as_posix()}" for p in (ROOT / "templates").rglob("*") if p.is_file()} <= set(
        names
    )
    assert "postmortem/py.typed" in names
    assert not [n for n in names if n.startswith(("tests/", "fixtures/"))]


def test_a_wheel_from_the_source_distribution_holds_them_too(tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    names = zipfile.ZipFile(build("wheel", next((tmp_path / "source").iterdir()), tmp_path / "wheel")).namelist()
    assert {f"postmortem/templates/{p.name}" for p in (ROOT / "templates").iterdir() if p.is_file()} <= set(names)
