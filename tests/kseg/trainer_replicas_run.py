"""Trains a run on two logical CPUs, mirrored; run by test_trainer.py with the data set, the run directory and flags.

A process of its own: the logical devices must be made before TensorFlow starts. Before, it prints what a batch is
refused with that two devices cannot share.
"""

import dataclasses
import json
import sys

import pytest
import tensorflow as tf
from small_resnet import shrink

from kseg import devices, trainer
from kseg.config import TrainConfig
from kseg.errors import UsageError

if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    # The real strategy mirrors over GPUs, which a test machine has none of.
    devices.strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    shrink(pytest.MonkeyPatch())
    config = TrainConfig(data=sys.argv[1], output_dir=sys.argv[2], **json.loads(sys.argv[3]))
    try:
        trainer.train(dataclasses.replace(config, output_dir=f"{config.output_dir}-odd", mini_batch_size=3))
    except UsageError as error:
        print(f"refused: {error}")
    trainer.train(config)
