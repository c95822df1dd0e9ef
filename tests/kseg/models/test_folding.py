"""The network for inference: the trained one's values without its batch normalisation."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from kseg.models.folding import folded, is_float32
from kseg.models.segmenter import build_segmenter, without_aux
from kseg.models.winograd import ServedConv2D

SIZES = ((1, 1), (33, 47), (64, 72))
pytestmark = pytest.mark.usefixtures("small_resnet")


def layers(network: keras.Model) -> list[keras.layers.Layer]:
    nested = (layers(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers)
    return list(itertools.chain.from_iterable(nested))


def norms(network: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in layers(network) if isinstance(layer, keras.layers.BatchNormalization)]


def randomise(network: keras.Model) -> keras.Model:
    """Statistics, scales and shifts as a training might leave them, so that a wrong order or sign shows."""
    random = np.random.default_rng(1)
    for norm in norms(network):
        channels = norm.gamma.shape[0]
        low_high = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0))  # gamma, beta, mean, variance
        norm.set_weights([random.uniform(*bounds, channels) for bounds in low_high])
    return network


def segmenter(algorithm: str, **options) -> keras.Model:
    network = build_segmenter(algorithm=algorithm, backbone="resnet-18", num_classes=4, **options)
    return randomise(without_aux(network))


def pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (2, height, width, 3), dtype=np.uint8)


def logits(network: keras.Model, size: tuple[int, int]) -> np.ndarray:
    return ops.convert_to_numpy(network(pixels(*size), training=False))


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("algorithm", ["fcn", "psp", "deeplab"])
def test_a_folded_network_gives_the_same_logits_and_classes(algorithm, winograd):
    network = segmenter(algorithm, aux=algorithm == "psp")
    copy = folded(network, winograd=winograd)
    assert norms(network) and not norms(copy)
    assert any(isinstance(layer, ServedConv2D) for layer in layers(copy)) == winograd
    for size in SIZES:
        want, found = logits(network, size), logits(copy, size)
        np.testing.assert_allclose(found, want, atol=1e-4 * np.abs(want).max())
        assert (found.argmax(-1) == want.argmax(-1)).mean() >= 0.999
    assert len(np.unique(found.argmax(-1))) > 1


def test_bfloat16_arithmetic_with_float32_logits():
    network = segmenter("deeplab")
    copy = folded(network, "bfloat16")
    dtypes = {layer.name: layer.compute_dtype for layer in layers(copy)}
    assert {name for name, dtype in dtypes.items() if dtype == "float32"} >= {"normalize", "head_logits", "logits"}
    assert dtypes["conv4_block1_2_conv"] == dtypes["head_aspp2_conv"] == "bfloat16"
    assert is_float32(network) and not is_float32(copy)
    want, found = logits(network, (64, 72)), logits(copy, (64, 72))
    assert found.dtype == np.float32
    assert 1e-4 < np.abs(found - want).max() / np.abs(want).max() < 0.1  # 8 bits through 20 layers
    assert (found.argmax(-1) == want.argmax(-1)).mean() >= 0.95


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_maps_keep_their_size_by_padding_that_says_so(precision):
    """TensorFlow has a convolution add a residual block's shortcut only where it knows their sizes to be the same."""
    copy = folded(segmenter("fcn"), precision)
    plain = [layer for layer in layers(copy) if isinstance(layer, keras.layers.Conv2D) and layer.strides == (1, 1)]
    assert len(plain) > 3
    assert {layer.padding for layer in plain} == {"same"}


def test_a_network_trained_in_bfloat16_is_served_in_float32():
    trained = segmenter("fcn", precision="bfloat16")
    exact = segmenter("fcn")
    exact.set_weights(trained.get_weights())
    copy = folded(trained)
    assert is_float32(copy) and not is_float32(trained)
    np.testing.assert_allclose(logits(copy, (33, 47)), logits(exact, (33, 47)), rtol=1e-3, atol=1e-3)


def test_what_does_not_directly_follow_a_convolution_of_its_own_is_kept():
    images = keras.Input((None, None, 3), dtype="uint8")
    x = first = keras.layers.BatchNormalization()(keras.layers.Rescaling(1 / 255)(images))  # follows none
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3, activation="relu", padding="same")(x))  # a ReLU
    used_twice = keras.layers.Conv2D(4, 1)(x)
    x = keras.layers.BatchNormalization()(used_twice) + used_twice
    x = keras.layers.BatchNormalization()(x)  # a sum
    own_bias = keras.layers.Conv2D(4, 3, strides=2, groups=2, bias_initializer="ones")(keras.layers.ZeroPadding2D(1)(x))
    x = keras.layers.BatchNormalization(scale=False)(own_bias)  # the one that can be folded
    network = randomise_all(keras.Model(images, [x, first]))
    copy = folded(network)
    assert (len(norms(network)), len(norms(copy))) == (5, 4)
    for want, found in zip(network(pixels(9, 8)), copy(pixels(9, 8)), strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(want), rtol=1e-5)


def randomise_all(network: keras.Model) -> keras.Model:
    random = np.random.default_rng(3)
    network.set_weights([random.uniform(0.5, 1.5, weights.shape) for weights in network.get_weights()])
    return network
