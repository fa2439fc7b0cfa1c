"""Files of one rank in which tensors were flattened and laid end to end without a word of what is where.

Megatron's `distrib_optim.pt` (megatron/core/optimizer/distrib_optimizer.py), FSDP's `flat_param` (torch/distributed/fsdp/_flat_param.py)
and the state of an optimizer over such. Their numbers are somebody's: as parameters or gradients of a layer they are not measured.
"""

import re

from postmortem.model.sentence import Sentence, say
from postmortem.sources.checkpoints.contents import Contents

_PARTITION = re.compile(r"zero_pp_rank_\d+.*optim_states")  # DeepSpeed ZeRO
_MEGATRON = re.compile(r"distrib_optim")
_FLAT = re.compile(r"(?:^|\.)_?flat_param(?:_\d{1,6})?$")


def flat_share(name: str, content: Contents) -> Sentence | None:
    """What is to be said of a file of that name; what must not be taken for a model's tensors is taken out of `content`."""
    if _MEGATRON.search(name) and (content.tensors or content.optimizer):
        values = sum(t.count for t in content.tensors)
        content.tensors, content.optimizer = (), None
        return say(
            "this rank's share of the optimizer is flat ({n:,} values): which parameter they belong to is not told, so gradients are not measured",
            n=values,
        )
    if _PARTITION.search(name) and content.optimizer is not None:
        return say("this rank's share of the optimizer is flat: which parameter its numbers belong to is not told")
    flat = [t for t in content.tensors if _FLAT.search(t.name)]
    if flat:
        return say(
            "the parameters of {n} FSDP units are flat ({values:,} values here): their names and shapes are not told, so layers are not measured one "
            "by one; save a FULL_STATE_DICT or SHARDED_STATE_DICT to have them",
            n=len(flat),
            values=sum(t.count for t in flat),
        )
    return None
