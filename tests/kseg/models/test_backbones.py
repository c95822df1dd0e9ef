import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_cv_resnets import keras_cv_resnet

from kseg.errors import UsageError
from kseg.models.backbones import build_backbone, stage_rates
from kseg.models.blocks import Style
from kseg.models.presets import applications_name

APPLICATIONS = {"resnet-50": keras.applications.ResNet50, "resnet-101": keras.applications.ResNet101}


@pytest.fixture(scope="module")
def resnet18():
    return {stride: build_backbone("resnet-18", output_stride=stride, style=Style()) for stride in (8, 16, 32)}


def convolutions(model) -> dict:
    return {layer.name: layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)}


def randomize_statistics(model, seed=0):
    """Gives every batch normalisation statistics as different from 0 and 1 as trained ones."""
    random = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            low_high = [(0.5, 1.0), (-0.2, 0.2), (-0.2, 0.2), (0.5, 2.0)]
            layer.set_weights([random.uniform(*ends, layer.gamma.shape) for ends in low_high])


@pytest.mark.parametrize(
    ("output_stride", "sizes"), [(8, [(5, 6), (5, 6)]), (16, [(3, 3), (3, 3)]), (32, [(3, 3), (2, 2)])]
)
def test_feature_sizes_at_an_odd_size(resnet18, output_stride, sizes):
    taps = resnet18[output_stride](np.zeros((1, 33, 47, 3), np.float32))
    assert [tuple(taps[tap].shape) for tap in ("stage3", "stage4")] == [(1, *sizes[0], 256), (1, *sizes[1], 512)]


def test_stage_rates():
    assert stage_rates(32) == {"conv2": (1, 1, 1), "conv3": (2, 1, 1), "conv4": (2, 1, 1), "conv5": (2, 1, 1)}
    assert stage_rates(16)["conv5"] == (1, 1, 2)
    assert stage_rates(8) == {"conv2": (1, 1, 1), "conv3": (2, 1, 1), "conv4": (1, 1, 2), "conv5": (1, 2, 4)}


def test_dilation_of_a_bottleneck_counts_the_stride_before_it():
    dilations = {
        name: layer.dilation_rate[0] for name, layer in convolutions(build_backbone("resnet-50", style=Style())).items()
    }
    assert {dilations[name] for name in dilations if name.endswith(("_0_conv", "_1_conv", "_3_conv"))} == {1}
    assert [dilations[f"{stage}_block{block}_2_conv"] for stage in ("conv3", "conv4", "conv5") for block in (1, 2)] == [
        *(1, 1),
        *(2, 2),
        *(4, 4),
    ]


def test_dilation_of_a_basic_block_follows_its_stride(resnet18):
    dilations = {name: layer.dilation_rate[0] for name, layer in convolutions(resnet18[8]).items()}
    names = [f"{stage}_block{block}_{conv}_conv" for stage in ("conv4", "conv5") for block in (1, 2) for conv in (1, 2)]
    assert [dilations[name] for name in names] == [1, 2, 2, 2, 2, 4, 4, 4]


@pytest.mark.parametrize("size", [64, 57])
@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_features_hold_those_of_the_undilated_network(resnet18, output_stride, size):
    """With the same weights, every 2nd or 4th dilated feature is a feature at stride 32, to the very edge."""
    original, dilated = resnet18[32], resnet18[output_stride]
    randomize_statistics(original)
    dilated.set_weights(original.get_weights())
    pixels = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)
    step = 32 // output_stride
    expected = original(pixels)["stage4"].numpy()
    found = dilated(pixels)["stage4"].numpy()[:, ::step, ::step]
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())
    assert expected.std() > 0.01 * expected.max()  # the features do differ from place to place


