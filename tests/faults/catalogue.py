"""All faults by name."""

from tests.faults import in_data, in_model, in_optimizer, in_process
from tests.faults.fault import FAULTS, Fault, Seen

__all__ = ["FAULTS", "Fault", "Seen", "in_data", "in_model", "in_optimizer", "in_process"]
