"""Trains a small network with batch normalisation and prints its weights as JSON; run by test_replicas.py.

Argument: logical devices, 1 where TF_CONFIG names workers. One device also trains with the statistics of half batches.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

from kseg import devices, kernels, workers
from kseg.config import TrainConfig
from kseg.losses.cross_entropy import CrossEntropy
from kseg.models.blocks import Dropout
from kseg.models.normalization import BatchNormalization

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(size=(4, 4, 8, 8, 3)).astype(np.float32)  # four batches of four
IMAGES[:, 2:] = 2 * IMAGES[:, 2:] + 1  # the halves of a batch have other statistics
MASKS = RANDOM.integers(0, 3, (4, 4, 8, 8)).astype(np.uint8)


class OfHalves(BatchNormalization):
    """Normalises each half of a batch by itself, as two devices do, and keeps the statistics of the first."""

    def call(self, inputs, training=None, mask=None):
        first, second = tf.split(inputs, 2)
        kept = [tf.identity(variable) for variable in self.non_trainable_variables]
        second = super().call(second, training=training)
        for variable, value in zip(self.non_trainable_variables, kept, strict=True):
            variable.assign(value)
        return tf.concat([super().call(first, training=training), second], axis=0)


def train(strategy: tf.distribute.Strategy, norm: type, synchronized: bool) -> list[float]:
    """The weights and statistics after a step on each batch."""
    with strategy.scope():
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, 3))
        x = norm(synchronized=synchronized)(keras.layers.Conv2D(4, 3, padding="same")(inputs))
        x = Dropout(0.5, seed=1)(keras.layers.Activation("relu")(x))
        network = keras.Model(inputs, keras.layers.Conv2D(3, 1)(x))
        loss, rule = CrossEntropy(), keras.optimizers.SGD(0.5, momentum=0.9)
        rule.build(network.trainable_variables)
    each = 4 // strategy.num_replicas_in_sync

    def step(images, masks):
        begin = kernels.replica() * each
        images, masks = images[begin:][:each], masks[begin:][:each]
        with tf.GradientTape() as tape:
            value = loss(masks, network(images, training=True))
        rule.apply(tape.gradient(value, network.trainable_variables))

    run = tf.function(lambda *batch: strategy.run(step, args=batch))
    for batch in zip(IMAGES, MASKS, strict=True):
        run(*map(tf.constant, batch))
    return np.concatenate([weight.ravel() for weight in network.get_weights()[:-2]]).tolist()


if __name__ == "__main__":
    config = TrainConfig(data="unused", output_dir="unused", logical_devices=int(sys.argv[1]))
    with workers.together():
        strategy = devices.strategy(config)
        found = {str(flag): train(strategy, BatchNormalization, synchronized=flag) for flag in (False, True)}
        if strategy.num_replicas_in_sync == 1:
            found["halves"] = train(strategy, OfHalves, synchronized=False)
        print("WEIGHTS " + json.dumps(found), flush=True)
    workers.leave(0)
