import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.models.normalization import BatchNormalization


def trained(kind, x, **kwargs) -> list:
    """A training step's output, gradients of input, gamma and beta, and the moved statistics."""
    norm = kind(momentum=0.8, epsilon=1e-3, name="a", **kwargs)
    norm.build(x.shape)
    norm.set_weights([weight + 0.5 + 0.1 * index for index, weight in enumerate(norm.get_weights())])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = norm(x, training=True)
        total = tf.reduce_sum(tf.cast(y, tf.float32) ** 3)
    gradients = tape.gradient(total, [x, norm.gamma.value, norm.beta.value])
    return [y, *gradients, norm.moving_mean.value, norm.moving_variance.value]


@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 2, 1, 3), (1, 1, 1, 2)])
def test_a_training_step_is_keras_own(shape):
    """Statistics of one and two values a channel among them: TensorFlow's operation divides by their number - 1."""
    x = tf.constant(np.random.default_rng(0).normal(3, 2, shape), tf.float32)
    for ours, theirs in zip(trained(BatchNormalization, x), trained(keras.layers.BatchNormalization, x), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max() + 1e-6)


# Of statistics that begin at mean 0 and variance 1.
MOMENTA = pytest.mark.parametrize("momentum", [0.0, 0.9])


@MOMENTA
def test_variance_is_that_of_the_values_by_hand(momentum):
    norm = BatchNormalization(momentum=momentum)
    norm(np.float32([1, 2, 3, 6]).reshape(1, 2, 2, 1), training=True)
    assert float(norm.moving_mean[0]) == pytest.approx((1 - momentum) * 3)
    assert float(norm.moving_variance[0]) == pytest.approx(momentum + (1 - momentum) * (4 + 1 + 0 + 9) / 4)


@MOMENTA
@pytest.mark.parametrize("values, variance", [([1, 2, 3, 6], 3.5), ([5], 0)])
def test_variance_of_sizes_unknown_when_the_graph_is_built(values, variance, momentum):
    norm = BatchNormalization(momentum=momentum)
    norm.build((None, None, None, 1))
    run = tf.function(lambda x: norm(x, training=True), input_signature=[tf.TensorSpec([None, None, None, 1])])
    run(np.float32(values).reshape(1, 1, -1, 1))
    assert float(norm.moving_variance[0]) == pytest.approx(momentum + (1 - momentum) * variance)


@MOMENTA
@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_statistics_in_float32(dtype, momentum):
    x = tf.cast(np.full((2, 8, 8, 1), 1.0) + np.arange(8)[None, None, :, None] / 4, dtype.removeprefix("mixed_"))
    norm = BatchNormalization(momentum=momentum, dtype=dtype)
    y = norm(x, training=True)
    assert y.dtype == x.dtype
    assert norm.moving_mean.dtype == "float32"
    assert float(norm.moving_mean[0]) == pytest.approx((1 - momentum) * 1.875, abs=1e-6)
    assert float(norm.moving_variance[0]) == pytest.approx(momentum + (1 - momentum) * 0.328125, abs=1e-6)
    assert float(tf.reduce_mean(tf.cast(y, tf.float32))) == pytest.approx(0, abs=1e-2)


def is_fused(norm, **kwargs) -> bool:
    run = tf.function(lambda x: norm(x, **kwargs)).get_concrete_function(tf.TensorSpec([None, None, None, 3]))
    return any(operation.type.startswith("FusedBatchNorm") for operation in run.graph.get_operations())


def test_training_is_one_operation_and_all_else_keras_own():
    norm = BatchNormalization()
    norm.build((None, None, None, 3))
    assert is_fused(norm, training=True)
    assert not is_fused(norm, training=False)
    norm.trainable = False  # keeps its statistics and normalises by them
    assert not is_fused(norm, training=True)


def test_it_is_rebuilt_from_its_configuration():
    config = keras.saving.serialize_keras_object(BatchNormalization(momentum=0.5))
    assert config["registered_name"] == "kseg>BatchNormalization"
    assert keras.saving.deserialize_keras_object(config).momentum == 0.5
