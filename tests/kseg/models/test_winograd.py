import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.models import graphs, winograd
from kseg.models.winograd import ServedConv2D, served_weights

# N, H, W, C, F, dilation: odd sizes, maps smaller than a tile or than the dilation, and one whose filters are in parts.
SHAPES = [(2, 7, 9, 8, 5, 1), (1, 30, 30, 16, 8, 4), (2, 6, 5, 4, 3, 2), (1, 1, 1, 3, 2, 1), (1, 3, 2, 4, 4, 12)]


def tensors(batch, height, width, channels, filters):
    rng = np.random.default_rng(0)
    shapes = (batch, height, width, channels), (3, 3, channels, filters), (batch, height, width, filters)
    return [tf.constant(rng.normal(size=shape), tf.float32) for shape in shapes]


def direct(x, kernel, rate):
    """The convolution in float64."""
    return tf.nn.convolution(tf.cast(x, tf.float64), tf.cast(kernel, tf.float64), 1, "SAME", dilations=rate)


def value_and_gradients(function, x, kernel, upstream):
    with tf.GradientTape() as tape:
        tape.watch([x, kernel])
        y = function(x, kernel)
        total = tf.reduce_sum(y * tf.cast(upstream, y.dtype))
    return [y, *tape.gradient(total, [x, kernel])]


COMPILED = functools.partial(tf.function, jit_compile=True)


@pytest.mark.parametrize("wrap", [lambda function: function, tf.function, COMPILED], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_the_direct_ones(shape, wrap):
    *sizes, rate = shape
    arguments = tensors(*sizes)
    ours = value_and_gradients(wrap(lambda x, kernel: winograd.convolution(x, kernel, rate)), *arguments)
    theirs = value_and_gradients(lambda x, kernel: direct(x, kernel, rate), *arguments)
    for our, their in zip(ours, theirs, strict=True):
        assert our.shape == their.shape
        np.testing.assert_allclose(our, their, rtol=0, atol=1e-5 * np.abs(their).max())


@pytest.mark.parametrize("channels, filters, axis", [(6, 10, 3), (10, 6, 2)])
def test_channels_or_filters_in_parts_change_nothing(monkeypatch, channels, filters, axis):
    x, kernel, upstream = tensors(1, 8, 8, channels, filters)
    whole = value_and_gradients(lambda x, kernel: winograd.convolution(x, kernel), x, kernel, upstream)
    monkeypatch.setattr(winograd, "PART", 24)
    monkeypatch.setattr(graphs, "shared", lambda function: function)  # not by the graphs that `whole` was made by
    assert [part.stop - part.start for part in winograd._parts(kernel.shape, axis)] == [4, 4, 2]
    for part, all_at_once in zip(
        value_and_gradients(lambda x, kernel: winograd.convolution(x, kernel), x, kernel, upstream), whole, strict=True
    ):
        np.testing.assert_allclose(part, all_at_once, atol=1e-5 * np.abs(all_at_once).max())


def test_a_graph_of_unknown_sizes():
    run = tf.function(
        lambda x, kernel: winograd.convolution(x, kernel, 2),
        input_signature=[tf.TensorSpec([None, None, None, 4]), tf.TensorSpec([3, 3, 4, 2])],
    )
    for batch, height, width in [(1, 5, 9), (3, 16, 1)]:
        x, kernel, _ = tensors(batch, height, width, 4, 2)
        np.testing.assert_allclose(run(x, kernel), direct(x, kernel, 2), atol=1e-4)


def test_rounding_stays_far_below_what_training_notices():
    """The direct sum of so many products errs by 2e-7 of the outputs' standard deviation, bfloat16 by 4e-3.

    What processors add up in another order: 3e-6 with AVX2, 5.4e-6 with AVX-512.
    """
    x, kernel, _ = tensors(1, 12, 12, 512, 8)
    exact = direct(x, kernel, 1).numpy()
    assert np.std(winograd.convolution(x, kernel).numpy() - exact) / np.std(exact) < 8e-6


@pytest.mark.parametrize(
    "shape, rate", [((1, 30, 30), 1), ((2, 7, 13), 2), ((3, 1, 1), 4), ((2, 31, 29), 4), ((1, 2, 50), 12)]
)
def test_served_values_are_those_of_the_direct_convolution(shape, rate):
    random = np.random.default_rng(0)
    x, kernel, bias = random.normal(size=(*shape, 5)), random.normal(size=(3, 3, 5, 4)), random.normal(size=4)
    layer = ServedConv2D(4, rate)
    layer.build((None, None, None, 5))
    layer.set_weights(served_weights(kernel, bias))
    x = x.astype("float32")
    direct = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=rate)
    direct.build((None, None, None, 5))
    direct.set_weights([kernel, bias])
    want = direct(x).numpy()
    np.testing.assert_allclose(layer(x), want, atol=1e-4)  # values are some 7 in size


def test_one_graph_takes_any_size_and_is_rebuilt_from_its_configuration():
    layer = ServedConv2D(4, 2, name="c")
    images = keras.Input((None, None, 3))
    model = keras.Model(images, layer(images))
    assert model.output_shape == (None, None, None, 4)
    for size in (1, 9):
        assert model(np.ones((2, size, size + 1, 3), "float32")).shape == (2, size, size + 1, 4)
    again = ServedConv2D.from_config(layer.get_config())
    assert (again.name, again.filters, again.dilation_rate) == ("c", 4, 2)


def test_weights_of_a_convolution_without_bias_have_zeros_for_it():
    kernel, bias = served_weights(np.ones((3, 3, 2, 4), "float32"))
    assert kernel.shape == (25, 2, 4)
    np.testing.assert_array_equal(bias, np.zeros(4))
