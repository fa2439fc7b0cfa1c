"""Formats that are known and not read: each says in one sentence what it is and what would help."""

import re
from collections.abc import Mapping

from postmortem.model.run import Source, Status
from postmortem.model.sentence import Sentence, say
from postmortem.sources.archives import UNREAD
from postmortem.sources.reader import Candidate, Found, Reader
from postmortem.sources.tar import BLOCK, is_header

NAME = "foreign"

_ORBAX = say("part of an Orbax checkpoint (JAX): its arrays need tensorstore; save the parameters as .npz or safetensors to have them measured")
_UNFINISHED = say("part of an Orbax checkpoint whose save did not finish: it cannot be restored")
_TENSORFLOW = say("part of a TensorFlow checkpoint: its variables are not read; save Keras weights (.weights.h5) or .npz to have them measured")
_SAVED_MODEL = say("part of a TensorFlow SavedModel, an exported model: its variables are not read; the checkpoints of the training tell more")
_NEMO = say("a NeMo archive: unpack it (tar -xf) inside of the run to have its configuration and weights read")
_EXPORTED = "a model exported for inference ({format}): it holds no optimizer; the checkpoints of the training tell more"
_MSGPACK = say("a MessagePack file, as Flax saves parameters: it is not read; numpy.savez or safetensors would be")
_TAR_MAGIC = 257  # offset of "ustar"
_OPENED = ((b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gzip"))  # where it is the run itself, by `archives`
_BY_EXTENSION: Mapping[str, Sentence] = {
    "nemo": _NEMO,
    "onnx": say(_EXPORTED, format="ONNX"),
    "tflite": say(_EXPORTED, format="TensorFlow Lite"),
    "gguf": say(_EXPORTED, format="GGUF"),
    "ggml": say(_EXPORTED, format="GGML"),
    "engine": say(_EXPORTED, format="TensorRT"),
    "plan": say(_EXPORTED, format="TensorRT"),
    "mlmodel": say(_EXPORTED, format="Core ML"),
    "pdmodel": say(_EXPORTED, format="PaddlePaddle"),
    "pdiparams": say(_EXPORTED, format="PaddlePaddle"),
    "msgpack": _MSGPACK,
    "caffemodel": say("a Caffe model: its weights are not read, the training log is"),
    "solverstate": say("a Caffe solver state: it is not read, the training log is"),
    "params": say("an MXNet parameter file: it is not read; numpy.savez or safetensors would be"),
}
_ORBAX_NAMES = frozenset({
    "_CHECKPOINT_METADATA", "_METADATA", "_sharding", "manifest.ocdbt", "orbax.checkpoint", "commit_success.txt", "array_metadatas", ".zarray",
})  # fmt: skip
_OCDBT = re.compile(r"(?:^|/)(?:ocdbt\.process_\d{1,6}/)?d/[0-9a-f]{16,64}$")
# `checkpoint_1200` of flax.training.checkpoints: a map whose first key is one of a training state
_FLAX = re.compile(rb"(?:[\x81-\x8f]|\xde..)[\xa1-\xbf](?:step|params|opt_state|target|state|model|batch_stats|\d)", re.DOTALL)
_SHARD = re.compile(r"\.data-\d{5}-of-\d{5}$")


_LONGEST_POINTER = 500  # bytes
_POINTERS = frozenset({"latest", "latest_checkpointed_iteration.txt", "last_checkpoint", "latest_universal"})


def claims(candidate: Candidate) -> bool:
    """By name, by what lies beside it, or by the first bytes."""
    return _what(candidate) is not None or (candidate.name in _POINTERS and candidate.size < _LONGEST_POINTER)


def read(candidate: Candidate) -> Found:
    """The file is not opened: one sentence says what it is. What DeepSpeed's, Megatron's and others' pointers name is told."""
    if candidate.name in _POINTERS and candidate.size < _LONGEST_POINTER:
        target = candidate.head.decode("utf-8", "replace").strip()[:200]
        return Found(Source(candidate.path, NAME, Status.READ, say("names the newest checkpoint: {target}", target=target), candidate.size))
    return Found(Source(candidate.path, NAME, Status.SKIPPED, _what(candidate) or _ORBAX, candidate.size))


def _what(candidate: Candidate) -> Sentence | None:
    name, folder = candidate.name, candidate.folder
    if name in _ORBAX_NAMES or _OCDBT.search(candidate.path):
        return _UNFINISHED if ".orbax-checkpoint-tmp" in folder else _ORBAX
    if name in ("saved_model.pb", "saved_model.pbtxt", "fingerprint.pb", "keras_metadata.pb") or folder.rpartition("/")[2] == "variables":
        return _SAVED_MODEL if name.endswith((".pb", ".pbtxt")) or name.startswith("variables.") else None
    stem, dot, extension = name.lower().rpartition(".")
    if _SHARD.search(name) or (name == "checkpoint" and b"model_checkpoint_path:" in candidate.head):
        return _TENSORFLOW
    if extension in ("index", "meta") and any(_SHARD.search(other) for other in candidate.siblings):
        return _TENSORFLOW
    if packed := _packed(candidate.head):
        return _NEMO if extension == "nemo" else packed
    if not dot and _FLAX.match(candidate.head):
        return _MSGPACK
    if candidate.head.startswith(b"GGUF"):
        return _BY_EXTENSION["gguf"]
    return _BY_EXTENSION.get(extension) if dot and stem else None


def _packed(head: bytes) -> Sentence | None:
    """What is said of an archive inside of a run; None where the first bytes are no archive's."""
    packer = next((name for magic, name in _OPENED if head.startswith(magic)), "")
    if head[_TAR_MAGIC : _TAR_MAGIC + 5] == b"ustar" and is_header(head[:BLOCK]):
        packer = "tar"
    if packer:
        return say("an archive ({packer}), which is not opened inside of a run: name it as the run itself, or unpack it", packer=packer)
    packer = next((name for magic, name in UNREAD if head.startswith(magic)), "")
    return say("an archive ({packer}), which is not opened: unpack it", packer=packer) if packer else None


READER = Reader(NAME, claims, read)
