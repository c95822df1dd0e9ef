"""Trains a deterministic run; run by test_trainer_options.py with the data set, the run directory and flags.

A process of its own, since the switch is the process's and cannot be taken back.
"""

import json
import sys

import pytest
from small_resnet import shrink
from tensorflow.python.framework.config import is_op_determinism_enabled

from kseg import trainer
from kseg.config import TrainConfig

if __name__ == "__main__":
    shrink(pytest.MonkeyPatch())
    trainer.train(TrainConfig(data=sys.argv[1], output_dir=sys.argv[2], **json.loads(sys.argv[3])))
    assert is_op_determinism_enabled()  # tiny runs may well agree without
