"""Moments that bitsandbytes keeps in 8 bits: a code for each element, a table of the 256 codes, a scale for each block of elements.

value = qmap[code] · absmax[block], in the order of the tensor's elements (Dettmers et al., "8-bit Optimizers via Block-wise
Quantization", 2022; bitsandbytes/optim/optimizer.py). Small tensors are kept in float32 under the same names, without table and scale.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from postmortem.measure.reading import NotWholeError, TensorFiles
from postmortem.model.run import TensorRef

CODES = 256
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)  # elements of a block that bitsandbytes has used or offers
FEW = 1 << 26  # scales that are held at once


def is_quantised(slots: Mapping[str, TensorRef], slot: str) -> bool:
    """`slot` ("state1") is of codes, with its table and scales beside it."""
    codes = slots.get(slot)
    if codes is None or codes.dtype != "uint8":
        return False
    table, scales = slots.get(slot.replace("state", "qmap")), slots.get(slot.replace("state", "absmax"))
    return table is not None and scales is not None and table.count == CODES and _block_size(codes.count, scales.count) is not None


def values(files: TensorFiles, slots: Mapping[str, TensorRef], slot: str) -> Iterator[npt.NDArray[np.float32]]:
    """The moment's values, in the tensor's order, block by block. Raises `NotWholeError` where bytes are missing. NaN where a scale is NaN."""
    codes = slots[slot]
    table = files.whole(slots[slot.replace("state", "qmap")]).astype(np.float32)
    scales = files.whole(slots[slot.replace("state", "absmax")]).astype(np.float32)
    size = _block_size(codes.count, len(scales))
    if size is None or len(scales) > FEW:
        raise NotWholeError(f"{codes.name}: {len(scales)} scales for {codes.count} codes")
    start = 0
    for raw in files.blocks(codes):
        first = start // size
        part = np.repeat(scales[first : math.ceil((start + len(raw)) / size)], size)[start - first * size :][: len(raw)]
        yield table[raw] * part
        start += len(raw)


def _block_size(codes: int, scales: int) -> int | None:
    """Elements to a scale; None when no size that is in use gives so many scales. Where several do, all codes share one scale."""
    return next((size for size in SIZES if math.ceil(codes / size) == scales), None) if codes else None
