import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.models.blocks import (
    AdaptiveAveragePool,
    Normalize,
    ResizeBilinear,
    Style,
    classifier,
    conv_bn_relu,
)


def test_normalize_subtracts_the_mean_in_rgb_order():
    pixels = Normalize()(np.array([[[[0, 0, 0], [255, 100, 50]]]], np.uint8))
    assert pixels.dtype == "float32"
    np.testing.assert_allclose(pixels[0, 0], [[-123.68, -116.779, -103.939], [131.32, -16.779, -53.939]], rtol=1e-6)


def test_normalize_equals_the_preprocessing_of_the_imagenet_weights():
    images = np.random.default_rng(0).integers(0, 256, (1, 4, 5, 3)).astype(np.uint8)
    bgr = keras.applications.resnet.preprocess_input(images.astype("float32"))
    np.testing.assert_allclose(Normalize()(images)[..., ::-1], bgr, atol=1e-5)


def test_resize_by_hand():
    x = np.array([0.0, 4.0], np.float32).reshape(1, 1, 2, 1)
    like = np.zeros((1, 1, 4, 3), np.uint8)
    # Output centres 0.5, 1.5, 2.5, 3.5 of 4 lie at 0.25, 0.75, 1.25, 1.75 of 2: pixels -0.25 (so 0), 0.25, 0.75, 1.25.
    np.testing.assert_allclose(np.ravel(ResizeBilinear()([x, like])), [0, 1, 3, 4], atol=1e-6)
    corners = ResizeBilinear(align_corners=True)([x, like])  # pixels 0, 1/3, 2/3, 1
    np.testing.assert_allclose(np.ravel(corners), [0, 4 / 3, 8 / 3, 4], atol=1e-6)


@pytest.mark.parametrize("sizes", [(5, 6, 33, 47), (1, 1, 7, 5), (4, 4, 32, 32), (9, 7, 4, 3), (30, 20, 239, 157)])
def test_resize_equals_tf_image_resize(sizes):
    height, width, to_height, to_width = sizes
    x = np.random.default_rng(1).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = tf.image.resize(x, (to_height, to_width), method="bilinear", antialias=False)
    resized = ResizeBilinear()([x, np.zeros((2, to_height, to_width, 3), np.uint8)])
    np.testing.assert_allclose(resized, expected, atol=1e-4)


def test_resize_in_a_graph_of_unknown_sizes():
    x, like = keras.Input((None, None, 2)), keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model([x, like], ResizeBilinear()([x, like]))
    assert model.output_shape == (None, None, None, 2)
    for height, width in [(8, 9), (13, 5)]:
        out = model([np.ones((1, 3, 2, 2), np.float32), np.zeros((1, height, width, 3), np.uint8)])
        np.testing.assert_allclose(out, np.ones((1, height, width, 2)), atol=1e-6)


def test_resize_gradient_spreads_the_weights():
    x = tf.Variable(np.zeros((1, 2, 2, 1), np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(ResizeBilinear()([x, tf.zeros((1, 4, 6, 3))]))
    np.testing.assert_allclose(np.ravel(tape.gradient(total, x)), [6, 6, 6, 6], rtol=1e-6)  # 24 pixels over 4


def test_resizing_and_pooling_compile_with_xla():
    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec((None, None, None, 2))])
    def compiled(x):
        return ResizeBilinear()([AdaptiveAveragePool(3)(x), x])

    x = np.random.default_rng(0).normal(size=(2, 5, 7, 2)).astype(np.float32)
    np.testing.assert_allclose(compiled(x), ResizeBilinear()([AdaptiveAveragePool(3)(x), x]), atol=1e-6)


def test_adaptive_pool_by_hand():
    x = np.arange(15, dtype=np.float32).reshape(1, 3, 5, 1)  # rows 0..4, 5..9, 10..14
    # Two bins of 3 rows: 0..1 and 1..2; of 5 columns: 0..2 and 2..4.
    np.testing.assert_allclose(np.ravel(AdaptiveAveragePool(2)(x)), [3.5, 5.5, 8.5, 10.5])
    np.testing.assert_allclose(np.ravel(AdaptiveAveragePool(1)(x)), [7])


def test_adaptive_pool_with_more_bins_than_pixels():
    x = np.array([1.0, 3.0], np.float32).reshape(1, 1, 2, 1)
    # Bins of 2 pixels in three: 0..0, 0..1, 1..1.
    np.testing.assert_allclose(AdaptiveAveragePool(3)(x)[0, :, :, 0], [[1, 2, 3]] * 3)


@pytest.mark.parametrize(("height", "width", "bins"), [(7, 11, 3), (60, 45, 6), (5, 6, 6)])
def test_adaptive_pool_equals_the_definition(height, width, bins):
    x = np.random.default_rng(2).normal(size=(2, height, width, 3)).astype(np.float32)
    expected = np.empty((2, bins, bins, 3), np.float32)
    for i in range(bins):
        for j in range(bins):
            rows = slice(i * height // bins, -(-(i + 1) * height // bins))
            columns = slice(j * width // bins, -(-(j + 1) * width // bins))
            expected[:, i, j] = x[:, rows, columns].mean(axis=(1, 2))
    np.testing.assert_allclose(AdaptiveAveragePool(bins)(x), expected, atol=1e-5)


def test_adaptive_pool_in_bfloat16_is_as_exact_as_bfloat16():
    x = tf.cast(np.full((1, 60, 60, 1), 1.0), "bfloat16")
    assert np.ravel(AdaptiveAveragePool(1, dtype="mixed_bfloat16")(x).numpy().astype(float)) == [1.0]


@pytest.mark.parametrize(
    "layer", [Normalize(mean=(1, 2, 3)), ResizeBilinear(align_corners=True, dtype="float32"), AdaptiveAveragePool(6)]
)
def test_layers_are_rebuilt_from_their_configuration(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert config["registered_name"] == f"kseg>{type(layer).__name__}"
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()


def test_conv_bn_relu_under_mixed_precision():
    style = Style(dtype="mixed_bfloat16")
    features = conv_bn_relu(keras.Input((4, 4, 3)), 5, 3, name="a", style=style)
    assert (features.dtype, features.shape) == ("bfloat16", (None, 4, 4, 5))
    assert classifier(features, 2, name="b", style=style).dtype == "float32"


def test_seeds_depend_on_seed_and_layer():
    seeds = {Style(seed=seed).seed_of(name) for seed in (0, 1) for name in ("a", "b")}
    assert len(seeds) == 4
    np.testing.assert_array_equal(*(Style().initializer("a")((3, 3, 2, 2)) for _ in range(2)))
