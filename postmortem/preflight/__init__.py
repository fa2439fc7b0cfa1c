"""The check before a long run: one batch, on a copy of the model, nothing of the training is changed."""

from postmortem.preflight.training import check_gradients, diagnose_training

__all__ = ["check_gradients", "diagnose_training"]
