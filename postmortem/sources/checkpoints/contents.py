"""A checkpoint out of the value that was saved: model, optimizer, schedule, loss scale, step, settings, wherever they lie in it."""

from collections import deque
from dataclasses import dataclass, field
from types import MappingProxyType

from postmortem.model.run import OptimizerState, Setting, TensorRef
from postmortem.model.sentence import Value
from postmortem.sources.checkpoints import training_state as training
from postmortem.sources.checkpoints.models import LONGEST_NAME, Model, combine, is_module, module_tensors, state_dict, trainable
from postmortem.sources.checkpoints.optimizers import is_optimizer, optimizer_state
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.plain import as_list, as_mapping
from postmortem.sources.names import words
from postmortem.sources.pickles.records import Array, OddKey, Storage, Tensor

_DEEPEST = 8  # levels below the top
_MOST_NODES = 300_000
_SKIPPED = frozenset({"rng", "random", "sampler", "dataloader", "dataset", "datamodule", "loops"})


@dataclass(slots=True)
class Contents:
    """What was found, placed."""

    tensors: tuple[TensorRef, ...] = ()
    optimizer: OptimizerState | None = None
    scheduler: dict[str, Value] = field(default_factory=dict)
    scaler: dict[str, Value] = field(default_factory=dict)
    step: float | None = None
    epoch: float | None = None
    settings: tuple[Setting, ...] = ()
    trainable: MappingProxyType[str, bool] | None = None
    facts: dict[str, Value] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Nothing of training was found."""
        return not (self.tensors or self.optimizer or self.scheduler or self.scaler or self.settings)


def contents(value: object, placer: Placer, file: str) -> Contents:
    """Sort what was saved. `file` is named in settings and in the optimizer's source. Bounded, never raises on odd structure."""
    out = Contents()
    models: list[Model] = []
    optimizers = schedulers = 0
    settings: list[Setting] = []
    queue: deque[tuple[tuple[str, ...], object]] = deque([((), value)])
    seen: set[int] = set()
    looked = 0
    while queue and looked < _MOST_NODES:
        path, item = queue.popleft()
        looked += 1
        if id(item) in seen or isinstance(item, Tensor | Array | Storage | str | int | float | None | OddKey):
            continue
        seen.add(id(item))
        mapping = as_mapping(item)
        if is_module(item):
            models.append(Model(path, tuple(module_tensors(item)), from_module=True))
            continue
        if mapping is not None:
            if is_optimizer(mapping):
                optimizers += 1
                if out.optimizer is None:
                    out.optimizer = optimizer_state(mapping, placer, file)
            elif training.is_scheduler(mapping):
                schedulers += 1
                out.scheduler = out.scheduler or training.numbers_of(mapping, placer)
            elif training.is_scaler(mapping):
                out.scaler = out.scaler or training.numbers_of(mapping, placer)
            elif path and training.is_configuration(path[-1]):
                settings.extend(training.settings_of(item, ".".join(path), file))
            else:
                _descend(path, item, mapping, models, queue)
        elif (found := state_dict(item, path)) != ():
            models.append(Model(path, found))
        elif len(path) < _DEEPEST:
            queue.extend(((*path, str(i)), v) for i, v in enumerate((as_list(item) or ())[:64]))
    _top(value, placer, file, out, settings, models)
    tensors, _, copies = combine(models)
    out.tensors = tuple(ref for name, tensor in tensors if (ref := placer.ref(name, tensor)) is not None)
    flags = trainable(models)
    out.trainable = None if flags is None else MappingProxyType(dict(flags))
    out.settings = tuple(settings)
    if copies:
        out.facts["copied_tensors"] = copies
    if optimizers > 1:
        out.facts["optimizers"] = optimizers
    if schedulers > 1:
        out.facts["schedulers"] = schedulers
    return out


def _descend(
    path: tuple[str, ...], item: object, mapping: dict[object, object], models: list[Model], queue: deque[tuple[tuple[str, ...], object]]
) -> None:
    found = state_dict(item, path)
    if found:
        models.append(Model(path, found))
        inside = {name for name, _ in found}
    else:
        inside = set()
    if len(path) >= _DEEPEST:
        return
    for key, child in mapping.items():
        name = key.value if isinstance(key, OddKey) else key
        text = str(name)[:LONGEST_NAME] if isinstance(name, str | int) else type(name).__name__
        if text in inside or (isinstance(key, str) and any(w in _SKIPPED for w in words(key[:100]))):
            continue
        queue.append(((*path, text), child))


def _top(value: object, placer: Placer, file: str, out: Contents, settings: list[Setting], models: list[Model]) -> None:
    mapping = as_mapping(value)
    if mapping is None or is_module(value):
        return
    if isinstance(value, dict):
        if out.optimizer is None or not is_optimizer(mapping):
            if not training.is_scheduler(mapping) and not training.is_scaler(mapping):
                out.step, out.epoch = training.step_and_epoch(mapping, placer)
                out.facts.update(training.facts_of(mapping, placer, frozenset({"step", "global_step", "epoch", "state_dict"})))
            out.facts.update(training.callback_facts(mapping, placer))
    elif out.optimizer is None and not models:  # a record on its own: TrainingArguments, a namespace
        settings.extend(training.settings_of(value, "", file))
