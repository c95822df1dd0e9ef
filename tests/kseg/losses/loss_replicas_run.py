"""Every loss on one and on two logical CPUs, as JSON; run by test_reduction.py.

A process of its own: the logical devices must be made before TensorFlow starts.
"""

import json

import keras
import numpy as np
import tensorflow as tf

from kseg.losses.build import build_loss
from kseg.losses.reduction import gathered, global_sum
from kseg.registry import LOSSES

WEIGHTS = (0.5, 2.0, 1.0, 3.0)
SHARES = (2, 1)  # pictures of three that each replica gets


def cases() -> dict:
    """Labels [3, 8, 6] and logits [3, 8, 6, 4] by name; the third picture is the second replica's."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (3, 8, 6, 4)).astype(np.float32)
    labels = rng.integers(0, 3, (3, 8, 6)).astype(np.uint8)
    labels[0, 2:] = labels[1, :, 1:] = 255
    labels[2, 0, 0] = 3  # a class that one replica alone sees
    void, nothing = labels.copy(), np.full_like(labels, 255)
    void[2] = 255
    right = np.eye(4, dtype=np.float32)[np.where(labels == 255, 0, labels)] * 5 + logits / 9
    right[2] *= 2  # the pixels that are kept all the same are all the first replica's
    return {
        "uneven": (labels, logits),
        "one replica without a valid pixel": (void, logits),
        "no valid pixel": (nothing, logits),
        "all easy": (labels, right),
        "all equal": (labels, np.zeros_like(logits)),
    }


def step(loss, labels, logits):
    with tf.GradientTape() as tape:
        tape.watch(logits)
        value = loss(labels, logits)
    return value, tape.gradient(value, logits)


def split(strategy, array):
    parts = np.split(array, [SHARES[0]])
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def compared(strategy, loss) -> dict:
    """Value and gradient on one device and on two replicas, by case."""
    one = tf.function(lambda labels, logits: step(loss, labels, logits))
    two = tf.function(lambda labels, logits: strategy.run(step, args=(loss, labels, logits)))
    results = {}
    for case, (labels, logits) in cases().items():
        value, gradient = one(tf.constant(labels), tf.constant(logits))
        values, gradients = map(
            strategy.experimental_local_results, two(split(strategy, labels), split(strategy, logits))
        )
        results[case] = {
            "one": {"value": float(value), "gradient": np.ravel(gradient).tolist()},
            "two": {
                "values": [float(value) for value in values],
                "gradient": np.concatenate([np.ravel(part) for part in gradients]).tolist(),
            },
        }
    return results


def trained(strategy) -> dict:
    """Loss and weights after Keras's own fit with all losses at once, in batches of 4 and 3 pictures.

    (Keras adds up the replicas' parts of the very first batch to learn the shapes: these must be alike.)
    """
    labels, logits = cases()["uneven"]
    order = [0, 1, 2, 2, 0, 1, 2]
    batches = tf.data.Dataset.from_tensor_slices((logits[order], labels[order])).batch(4)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8, 6, 4)), keras.layers.Conv2D(4, 3, padding="same")])
        loss = build_loss("+".join(LOSSES), class_weights=WEIGHTS, label_smoothing=0.1)
        model.compile(keras.optimizers.SGD(0.1), loss=loss, jit_compile=False)
    history = model.fit(batches, epochs=2, verbose=0).history
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    return {"losses": history["loss"], "weights": weights.tolist()}


def pieces(strategy) -> dict:
    """What `global_sum` and `gathered` make of [[0, 1], [2, 3]] and [[4, 5]]."""

    def run(part):
        with tf.GradientTape() as tape:
            tape.watch(part)
            total = tf.reduce_sum(tf.square(global_sum(tf.reduce_sum(part, axis=0))))
        everyone, begin = gathered(part)
        return total, tape.gradient(total, part), everyone, begin

    values = tf.function(lambda part: strategy.run(run, args=(part,)))(
        split(strategy, np.arange(6, dtype=np.float32).reshape(3, 2))
    )
    names = ("total", "gradient", "everyone", "begin")
    results = [strategy.experimental_local_results(value) for value in values]
    return {name: [part.numpy().tolist() for part in result] for name, result in zip(names, results, strict=True)}


if __name__ == "__main__":
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert two.num_replicas_in_sync == 2
    losses = {name: build_loss(name, class_weights=WEIGHTS, label_smoothing=0.1) for name in LOSSES}
    runs = {name: compared(two, loss) for name, loss in losses.items()}
    trainings = {"one": trained(tf.distribute.get_strategy()), "two": trained(two)}
    print("RUNS " + json.dumps({"losses": runs, "trainings": trainings, "pieces": pieces(two)}))
