"""Zips with torch files inside. What stable-baselines3 saves (`policy.pth`, an optimizer or several, loose variables) with `data`, a JSON; and a
model with its parameters in a JSON beside it, as pytorch-tabnet saves it.

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
from postmortem.sources.checkpoints.zip_directory import STORED, Directory, Window, content, first_member, located, read_directory
from postmortem.sources.reader import Candidate, Found, Reader

NAME, OTHERS = "stable-baselines3", "zip-of-torch"
_DATA, _POLICY, _VARIABLES = "data", "policy.pth", "pytorch_variables.pth"
_TORCH = (b".pth", b".pt", b".bin", b".ckpt")
_FIRST = b"PK\x03\x04"
_LARGEST_DATA = 64 << 20  # bytes; observations that were last seen lie in it
_MOST_FILES = 32
_STATE = frozenset({"num_timesteps", "start_time", "action_noise"})  # where a training is, not how it was set up
_OF_ROLLOUTS = frozenset({"n_steps", "n_epochs"})  # steps and epochs of one, not of the training


def claims(candidate: Candidate) -> bool:
    """A zip whose first member is called `data` or is a torch file; or a JSON, where the name says that it is a zip. Those of a torch file itself lie
    in a directory."""
    first = first_member(candidate.head)
    return (
        first == b"data" or (first.endswith(_TORCH) and b"/" not in first) or (candidate.name.lower().endswith(".zip") and first.endswith(b".json"))
    )


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
    if directory is None or directory.truncated or not directory.members or any(n.endswith("/data.pkl") for n in directory.members):
        # the directory at the end is missing, or is that of a file inside
        return failed(candidate, NAME, say("the file is cut: the end of the archive is missing"), truncated=True)
    name, policy = (NAME if _DATA in directory.members else OTHERS), _policy(directory)
    if policy is None:
        return skipped(candidate, name, say("this zip holds no torch checkpoint"))
    if (member := located(window, directory.members[policy])) is not None and member.method != STORED:
        return skipped(candidate, name, say("{name} in it is packed", name=policy))
    problems: list[Sentence | None] = [directory.problem]
    dangerous: dict[str, None] = {}
    whole = Contents()
    optimizers: list[OptimizerState] = []
    for inner in _torch_files(directory, policy):
        archive = _archive(directory, inner, window, candidate.path)
        if archive is None or archive.pickled is None:
            problems.append(say("{name} in it cannot be read", name=inner))
            continue
        placer = _placer(archive)
        found = contents(archive.pickled.value, placer, candidate.path)
        problems += [archive.pickled.problem, placer.problem()]
        dangerous.update(dict.fromkeys(archive.pickled.dangerous))
        if found.optimizer is not None:
            optimizers.append(found.optimizer)
        elif inner == policy:
            whole.tensors = found.tensors
    if optimizers:
        whole.optimizer = optimizers[0]
    if len(optimizers) > 1:
        whole.facts["optimizers"] = len(optimizers)
    stated = next((n for n in (_DATA, *directory.members) if n in directory.members and (n == _DATA or n.endswith(".json"))), None)
    if stated is not None:
        _configured(whole, _json(directory, stated, window), f"{candidate.path}/{stated}")
    return fragment(candidate, name, whole, problems[:8], dangerous=tuple(dangerous))


def _is_torch(name: str) -> bool:
    return name.encode().endswith(_TORCH) and "/" not in name


def _policy(directory: Directory) -> str | None:
    """The member that holds the weights: the one that stable-baselines3 calls so, else the largest torch file."""
    if _DATA in directory.members:
        return _POLICY if _POLICY in directory.members else None
    return max(filter(_is_torch, directory.members), key=lambda n: directory.members[n].size, default=None)


def _torch_files(directory: Directory, policy: str) -> list[str]:
    """The weights, then optimizers: the whole policy's first, then the actor's."""
    optimizers = [n for n in directory.members if n.endswith("optimizer.pth")]
    optimizers.sort(key=lambda n: (n != "policy.optimizer.pth", n != "actor.optimizer.pth", n))
    return [policy, *optimizers[:_MOST_FILES]]


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


def _json(directory: Directory, name: str, window: Window) -> dict[str, object]:
    member = directory.members.get(name)
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
