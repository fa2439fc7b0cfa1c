import gzip
import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from postmortem.model.run import Status
from postmortem.sources import archives
from postmortem.sources.archives import is_archive, opened
from postmortem.sources.zip_start import shortened


def tar(path: Path, *entries: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz", form: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for info, data in entries:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mtime = kind, link, 1_700_000_000
    return info


def contents(path: Path) -> dict[str, bytes]:
    with opened(path) as run:
        return {f.relative_to(run.directory).as_posix(): f.read_bytes() for f in sorted(run.directory.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tar(tmp_path: Path, mode: str, form: int) -> None:
    long = "exp/" + "/".join(["directory" * 3] * 5) + "/a.log"
    path = tar(tmp_path / "exp.tgz", (member("exp/a.log"), b"x" * 1000), (member(long), b"y" * 512), (member("exp/z"), b""), mode=mode, form=form)
    assert is_archive(path)
    assert contents(path) == {"a.log": b"x" * 1000, long.removeprefix("exp/"): b"y" * 512, "z": b""}
    with opened(path) as run:
        assert run.name == "exp"
        assert (run.directory / "a.log").stat().st_mtime == 1_700_000_000
        held = run.directory
    assert not held.exists()


def test_odd_names_in_a_tar(tmp_path: Path) -> None:
    names = ["ümlaut\n.log", os.fsdecode(b"\xff.log"), "b" * 200 + ".log"]
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        assert set(contents(tar(tmp_path / f"{form}.tar", *((member(n), b"1") for n in names), mode="w", form=form))) == set(names)


def test_zip(tmp_path: Path) -> None:
    path = tmp_path / "runs.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/train.log", "loss 1")
        archive.writestr("b/train.log", "loss 2")
    assert contents(path) == {"a/train.log": b"loss 1", "b/train.log": b"loss 2"}
    with opened(path) as run:
        assert (run.name, run.skipped) == ("runs", ())


def test_a_packed_log(tmp_path: Path) -> None:
    path = tmp_path / "train.log.gz"
    path.write_bytes(gzip.compress(b"loss 1\n" * 1000))
    assert contents(path) == {"train.log": b"loss 1\n" * 1000}


def test_checkpoints_are_no_archives(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.zip")
    np.savez(tmp_path / "b.npz", a=np.ones(3))
    with zipfile.ZipFile(tmp_path / "c.keras", "w") as archive:
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    (tmp_path / "d.log").write_text("loss 1")
    for name in ("a.zip", "b.npz", "c.keras", "d.log", "."):
        assert not is_archive(tmp_path / name)
        with opened(tmp_path / name) as run:
            assert run.directory == tmp_path / name


def test_packers_that_are_not_read_are_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "run.tar.xz", "w:xz") as archive:
        archive.addfile(member("a.log"))
    with opened(tmp_path / "run.tar.xz") as run:
        assert "packed with xz" in str(run.skipped[0].detail)


def test_an_archive_of_checkpoints_is_one(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(3)}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        archive.write(tmp_path / "a.pt", "run/ckpt/a.pt")
        archive.writestr("run/train.log", "loss 1")
    assert set(contents(tmp_path / "run.zip")) == {"ckpt/a.pt", "train.log"}


def test_members_that_lead_out_or_are_no_files(tmp_path: Path) -> None:
    path = tar(
        tmp_path / "evil.tar",
        (member("../out.log"), b"1"),
        (member("/abs.log"), b"1"),
        (member("a/../../b.log"), b"1"),
        (member("link", tarfile.SYMTYPE, "/etc"), b""),
        (member("link/passwd"), b"1"),
        (member("hard", tarfile.LNKTYPE, "/etc/passwd"), b""),
        (member("null", tarfile.CHRTYPE), b""),
        (member("pipe", tarfile.FIFOTYPE), b""),
        (member("ok.log"), b"1"),
        (member("ok.log"), b"2"),
        (member("ok.log/below"), b"2"),
        (member("n" * 300), b"2"),
        (member("last.log"), b"3"),
        mode="w",
    )
    with opened(path) as run:
        assert sorted(p.name for p in run.directory.iterdir()) == ["last.log", "link", "ok.log"]
        assert (run.directory / "link").is_dir()
        assert not (run.directory / "link").is_symlink()
        assert (run.directory / "ok.log").read_bytes() == b"1"
        named = {s.path: s for s in run.skipped}
    assert {p for p, s in named.items() if s.refused} == {"../out.log", "/abs.log", "a/../../b.log"}
    assert set(named) >= {"link", "hard", "null", "pipe", "ok.log", "ok.log/below", "n" * 300}


def test_hostile_zip_members(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../x.log", "1")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("secret.log", "1")
        archive.writestr("good.log", "fine")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1) + 1)  # the directory's third entry
    data[at + 8] |= 1  # encrypted
    path.write_bytes(data)
    with opened(path) as run:
        assert [p.name for p in run.directory.iterdir()] == ["good.log"]
        assert {s.path: str(s.detail) for s in run.skipped} == {
            "../x.log": "its name leads out of the archive",
            "link": "a link in the archive: not followed",
            "secret.log": "it is encrypted",
        }


def test_overlapping_members(tmp_path: Path) -> None:
    path = tmp_path / "quine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.log", b"a" * 1000)
        archive.writestr("b.log", b"b" * 1000)
    data = bytearray(path.read_bytes())
    second = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[second + 42 : second + 46] = bytes(4)  # the second entry's data are the first one's
    path.write_bytes(data)
    with opened(path) as run:
        assert [(s.refused, str(s.detail)) for s in run.skipped] == [(True, "it overlaps another member of the archive")]


