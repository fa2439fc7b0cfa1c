"""Formats that are known and not read say what they are, in files made to their documented layouts."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from postmortem.model.run import Status
from postmortem.sources import read_run

FILES = {
    "orbax/1000/default/manifest.ocdbt": ("Orbax", Status.SKIPPED),
    "orbax/1000/default/d/0123456789abcdef0123456789abcdef": ("Orbax", Status.SKIPPED),
    "orbax/1000/_CHECKPOINT_METADATA": ("Orbax", Status.SKIPPED),
    "orbax/2000.orbax-checkpoint-tmp-17/default/_METADATA": ("did not finish", Status.SKIPPED),
    "tf/checkpoint": ("TensorFlow checkpoint", Status.SKIPPED),
    "tf/ckpt-10.index": ("TensorFlow checkpoint", Status.SKIPPED),
    "tf/ckpt-10.data-00000-of-00001": ("TensorFlow checkpoint", Status.SKIPPED),
    "export/saved_model.pb": ("SavedModel", Status.SKIPPED),
    "export/variables/variables.index": ("SavedModel", Status.SKIPPED),
    "flax/checkpoint_1200": ("MessagePack", Status.SKIPPED),
    "model.nemo": ("NeMo", Status.SKIPPED),
    "model.onnx": ("ONNX", Status.SKIPPED),
    "zero/latest": ("newest checkpoint: global_step5", Status.READ),
    "megatron/latest_checkpointed_iteration.txt": ("newest checkpoint: 500", Status.READ),
    ".aim": ("Aim", Status.SKIPPED),
    "logs.zip": ("an archive (zip), which is not opened inside of a run", Status.SKIPPED),
    "model.mar": ("an archive (zip), which is not opened inside of a run", Status.SKIPPED),
    "train.log.gz": ("an archive (gzip), which is not opened inside of a run", Status.SKIPPED),
    "logs.tar": ("an archive (tar), which is not opened inside of a run", Status.SKIPPED),
    "model.7z": ("an archive (7z), which is not opened: unpack it", Status.SKIPPED),
}


def zipped(*members: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for member in members:
            archive.writestr(member, b"cos\nsystem\n(S'touch pwned'\ntR.")
    return out.getvalue()


def tarred(member: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(member))
    return out.getvalue()


CONTENT = {
    "logs.zip": zipped("train.log", "model.pkl"),
    "model.mar": zipped("MAR-INF/MANIFEST.json", "model.pt"),
    "train.log.gz": gzip.compress(b"step 1 loss 2\n"),
    "logs.tar": tarred("train.log"),
    "model.7z": b"7z\xbc\xaf\x27\x1c" + bytes(40),
    "tf/checkpoint": b'model_checkpoint_path: "ckpt-10"\n',
    "flax/checkpoint_1200": b"\x84\xa4step\xcd\x04\xb0\xa6params\x81" + b"\0" * 50,
    "zero/latest": b"global_step5",
    "megatron/latest_checkpointed_iteration.txt": b"500",
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Status]]:
    root = tmp_path_factory.mktemp("run")
    for name in FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == ".aim":
            (path / "meta").mkdir(parents=True)
        else:
            path.write_bytes(CONTENT.get(name, b"\0" * 64))
    return {source.path: (str(source.detail), source.status) for source in read_run([root]).sources}


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_says_what_it_is(said: dict[str, tuple[str, Status]], name: str) -> None:
    words, status = FILES[name]
    assert words in said[name][0]
    assert said[name][1] is status


def test_ordinary_names_are_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("step 1 loss 0.5\nstep 2 loss 0.4\nstep 3 loss 0.3\n")
    (tmp_path / "run.index").write_text("nothing")
    assert "foreign" not in {s.reader for s in read_run([tmp_path]).sources}