def test_dilated_bottlenecks_hold_those_of_the_undilated_network():
    original, dilated = (build_backbone("resnet-50", output_stride=stride, style=Style()) for stride in (32, 8))
    randomize_statistics(original)
    dilated.set_weights(original.get_weights())
    pixels = np.random.default_rng(0).normal(size=(1, 64, 50, 3)).astype(np.float32)
    expected = original(pixels)["stage4"].numpy()
    found = dilated(pixels)["stage4"].numpy()[:, ::4, ::4]
    np.testing.assert_allclose(found, expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("name", APPLICATIONS)
def test_weights_are_those_of_keras_applications_without_biases(name):
    backbone = build_backbone(name, style=Style())
    theirs = APPLICATIONS[name](weights=None, include_top=False)
    weighted = [layer.name for layer in theirs.layers if layer.weights]
    assert [layer.name for layer in backbone.layers if layer.weights] == weighted
    biases = sum(layer.bias.shape[0] for layer in convolutions(theirs).values())
    assert backbone.count_params() == theirs.count_params() - biases


@pytest.mark.parametrize(("name", "published"), [("resnet-18", 11_689_512), ("resnet-34", 21_797_672)])
def test_basic_networks_have_the_published_number_of_weights(name, published):
    """torchvision publishes the trainable weights with the classifier: 512 * 1000 + 1000."""
    trainable = sum(np.prod(weight.shape) for weight in build_backbone(name, style=Style()).trainable_weights)
    assert trainable == published - 513_000


def test_same_seed_same_weights_whatever_was_built_before(resnet18):
    again = build_backbone("resnet-18", style=Style(seed=0))
    other = build_backbone("resnet-18", style=Style(seed=1))
    for mine, same, different in zip(resnet18[8].weights, again.weights, other.weights, strict=True):
        if mine.name == "kernel":
            np.testing.assert_array_equal(mine, same)
            assert np.abs(mine - different).max() > 0.01


def test_initial_kernels_are_he_normal(resnet18):
    kernel = resnet18[8].get_layer("conv5_block2_1_conv").kernel
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (3 * 3 * 512)), rel=0.01)


def test_batch_normalisation_settings():
    style = Style(dtype="mixed_bfloat16", synchronized=True)
    layers = build_backbone("resnet-18", style=style).layers
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert len(norms) == 20
    assert {(norm.momentum, norm.epsilon, norm.synchronized) for norm in norms} == {(0.9, 1.001e-5, True)}


def test_moving_statistics_stay_float32_under_mixed_precision():
    backbone = build_backbone("resnet-18", output_stride=32, style=Style(dtype="mixed_bfloat16"))
    backbone(np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype(np.float32), training=True)
    mean = backbone.get_layer("conv4_block1_1_bn").moving_mean.value
    assert mean.dtype == "float32"
    rounded = tf.cast(tf.cast(mean, "bfloat16"), "float32")
    assert np.mean(rounded.numpy() == mean.numpy()) < 0.1


def test_keras_policy_is_left_alone():
    before = keras.config.dtype_policy().name
    build_backbone("resnet-18", style=Style(dtype="mixed_bfloat16"))
    assert keras.config.dtype_policy().name == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"name": "resnet-20"},
            "--backbone=resnet-20: allowed: resnet-18, resnet-34, resnet-50, resnet-101, resnet-152",
        ),
        ({"name": "resnet-18", "output_stride": 4}, "--output_stride=4: allowed: 8, 16, 32"),
    ],
)
def test_unknown_choices_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        build_backbone(**arguments, style=Style())


@pytest.mark.parametrize("name", ["resnet-18", "resnet-50"])  # the others differ in numbers of blocks
def test_every_layer_and_connection_is_keras_cvs(name):
    """Without dilation; padding layers, and what they change in the layer after, left out."""
    theirs = keras_cv_resnet(name, include_rescaling=False, input_shape=(None, None, 3))
    backbone = build_backbone(name, output_stride=32, style=Style())
    layers = [layer for layer in backbone.layers[1:] if not isinstance(layer, keras.layers.ZeroPadding2D)]
    assert len(layers) > 60
    expected = {applications_name(layer.name): (parents(layer), settings(layer)) for layer in theirs.layers[1:]}
    assert {layer.name: (parents(layer), settings(layer)) for layer in layers} == expected
    weights = [(applications_name(path(weight)), weight.shape) for weight in theirs.weights]
    assert [(path(weight), weight.shape) for weight in backbone.weights] == weights


def settings(layer) -> dict:
    """The layer's kind, and what of its configuration decides what it computes."""
    names = ("filters", "kernel_size", "pool_size", "strides", "dilation_rate", "groups", "use_bias", "activation")
    config = layer.get_config()
    return {name: config[name] for name in (*names, "epsilon") if name in config} | {"kind": type(layer).__name__}


def path(weight) -> str:
    """The layer's name and the weight's: "conv1_conv/kernel"."""
    return "/".join(weight.path.split("/")[-2:])


def parents(layer) -> list[str]:
    """Names of the layers before it but for padding, as keras.applications has them; the input's is ""."""
    names = []
    for tensor in layer.input if isinstance(layer.input, list) else [layer.input]:
        before = tensor._keras_history.operation
        if isinstance(before, keras.layers.ZeroPadding2D):
            before = before.input._keras_history.operation
        names.append("" if isinstance(before, keras.layers.InputLayer) else applications_name(before.name))
    return names
