"""HDF5 files that Keras wrote: `.weights.h5` of Keras 3, whole models of `Model.save("….h5")`, weights of TF-Keras 2."""

from dataclasses import replace
from types import MappingProxyType

from postmortem.model.run import Checkpoint, Source, Status
from postmortem.model.sentence import Sentence, Value, say
from postmortem.sources.checkpoints import torch_zip
from postmortem.sources.checkpoints.fragments import modified, what_it_is_instead
from postmortem.sources.checkpoints.hdf5 import MAGIC, Job, Listing, listing
from postmortem.sources.checkpoints.keras_config import Configuration, configuration, parsed
from postmortem.sources.checkpoints.keras_names import Variable, is_model, variables
from postmortem.sources.checkpoints.keras_optimizer import Saved, optimizer_state, parameter_shapes, saved
from postmortem.sources.checkpoints.keras_order import by_shapes, by_widths
from postmortem.sources.checkpoints.steps import step_and_epoch
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "keras-h5"
_EXTENSIONS = (".h5", ".hdf5", ".keras")
_MOST_AT_ONCE = 64  # files that one child process lists


def claims(candidate: Candidate) -> bool:
    """By its first bytes, or by a name that nothing in it contradicts: DeepCTR's callback gives what `torch.save` writes that name."""
    return candidate.head.startswith(MAGIC) or (candidate.name.lower().endswith((".h5", ".hdf5")) and not torch_zip.claims(candidate))


def read(candidate: Candidate) -> Found:
    if not candidate.head.startswith(MAGIC):
        return failed(candidate, NAME, _instead(candidate), truncated=candidate.size == 0)
    around = [name for name in sorted(candidate.siblings) if name.lower().endswith(_EXTENSIONS[:2])]
    after = [name for name in around if name > candidate.name][: _MOST_AT_ONCE - 1]
    neighbours = [_job(candidate, name) for name in after]
    job, file = _job(candidate, candidate.name)
    found = listing(job, file, [(j, f) for j, f in neighbours if j.size])
    if found.failed:
        cut = found.cut or candidate.size < stated_end(candidate.head)
        return failed(candidate, NAME, found.problem or say("it cannot be read"), truncated=cut)
    attributes = found.attributes("")
    if not is_model(found):
        why = say("an HDF5 file that holds no Keras model: {n} data sets", n=len(found.tensors) + found.others)
        return Found(Source(candidate.path, NAME, Status.SKIPPED, why, candidate.size, refused=bool(found.refused)))
    config = configuration(parsed(attributes.get("model_config")), parsed(attributes.get("training_config")), candidate.path)
    facts: dict[str, Value] = {key: str(attributes[key])[:100] for key in ("keras_version", "backend") if key in attributes}
    return checkpoint(candidate, NAME, found, config, facts)


def stated_end(head: bytes) -> int:
    """The size of the whole file as its superblock states it, 0 when it does not say. Format: HDF5 file format 3.0, section II.A."""
    if not head.startswith(MAGIC) or len(head) < 48:
        return 48 if head.startswith(MAGIC) else 0
    version, width = head[8], head[13] if head[8] < 2 else head[9]
    at = {0: 40, 1: 44, 2: 28, 3: 28}.get(version, 0)
    return int.from_bytes(head[at : at + 8], "little") if at and width == 8 else 0


def _job(candidate: Candidate, name: str) -> tuple[Job, str]:
    path = f"{candidate.folder}/{name}" if candidate.folder else name
    file = candidate.root / path
    if name == candidate.name:
        return Job(str(file), 0, candidate.size), path
    try:
        size = file.lstat().st_size
    except OSError:
        size = 0
    return Job(str(file), 0, size), path


def checkpoint(candidate: Candidate, reader: str, found: Listing, config: Configuration, facts: dict[str, Value]) -> Found:
    """The checkpoint of a listed file. Also for a weights file inside a `.keras` archive."""
    model = variables(found, list(config.layers))
    memory = saved(found)
    named = replace(memory, name=config.optimizer_class or memory.name) if memory is not None else None
    if not all(v.ordered for v in model):
        model = _ordered(found, model, named)
    if model and all(v.ordered for v in model):
        facts["order"] = "known"
    optimizer = None
    scaler: dict[str, Value] = {}
    step, epoch = step_and_epoch(candidate.path)
    if memory is not None and named is not None:
        optimizer = optimizer_state(named, model, frozenset(config.frozen), config.optimizer, candidate.path)
        if memory.loss_scale is not None:
            scaler["scale"] = memory.loss_scale
        if memory.step is not None:
            facts["optimizer_step"] = memory.step
            step = memory.step if step is None else step
    problems = [p for p in (found.problem, _refused(found)) if p is not None]
    status = Status.PARTIAL if problems else Status.READ
    detail = problems[0] if problems else None
    one = Checkpoint(
        candidate.path,
        reader,
        status,
        step,
        epoch,
        detail,
        tensors=tuple(v.ref for v in model),
        optimizer=optimizer,
        scaler=MappingProxyType(scaler),
        settings=tuple(config.settings),
        trainable=_trainable(model, config),
        facts=MappingProxyType({"layout": "keras", **facts}),
        files=(candidate.path,),
        size=candidate.size,
        modified=modified(candidate),
        truncated=found.cut,
    )
    source = Source(candidate.path, reader, status, detail, candidate.size, refused=bool(found.refused))
    return Found(source, checkpoints=(one,), facts=MappingProxyType({"framework": "keras"}))


def _ordered(found: Listing, model: list[Variable], memory: Saved | None) -> list[Variable]:
    """Variables of a model class of one's own, in the order of definition where one can be told."""
    for shapes in parameter_shapes(memory, model) if memory is not None else ():
        order = by_shapes(found, model, shapes)
        if order is not None:
            return order
    return by_widths(found, model) or model


def failed(candidate: Candidate, reader: str, why: Sentence, *, truncated: bool = False) -> Found:
    """A file that should be a checkpoint and cannot be read."""
    step, epoch = step_and_epoch(candidate.path)
    one = Checkpoint(
        candidate.path, reader, Status.FAILED, step, epoch, why,
        files=(candidate.path,), size=candidate.size, modified=modified(candidate), truncated=truncated,
    )  # fmt: skip
    return Found(Source(candidate.path, reader, Status.FAILED, why, candidate.size), checkpoints=(one,))


def _trainable(model: list[Variable], config: Configuration) -> dict[str, bool] | None:
    """What the configuration says of each variable; None when there is none. Running statistics are not learned and not listed."""
    if not config.layers:
        return None
    return {v.ref.name: not config.frozen & set(v.layer.split("/")) for v in model if not v.statistic}


def _refused(found: Listing) -> Sentence | None:
    return say("it points to other files, which was refused: {first}", first=found.refused[0][:200]) if found.refused else None


def _instead(candidate: Candidate) -> Sentence:
    known = what_it_is_instead(candidate.head, candidate.size)
    return say("this is no HDF5 file") if "torch" in known.template else known


READER = Reader(NAME, claims, read)
