"""The direct convolution's values, for any size, dilation and batch."""

import keras
import numpy as np
import pytest
from keras import ops

from kseg.models.winograd import WinogradConv2D, winograd_weights


@pytest.mark.parametrize(
    "shape, rate", [((1, 30, 30), 1), ((2, 7, 13), 2), ((3, 1, 1), 4), ((2, 31, 29), 4), ((1, 2, 50), 12)]
)
def test_values_are_those_of_the_direct_convolution(shape, rate):
    random = np.random.default_rng(0)
    x, kernel, bias = random.normal(size=(*shape, 5)), random.normal(size=(3, 3, 5, 4)), random.normal(size=4)
    layer = WinogradConv2D(4, rate)
    layer.build((None, None, None, 5))
    layer.set_weights(winograd_weights(kernel, bias))
    x = x.astype("float32")
    direct = keras.layers.Conv2D(4, 3, padding="same", dilation_rate=rate)
    direct.build((None, None, None, 5))
    direct.set_weights([kernel, bias])
    want = ops.convert_to_numpy(direct(x))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), want, atol=1e-4)  # values are some 7 in size


def test_one_graph_takes_any_size_and_is_rebuilt_from_its_configuration():
    layer = WinogradConv2D(4, 2, name="c")
    images = keras.Input((None, None, 3))
    model = keras.Model(images, layer(images))
    assert model.output_shape == (None, None, None, 4)
    for size in (1, 9):
        assert model(np.ones((2, size, size + 1, 3), "float32")).shape == (2, size, size + 1, 4)
    again = WinogradConv2D.from_config(layer.get_config())
    assert (again.name, again.filters, again.dilation_rate) == ("c", 4, 2)


def test_weights_of_a_convolution_without_bias_have_zeros_for_it():
    kernel, bias = winograd_weights(np.ones((3, 3, 2, 4), "float32"))
    assert kernel.shape == (25, 2, 4)
    np.testing.assert_array_equal(bias, np.zeros(4))
