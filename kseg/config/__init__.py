"""Every flag of the kseg commands, as frozen dataclasses: names, ranges and defaults in one place.

The hyperparameters of Amazon SageMaker's built-in semantic segmentation algorithm keep their names, ranges and
defaults (docs/decisions/0002 tells why these of the two published sets). Imports no TensorFlow, so --help is fast.
"""

from kseg.config.commands import EvalConfig, ExportConfig, PredictConfig
from kseg.config.train import TrainConfig

__all__ = ["EvalConfig", "ExportConfig", "PredictConfig", "TrainConfig"]
