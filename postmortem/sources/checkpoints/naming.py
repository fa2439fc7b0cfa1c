"""Names of parameters without what wrappers put before them, so that one model has the same names everywhere."""

from collections.abc import Sequence

# Wrappers that insert a part into every name below them: torch.compile, FSDP, activation checkpointing, Lightning strategies.
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.", "_forward_module.", "_fpw_module.")
_LEADING = "module."  # DataParallel, DistributedDataParallel
_BESIDE = frozenset({"n_averaged"})  # what torch.optim.swa_utils.AveragedModel keeps beside the module


def plain_name(name: str) -> str:
    """A parameter's name without the parts that wrappers insert anywhere."""
    for part in _INSERTED:
        if part in name:
            name = name.replace(part, "")
    return name


def plain_names(names: Sequence[str]) -> list[str]:
    """All names of one model without wrappers; a leading `module.` goes where every name has it. Names stay distinct."""
    out = [plain_name(n) for n in names]
    while set(out) - _BESIDE and all((n.startswith(_LEADING) and len(n) > len(_LEADING)) or n in _BESIDE for n in out):
        out = [n.removeprefix(_LEADING) for n in out]
    return out if len(set(out)) == len(set(names)) else list(names)
