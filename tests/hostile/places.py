"""Odd files and names: links, pipes, sockets, devices, names that mean something elsewhere; archives of runs."""

import io
import os
import socket
import stat
import tarfile
import zipfile

from tests.hostile.cases import Cases
from tests.hostile.logs import EVIL

PLACES = Cases()
case = PLACES.case
LINES = "".join(f"step {i} val_loss {2.0 / (i + 1):.4f}\n" for i in range(30))


@case("links: loops and ways out", "away.log", "config.json", "model.pt")
def _links(run):
    outside = run.parent / "outside"
    outside.mkdir()
    outside.joinpath("secret.log").write_text("step 1 loss 1\nTOPSECRET\n" * 20)
    run.joinpath("loop").symlink_to(".")
    run.joinpath("a").symlink_to("b")
    run.joinpath("b").symlink_to("a")
    run.joinpath("away").symlink_to(outside)
    run.joinpath("away.log").symlink_to(outside / "secret.log")
    run.joinpath("model.pt").symlink_to("/etc/passwd")
    run.joinpath("config.json").symlink_to("/proc/self/environ")
    run.joinpath("postmortem.toml").symlink_to(outside / "secret.log")
    run.joinpath("mlflow.db-wal").symlink_to(outside / "secret.log")


@case("special files", "pipe.log", "s.log")
def _special(run):
    for name in ("pipe.log", "model.pt", "config.yaml", "postmortem.toml", "events.out.tfevents.1.h"):
        os.mkfifo(run / name)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()  # noqa: PTH109
        os.chdir(run)
        try:
            listener.bind("s.log")
        finally:
            os.chdir(here)
    if os.geteuid() == 0:
        try:
            os.mknod(run / "zero.log", stat.S_IFCHR | 0o600, os.makedev(1, 5))
            os.mknod(run / "full.pt", stat.S_IFCHR | 0o600, os.makedev(1, 7))
        except PermissionError:
            return


NAMES = (
    "new\nline.log", "<script>alert(1)<\\script>.log", "\u202egol.exe.log", "\x1b[31mred.log", "a" * 251 + ".log", "-rf.log", "{0}.log", "=1+1.log", " .log", "|x|`.log", "%s.log",
    "\udcff\udcfe.log", "\udc80.pt", "'\";--.csv", "con.log", "\u200b.log", "..\\..\\x.log", "$(touch pwned).log", "`touch pwned`.log", "[red]x[-red].log",
)  # fmt: skip


@case("odd file names")
def _names(run):
    for i, name in enumerate(NAMES):
        with open(os.path.join(os.fsencode(run), os.fsencode(name)), "w") as file:  # noqa: PTH118, PTH123
            file.write(LINES if i % 2 else 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: x\n')
    for text in EVIL.values():
        folder = run / text.replace("/", "_")[:80]
        folder.mkdir(exist_ok=True)
        folder.joinpath("val.log").write_text(LINES)


@case("deep directories", "levels deep")
def _deep(run):
    run.joinpath("/".join(["d"] * 200)).mkdir(parents=True)


def member(archive, name, data=b"", kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(data), kind, link
    archive.addfile(info, io.BytesIO(data))


def tar(path, log):
    """An archive of a run with members that try to leave it."""
    with tarfile.open(path, "w:gz") as archive:
        member(archive, "run/train.log", log)
        member(archive, "../escaped.log", log)
        member(archive, "/tmp/postmortem-escaped.log", log)
        member(archive, "run/link", kind=tarfile.SYMTYPE, link="/etc")
        member(archive, "run/link/passwd", b"x")
        member(archive, "run/hard", kind=tarfile.LNKTYPE, link="/etc/passwd")
        member(archive, "run/pipe.log", kind=tarfile.FIFOTYPE)
        member(archive, "run/zero.log", kind=tarfile.CHRTYPE)
        member(archive, "run/<script>alert(1)<\\script>.log", log)


def packed(path, log):
    """The same as a zip file, with a bomb in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("run/train.log", log)
        archive.writestr("../escaped.log", log)
        archive.writestr("/etc/escaped.log", log)
        info = zipfile.ZipInfo("run/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
        archive.writestr("run/zz-bomb.log", b"0" * (1 << 29))
