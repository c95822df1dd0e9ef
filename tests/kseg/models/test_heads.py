import gluoncv_heads_reference as reference
import head_formula as formula
import keras
import numpy as np
import pytest

from kseg.models.blocks import Style
from kseg.models.fcn import auxiliary_head
from kseg.registry import HEADS, find

CLASSES = 7


def build_head(algorithm: str, channels: int, output_stride: int = 8, style: Style | None = None) -> keras.Model:
    features = keras.Input((None, None, channels))
    style = style or Style()
    head = find("algorithm", HEADS, algorithm)
    logits = head({"stage4": features}, num_classes=CLASSES, output_stride=output_stride, style=style)
    return keras.Model(features, logits)


def build_formula_head(name: str) -> keras.Model:
    """A head, or the auxiliary one for "aux", with the weights of `head_formula`."""
    features = keras.Input((None, None, 1024 if name == "aux" else 2048))
    taps = {"stage3": features} if name == "aux" else {"stage4": features}
    if name == "aux":
        logits = auxiliary_head(taps, num_classes=formula.CLASSES, style=Style())
    else:
        build = find("algorithm", HEADS, name)
        logits = build(taps, num_classes=formula.CLASSES, output_stride=8, style=Style())
    head = keras.Model(features, logits)
    for layer in head.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights(formula.norm(layer.name, layer.gamma.shape[0]))
        elif isinstance(layer, keras.layers.Conv2D):
            height, width, inputs, outputs = layer.kernel.shape
            kernel = formula.kernel(layer.name, (outputs, inputs, height, width)).transpose(2, 3, 1, 0)
            layer.set_weights([kernel, formula.bias(layer.name, outputs)] if layer.use_bias else [kernel])
    return head


@pytest.mark.parametrize("name", reference.LOGITS)
def test_logits_equal_gluoncvs(name):
    head = build_formula_head(name)
    features = formula.features(head.input.shape[-1]).transpose(1, 2, 0)[None]
    logits = np.array(head(features, training=False))[0]
    assert logits.shape == (formula.HEIGHT, formula.WIDTH, formula.CLASSES)
    np.testing.assert_allclose([logits[at] for at in formula.POSITIONS], reference.LOGITS[name], rtol=0, atol=1e-4)


@pytest.mark.parametrize("algorithm", HEADS)
def test_logits_have_the_size_of_the_features(algorithm):
    logits = build_head(algorithm, 8)(np.zeros((2, 5, 7, 8), np.float32))
    assert (logits.shape, logits.dtype) == ((2, 5, 7, CLASSES), "float32")


@pytest.mark.parametrize(("algorithm", "reach"), [("fcn", 1), ("psp", 13), ("deeplab", 13)])
def test_how_far_a_feature_reaches(algorithm, reach):
    """fcn sees the neighbours, psp and deeplab the whole picture."""
    head = build_head(algorithm, 64)
    x = np.random.default_rng(0).normal(size=(1, 14, 14, 64)).astype(np.float32)
    changed = x.copy()
    changed[0, 0, 0] += 1
    moved = np.abs(np.array(head(x)) - np.array(head(changed))).max(axis=-1)[0] > 1e-7
    assert moved[: reach + 1, : reach + 1].all()
    assert moved.sum() == (reach + 1) ** 2


@pytest.mark.parametrize(("output_stride", "rates"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_rates_span_the_same_pixels_at_every_stride(output_stride, rates):
    layers = build_head("deeplab", 8, output_stride).layers
    found = [layer.dilation_rate[0] for layer in layers if isinstance(layer, keras.layers.Conv2D)]
    assert [rate for rate in found if rate > 1] == rates


@pytest.mark.parametrize(("algorithm", "rates"), [("fcn", [0.1]), ("psp", [0.1]), ("deeplab", [0.5, 0.1])])
def test_dropout_rates(algorithm, rates):
    layers = build_head(algorithm, 8).layers
    assert [layer.rate for layer in layers if isinstance(layer, keras.layers.Dropout)] == rates


def test_psp_joins_the_features_and_four_pooled_maps():
    head = build_head("psp", 8)
    joined = keras.Model(head.input, head.get_layer("head_join").output)
    x = np.random.default_rng(0).normal(size=(1, 12, 18, 8)).astype(np.float32)
    found = np.array(joined(x))
    assert found.shape[-1] == 8 + 4 * 2
    np.testing.assert_array_equal(found[..., :8], x)
    kernel, norm = np.array(head.get_layer("head_pool1_conv").kernel)[0, 0], np.sqrt(1 + 1.001e-5)
    np.testing.assert_allclose(found[0, 3, 4, 8:10], np.maximum(x.mean(axis=(0, 1, 2)) @ kernel / norm, 0), atol=1e-6)
    kernel = np.array(head.get_layer("head_pool2_conv").kernel)[0, 0]
    upper, lower = (
        np.maximum(x[0, rows, :9].mean(axis=(0, 1)) @ kernel / norm, 0) for rows in (slice(6), slice(6, 12))
    )
    # Corners aligned: row 1 of 0..11 lies a share of 1/11 from the upper region's row to the lower's.
    np.testing.assert_allclose(found[0, 1, 0, 10:12], upper * 10 / 11 + lower / 11, atol=1e-6)
    assert np.abs(upper - lower).max() > 1e-3
    kernel = np.array(head.get_layer("head_pool6_conv").kernel)[0, 0]
    corner = x[0, :2, :3].mean(axis=(0, 1)) @ kernel / norm  # of 6 x 6 regions of 2 x 3, kept at the corner
    np.testing.assert_allclose(found[0, 0, 0, 14:16], np.maximum(corner, 0), atol=1e-6)


def test_dropout_is_seeded():
    x = np.ones((1, 4, 4, 8), np.float32)
    first, same, other = (
        np.array(build_head("fcn", 8, style=Style(seed=seed)).get_layer("head_dropout")(x, training=True))
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.parametrize("algorithm", HEADS)
def test_layers_are_named_as_the_head(algorithm):
    model = build_head(algorithm, 8)
    assert {variable.path.split("/")[0][:5] for variable in model.weights} == {"head_"}
