"""Where a training runs: versions, the commit, memory."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    *("torch", "torchvision", "numpy", "transformers", "accelerate", "lightning", "pytorch-lightning", "keras", "tensorflow", "jax", "peft"),
    *("datasets", "deepspeed", "timm", "bitsandbytes", "flash-attn"),
)
PATIENCE = 5.0  # seconds that git may take


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter and are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = str(torch.__version__)  # with its build
    cuda = getattr(getattr(torch, "version", None), "cuda", None)
    if cuda:
        found["cuda"] = str(cuda)
    return found


def git() -> dict[str, Any]:
    """The commit of the working directory and whether tracked files differ from it; {} outside of a repository."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {}
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": bool(status) if status is not None else None}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # fixed words
            ["git", *words],  # noqa: S607
            capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL, cwd=Path.cwd(),
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def memory() -> float | None:
    """Peak memory in GiB: of the accelerator when one is in use, else of the process. None where neither can be told."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return float(torch.cuda.max_memory_allocated()) / 2**30
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**30 if sys.platform == "darwin" else 2**20)


def gpus() -> int | None:
    """Processes of this job, as torchrun and its kin say."""
    world = os.environ.get("WORLD_SIZE", "")
    return int(world) if world.isdigit() else None


def rank() -> int:
    """This process's number in the job, 0 when it is the only one."""
    said = os.environ.get("RANK", "")
    return int(said) if said.isdigit() else 0
