"""Trains on one and on two logical CPUs and prints both runs as JSON; run by test_replicas.py.

A process of its own: the logical devices must be made before TensorFlow starts.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from kseg.averaging import WeightAverage
from kseg.input_wait import InputWait
from kseg.losses.cross_entropy import CrossEntropy
from kseg.metrics import ConfusionMatrix
from kseg.models import convolution, tap_products
from kseg.optimizers import build_optimizer, skipped_steps
from kseg.schedules import build_schedule


def data(seed: int, batch: int) -> tf.data.Dataset:
    """15 pictures [8, 8, 3]; every other pair is almost all 255, so two replicas have very different counts."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (15, 8, 8, 3), dtype=np.uint8)
    labels = images.argmax(axis=-1).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    labels[::4, 1:] = labels[1::4, 1:] = 255
    labels[4:8] = 255  # with batches of 4, one without a valid pixel
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch)


def network() -> keras.Model:
    """uint8 [N, 8, 8, 3] -> logits float32 [N, 8, 8, 3], with a 'backbone' and a 'head', by products of taps.

    Which are bfloat16's, but three digits would not tell the replicas' sums from rounding.
    """
    convolution.WAYS["float32"] = convolution.Way(tap_products, (1, 3), 3)
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 3), dtype="uint8")
    features = keras.layers.Rescaling(1 / 127.5, -1)(images)
    own = {"padding": "same", "on_processor": True}
    features = convolution.Conv2D(4, 3, activation="tanh", name="backbone", **own)(features)
    return keras.Model(images, convolution.Conv2D(3, 1, name="head", **own)(features))


def train(strategy: tf.distribute.Strategy, optimizer: str) -> dict:
    """Two epochs under a strategy: the last epoch's logs, the weights and the confusion matrix's sum."""
    with strategy.scope():
        model = network()
        rate = build_schedule("poly", learning_rate=0.05, epochs=2, steps_per_epoch=4)
        rule = build_optimizer(
            optimizer, learning_rate=rate, weight_decay=0.01, head_multiplier=10.0, is_head=lambda v: "head" in v.path
        )
        metric = ConfusionMatrix(3)
        model.compile(optimizer=rule, loss=CrossEntropy(), metrics=[metric])
    # The last batch holds 3 pictures: 2 + 1. The replicas take their batches as kseg-train does, the one as Keras does.
    callbacks = [InputWait()] if strategy.num_replicas_in_sync > 1 else []
    validation = data(1, batch=4)
    history = model.fit(data(0, batch=4), epochs=2, validation_data=validation, callbacks=callbacks, verbose=0).history
    logs = {name: values[-1] for name, values in history.items()}
    return {
        "logs": logs,
        "weights": np.concatenate([weight.ravel() for weight in model.get_weights()]).tolist(),
        "counted": int(metric.scores().confusion.sum()),
    }


# Of two examples each; what overflows does so on one replica alone.
BATCHES = [[1.0, 2.0], [0.5, 0.25], [np.inf, 1.0], [-1.0, 1.5], [2.0, -2.0], [1.0, np.nan], [3.0, 0.125], [1.0, 1.0]]


def share(strategy: tf.distribute.Strategy, batch) -> tf.Tensor:
    """Each replica's examples of a batch [2]."""
    parts = np.split(np.float32(batch), strategy.num_replicas_in_sync)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def copies(strategy: tf.distribute.Strategy, variable) -> list:
    """A variable's value on every replica."""
    return [copy.numpy().tolist() for copy in strategy.experimental_local_results(variable)]


def follow(strategy: tf.distribute.Strategy, name: str, **options) -> dict:
    """Two weights that follow the gradients of BATCHES, those with an infinite loss only where it is scaled."""
    with strategy.scope():
        weights = [keras.Variable(np.float32([1.0, 2.0])), keras.Variable(np.float32(3.0))]
        optimizer = build_optimizer(name, learning_rate=0.1, weight_decay=0.1, **options)
        optimizer.build(weights)

    def step(examples):
        with tf.GradientTape() as tape:
            first, second = (weight.value for weight in weights)
            loss = tf.reduce_sum(examples * tf.reduce_sum(first**2)) + tf.reduce_sum(examples**2 * second)
            loss = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(loss, [first, second]), weights)

    run = tf.function(lambda examples: strategy.run(step, args=(examples,)))
    batches = [batch for batch in BATCHES if options["loss_scaled"] or np.isfinite(batch).all()]
    for batch in batches:
        run(share(strategy, batch))
    return {
        "weights": [copies(strategy, weight.value) for weight in weights],
        "updates": int(keras.ops.convert_to_numpy(optimizer.iterations)),
        "skipped": skipped_steps(optimizer, len(batches)),
    }


def averaged(strategy: tf.distribute.Strategy) -> dict:
    """A weight and the statistics of a normalisation that is not synchronized, averaged once and swapped."""
    with strategy.scope():
        weight, norm = keras.Variable(np.float32(1.0)), keras.layers.BatchNormalization(momentum=0.5)
        norm.build((None, 1))
        average = WeightAverage([weight, *norm.variables], decay=0.9)
    weight.assign(11.0)
    step = tf.function(lambda pixels: strategy.run(lambda x: norm(x[:, None], training=True), args=(pixels,)))
    step(share(strategy, [2.0, 6.0]))
    average.update()
    average.swap()
    swapped = [copies(strategy, each.value) for each in (weight, norm.moving_mean)]
    average.swap()
    return {"swapped": swapped, "back": [copies(strategy, each.value) for each in (weight, norm.moving_mean)]}


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    labels = np.concatenate([batch for _, batch in data(1, batch=4).as_numpy_iterator()])
    one, two = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    runs = {"averaged": averaged(two), "followed": []}
    for kind in ("sgd", "adamw"):
        runs[kind] = {"one": train(one, kind), "two": train(two, kind)}
        runs[kind]["valid"] = int((labels != 255).sum())
    ways = [(1, 0.5, False), (1, None, True), (2, 0.5, False), (2, 0.5, True)]
    for name, (steps, norm, scaled) in [*(("adamw", way) for way in ways), ("sgd", ways[-1])]:
        options = {"name": name, "accumulation_steps": steps, "clip_norm": norm, "loss_scaled": scaled}
        runs["followed"].append({"options": options, "one": follow(one, **options), "two": follow(two, **options)})
    print("RUNS " + json.dumps(runs))
