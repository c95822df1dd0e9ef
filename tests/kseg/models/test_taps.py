import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.models import taps
from kseg.models.convolution import Conv2D


def values_and_gradients(convolve, x, kernel) -> list[np.ndarray]:
    """Outputs and the gradients of a sum of their cubes, which makes every pixel's upstream gradient another."""
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = convolve(x, kernel)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 3)
    return [tf.cast(each, tf.float32).numpy() for each in (y, *tape.gradient(loss, [x, kernel]))]


def drawn(*shape, dtype="float32"):
    return tf.cast(np.random.default_rng(0).normal(size=shape), dtype)


@pytest.mark.parametrize(("side", "rate"), [(1, 1), (3, 1), (3, 2), (3, 4)])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (3, 2), (1, 1)])
def test_values_and_gradients_are_keras_own(side, rate, height, width):
    """Also where the taps reach past the whole map; in float32, to see more than bfloat16's three digits."""
    x, kernel = drawn(2, height, width, 5), drawn(side, side, 5, 7)
    own = lambda x, kernel: keras.ops.conv(x, kernel, padding="same", dilation_rate=rate)  # noqa: E731
    expected = values_and_gradients(own, x, kernel)
    found = values_and_gradients(lambda x, kernel: taps.convolution(x, kernel, rate), x, kernel)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_maps_of_a_size_that_the_graph_does_not_know():
    x, kernel = drawn(2, 6, 5, 4), drawn(3, 3, 4, 4)
    convolve = tf.function(
        lambda x, kernel: values_in_graph(x, kernel),
        input_signature=[tf.TensorSpec((None, None, None, 4)), tf.TensorSpec(kernel.shape)],
    )
    expected = values_and_gradients(lambda x, kernel: taps.convolution(x, kernel, 2), x, kernel)
    for found, known in zip(convolve(x, kernel), expected, strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-5 * np.abs(known).max())


def values_in_graph(x, kernel):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = taps.convolution(x, kernel, 2)
        loss = tf.reduce_sum(y**3)
    return y, *tape.gradient(loss, [x, kernel])


@pytest.mark.parametrize(("side", "rate"), [(1, 1), (3, 4)])
def test_a_bfloat16_layer_is_as_close_to_float32_as_keras_own(side, rate):
    """Relative to the largest value; bfloat16 rounds by 2^-9 of each, and the sums are float32's."""
    x = drawn(2, 9, 8, 256, dtype="bfloat16")
    errors = []
    for way in (True, False):
        layer = Conv2D(256, side, padding="same", dilation_rate=rate, dtype="bfloat16", on_processor=way)
        layer.build(x.shape)
        kernel = tf.cast(drawn(side, side, 256, 256) / side / 16, "bfloat16")
        exact = values_and_gradients(
            lambda x, kernel: tf.nn.convolution(x, kernel, padding="SAME", dilations=rate),
            *(tf.cast(each, "float32") for each in (x, kernel)),
        )
        found = values_and_gradients(layer.convolution_op, x, kernel)
        errors.append(
            [np.abs(one - other).max() / np.abs(other).max() for one, other in zip(found, exact, strict=True)]
        )
    ours, theirs = errors
    assert max(ours) < 0.02
    assert all(one < 1.5 * other for one, other in zip(ours, theirs, strict=True))
