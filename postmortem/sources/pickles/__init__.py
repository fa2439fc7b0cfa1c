"""Pickles as data: an inert interpreter, the records it builds, and what is reported as dangerous."""

from postmortem.sources.pickles.danger import dangerous
from postmortem.sources.pickles.machine import read_pickle
from postmortem.sources.pickles.records import Limits, Pickled

__all__ = ["Limits", "Pickled", "dangerous", "read_pickle"]