def test_a_bomb_is_left_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "RATIO_ALLOWANCE", 1 << 20)
    zeros = bytes(8 << 20)
    packed = tar(tmp_path / "bomb.tgz", (member("first.log"), b"kept"), (member("zeros"), zeros))
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("first.log", "kept")
        archive.writestr("zeros", zeros)
    for path in (packed, tmp_path / "bomb.zip"):
        with opened(path) as run:
            assert (run.directory / "first.log").read_bytes() == b"kept"
            assert sum(f.stat().st_size for f in run.directory.iterdir()) < 6 << 20
            assert "more than 200 times" in str(run.skipped[-1].detail)
    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    with opened(packed) as run:
        assert "only the first 1 members" in str(run.skipped[-1].detail)


def test_a_large_pax_header_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pax.tar.gz"
    header = member("x", b"x")
    header.size = 8 << 30
    with gzip.open(path, "wb", 1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.write(bytes(1000))
    with opened(path) as run:
        assert run.skipped[0].status is Status.PARTIAL


def test_a_cut_archive_gives_what_is_whole(tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tgz", (member("a.log"), os.urandom(5000)), (member("b.log"), os.urandom(50_000)))
    path = tmp_path / "cut.tgz"
    path.write_bytes(whole.read_bytes()[:20_000])
    with opened(path) as run:
        assert (run.directory / "a.log").stat().st_size == 5000
        assert "in part only" in str(run.skipped[-1].detail)


def test_the_directory_is_removed_after_an_exception(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tgz", (member("a.log"), b"1"))
    held: list[Path] = []

    def fail() -> None:
        with opened(path) as run:
            held.append(run.directory)
            assert run.directory.stat().st_mode & 0o077 == 0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not held[0].exists()


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(Path("-"), io.BytesIO(b"loss 1\n")) as run:
        assert run.directory.read_bytes() == b"loss 1\n"
        assert (run.directory.name, run.name) == ("stdin.log", "stdin")
    assert not run.directory.exists()
    monkeypatch.setattr(archives, "MAX_STDIN", 10)
    with opened(Path("-"), io.BytesIO(b"loss 1\nloss 2\n")) as run:
        assert run.skipped[0].status is Status.PARTIAL


@given(st.sampled_from(["tar", "tgz", "zip"]), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), st.integers(0, 12_000))
@settings(max_examples=60, deadline=None)
def test_any_damage_is_survived(tmp_path_factory: pytest.TempPathFactory, kind: str, edits: list[tuple[int, int]], length: int) -> None:
    folder = tmp_path_factory.mktemp("damage")
    path = folder / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.log", "loss " * 200)
            archive.writestr("b.log", "loss " * 10)
    else:
        tar(path, (member("a.log"), b"loss " * 200), (member("b" * 150), b"loss"), mode="w" if kind == "tar" else "w:gz")
    data = bytearray(path.read_bytes()[: length or None])
    for at, value in edits:
        if at < len(data):
            data[at] = value
    path.write_bytes(data)
    with opened(path) as run:
        assert run.directory.exists()


def test_the_beginning_of_a_directory(tmp_path: Path) -> None:
    """zipfile sees the first members, and what they hold; whole directories and files that are no zip are left alone."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = b"PK\x05\x06 no end"
        for n in range(2_000):
            archive.writestr(f"n/{n:05}{'x' * (n % 50)}.log", f"step {n} loss 1.0")
    with path.open("rb") as file:
        assert shortened(file, 2_000) is file
        with zipfile.ZipFile(shortened(file, 777)) as archive:
            assert len(archive.namelist()) == 777
            assert archive.read(archive.namelist()[-1]) == b"step 776 loss 1.0"
            assert archive.testzip() is None
    (tmp_path / "none").write_bytes(b"PK" * 500)
    with (tmp_path / "none").open("rb") as file:
        assert shortened(file, 1) is file


def test_a_directory_of_many_members_is_not_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("run/train.log", "step 1 loss 1.0\n")
        for n in range(1_000):
            archive.writestr(f"run/{n}.txt", "")
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    seen = []
    monkeypatch.setattr(zipfile.ZipInfo, "_decodeExtra", lambda *_: seen.append(1))
    with opened(path) as run:
        assert (run.directory / "train.log").exists()
        assert "only the first 10 members" in str(run.skipped[-1].detail)
    assert len(seen) == 2 * 11
