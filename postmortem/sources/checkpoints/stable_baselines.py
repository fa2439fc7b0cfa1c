"""What stable-baselines3 saves: a zip with torch files inside (`policy.pth`, an optimizer or several, loose variables) and `data`, a JSON.

In `data` what JSON cannot say is a pickle in base64 below `:serialized:`; it is left alone. `num_timesteps` is the step.
Source: stable_baselines3/common/save_util.py, base_class.py (`save`).
"""

import os
from dataclasses import replace

import orjson

from postmortem.model.run import OptimizerState, Setting
from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.contents import Contents, contents
from postmortem.sources.checkpoints.fragments import UNEXPECTED, failed, fragment, skipped, stopped_at
from postmortem.sources.checkpoints.placing import Placer
from postmortem.sources.checkpoints.torch_zip import Archive, open_file
from postmortem.sources.checkpoints.training_state import settings_of
from postmortem.sources.checkpoints.zip_directory import STORED, Directory, Window, content, located, read_directory
from postmortem.sources.reader import Candidate, Found, Reader

NAME = "stable-baselines3"
_DATA, _POLICY, _VARIABLES = "data", "policy.pth", "pytorch_variables.pth"
_FIRST = b"PK\x03\x04"
_LARGEST_DATA = 64 << 20  # bytes; observations that were last seen lie in it
_MOST_FILES = 32
_STATE = frozenset({"num_timesteps", "start_time", "action_noise"})  # where a training is, not how it was set up
_OF_ROLLOUTS = frozenset({"n_steps", "n_epochs"})  # steps and epochs of one, not of the training


def claims(candidate: Candidate) -> bool:
    """A zip whose first member is called `data`."""
    head = candidate.head
    return head.startswith(_FIRST) and head[26:28] == b"\x04\x00" and head[30:34] == b"data"


def read(candidate: Candidate) -> Found:
    """Policy, optimizer and settings as one checkpoint. Never raises."""
    fd = open_file(candidate.file)
    if fd is None:
        return failed(candidate, NAME, say("the file cannot be opened"))
    try:
        return _read(candidate, Window(fd, 0, os.fstat(fd).st_size))
    except UNEXPECTED as error:
        return failed(candidate, NAME, stopped_at(error))
    finally:
        os.close(fd)


def _read(candidate: Candidate, window: Window) -> Found:
    directory = read_directory(window)
    if directory is None or _DATA not in directory.members:  # or it is that of a file inside
        return failed(candidate, NAME, say("the file is cut: the end of the archive is missing"), truncated=True)
    if _POLICY not in directory.members:
        return skipped(candidate, NAME, say("this zip holds no torch checkpoint"))
    problems: list[Sentence | None] = [directory.problem]
    dangerous: dict[str, None] = {}
    whole = Contents()
    optimizers: list[OptimizerState] = []
    for name in _torch_files(directory):
        archive = _archive(directory, name, window, candidate.path)
        if archive is None or archive.pickled is None:
            problems.append(say("{name} in it cannot be read", name=name))
            continue
        placer = _placer(archive)
        found = contents(archive.pickled.value, placer, candidate.path)
        problems += [archive.pickled.problem, placer.problem()]
        dangerous.update(dict.fromkeys(archive.pickled.dangerous))
        if found.optimizer is not None:
            optimizers.append(found.optimizer)
        elif name == _POLICY:
            whole.tensors = found.tensors
    if optimizers:
        whole.optimizer = optimizers[0]
    if len(optimizers) > 1:
        whole.facts["optimizers"] = len(optimizers)
    _configured(whole, _json(directory, window), f"{candidate.path}/{_DATA}")
    return fragment(candidate, NAME, whole, problems[:8], dangerous=tuple(dangerous))


def _torch_files(directory: Directory) -> list[str]:
    """The policy, then optimizers: the whole policy's first, then the actor's."""
    optimizers = [n for n in directory.members if n.endswith("optimizer.pth")]
    optimizers.sort(key=lambda n: (n != "policy.optimizer.pth", n != "actor.optimizer.pth", n))
    return [_POLICY, *optimizers[:_MOST_FILES]]


def _archive(directory: Directory, name: str, window: Window, file: str) -> Archive | None:
    """A torch file inside the zip; None where it is packed, which stable-baselines3 does not do."""
    member = directory.members.get(name)
    found = located(window, member) if member else None
    if found is None or found.method != STORED or found.data < 0:
        return None
    inside = Window(window.fd, window.start + found.data, min(found.packed, window.size - found.data))
    return Archive(inside, file) if inside.read(4, 0) == _FIRST else None


def _placer(archive: Archive) -> Placer:
    return Placer(archive.locate, lambda at, n: archive.window.read(n, at), swapped=archive.big_endian())


def _json(directory: Directory, window: Window) -> dict[str, object]:
    member = directory.members.get(_DATA)
    found = located(window, member) if member else None
    text = content(window, found, _LARGEST_DATA) if found else None
    try:
        value = orjson.loads(text) if text else None
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _configured(whole: Contents, data: dict[str, object], where: str) -> None:
    """Step, plan and settings that are numbers or words."""
    step = data.get("num_timesteps")
    whole.step = float(step) if isinstance(step, int) and step >= 0 else None
    simple = {k: v for k, v in data.items() if not k.startswith("_") and k not in _STATE and not (isinstance(v, dict) and ":serialized:" in v)}
    settings = [replace(s, name="" if s.key in _OF_ROLLOUTS else s.name) for s in settings_of(simple, "", where)]
    planned = data.get("_total_timesteps")
    if isinstance(planned, int) and planned > 0:
        settings.append(Setting("max_steps", "_total_timesteps", planned, where))
    whole.settings = tuple(settings)
    updates = data.get("_n_updates")
    if isinstance(updates, int) and updates >= 0:
        whole.facts["updates"] = updates


READER = Reader(NAME, claims, read)
