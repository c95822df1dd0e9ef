import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import kernels
from kseg.models import tap_products
from kseg.models.convolution import WAYS, Conv2D


def values_and_gradients(convolve, x, kernel) -> list[np.ndarray]:
    """Outputs and the gradients of a sum of their cubes, which makes every pixel's upstream gradient another."""
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = convolve(x, kernel)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 3)
    return [tf.cast(each, tf.float32).numpy() for each in (y, *tape.gradient(loss, [x, kernel]))]


def keras_own(rate: int):
    return lambda x, kernel: keras.ops.conv(x, kernel, padding="same", dilation_rate=rate)


def drawn(*shape, dtype="float32"):
    return tf.cast(np.random.default_rng(0).normal(size=shape), dtype)


@pytest.mark.parametrize(("side", "rate"), [(1, 1), (3, 1), (3, 2), (3, 4)])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (3, 2), (1, 1)])
def test_values_and_gradients_are_keras_own(side, rate, height, width):
    """Also where the taps reach past the whole map; in float32, to see more than bfloat16's three digits."""
    x, kernel = drawn(2, height, width, 5), drawn(side, side, 5, 7)
    expected = values_and_gradients(keras_own(rate), x, kernel)
    found = values_and_gradients(lambda x, kernel: tap_products.convolution(x, kernel, rate), x, kernel)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def in_a_graph(x, kernel):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = tap_products.convolution(x, kernel, 2)
        loss = tf.reduce_sum(y**3)
    return y, *tape.gradient(loss, [x, kernel])


@pytest.mark.parametrize(
    "options",
    [
        {"input_signature": [tf.TensorSpec((None, None, None, 4)), tf.TensorSpec((3, 3, 4, 4))]},
        {"jit_compile": True},
    ],
    ids=str,
)
def test_maps_of_a_size_that_the_graph_does_not_know_and_xla(options):
    x, kernel = drawn(2, 6, 5, 4), drawn(3, 3, 4, 4)
    expected = values_and_gradients(lambda x, kernel: tap_products.convolution(x, kernel, 2), x, kernel)
    for found, known in zip(tf.function(in_a_graph, **options)(x, kernel), expected, strict=True):
        np.testing.assert_allclose(found, known, rtol=1e-5, atol=1e-5 * np.abs(known).max())


@pytest.mark.parametrize(("side", "rate"), [(1, 1), (3, 4)])
def test_a_bfloat16_layer_is_as_close_to_float32_as_keras_own(side, rate, monkeypatch):
    """Relative to the largest value; bfloat16 rounds by 2^-9 of each, and the sums are float32's."""
    channels, taken = WAYS["bfloat16"].channels, []
    real = tap_products.convolution
    monkeypatch.setattr(tap_products, "convolution", lambda *given: taken.append(given) or real(*given))
    x = drawn(2, 9, 8, channels, dtype="bfloat16")
    kernel = tf.cast(drawn(side, side, channels, channels) / side / 16, "bfloat16")
    exact = values_and_gradients(keras_own(rate), *(tf.cast(each, "float32") for each in (x, kernel)))
    errors = []
    for way in (True, False):
        layer = Conv2D(channels, side, padding="same", dilation_rate=rate, dtype="bfloat16", on_processor=way)
        found = values_and_gradients(layer.convolution_op, x, kernel)
        errors.append(
            [np.abs(one - other).max() / np.abs(other).max() for one, other in zip(found, exact, strict=True)]
        )
    ours, theirs = errors
    assert len(taken) == 1
    assert max(ours) < 0.02
    assert all(one < 1.5 * other for one, other in zip(ours, theirs, strict=True))


def test_other_backends_convolve_by_keras(monkeypatch):
    x, kernel = drawn(1, 6, 5, 4), drawn(3, 3, 4, 4)
    expected = tap_products.forward(x, kernel, 2)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setattr(kernels, "dilated_convolution", None)
    np.testing.assert_allclose(tap_products.forward(x, kernel, 2), expected, rtol=1e-5, atol=1e-5)
