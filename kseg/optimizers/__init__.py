"""The optimizers of --optimizer."""

from kseg.optimizers.gradients import skipped_steps
from kseg.optimizers.rules import build_optimizer, is_norm_or_bias

__all__ = ["build_optimizer", "is_norm_or_bias", "skipped_steps"]
