"""What a row of a log says of the epoch that it belongs to."""

from enum import IntEnum


class Kind(IntEnum):
    """What a row's epoch says."""

    BARE = 0  # no epoch
    WITHIN = 1  # inside epoch `epoch`
    SUMMARY = 2  # about epoch `epoch` as a whole, at its end
    EXACT = 3  # a fractional epoch: so many are done
    MAPPED = 4  # an integer in a dict: exact when the others are fractional
