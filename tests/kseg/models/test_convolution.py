import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.models import convolution, tap_products, winograd
from kseg.models.convolution import AtrousConv2D, Conv2D

CHANNELS = convolution.WAYS["float32"].channels
BFLOAT16_CHANNELS = convolution.WAYS["bfloat16"].channels


def layer(filters=CHANNELS, size=3, **kwargs) -> Conv2D:
    return Conv2D(filters, size, on_processor=True, **{"padding": "same", "use_bias": False} | kwargs)


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """The dilation of each convolution that goes Winograd's way; negative: of taps."""
    calls = []

    def spied(real, sign: int):
        return lambda x, kernel, rate: calls.append(sign * rate) or real(x, kernel, rate)

    for sign, module in ((1, winograd), (-1, tap_products)):
        monkeypatch.setattr(module, "convolution", spied(module.convolution, sign))
    return calls


@pytest.mark.parametrize(
    "kwargs",
    [
        {"filters": CHANNELS - 1},
        {"size": 1},
        {"strides": 2},
        {"padding": "valid"},
        {"dilation_rate": (1, 2)},
        {"dtype": "mixed_bfloat16"},  # of fewer channels than are worth it
        {"dtype": "mixed_float16"},
        {"groups": 2},
    ],
)
def test_only_large_square_convolutions_go_another_way(asked, kwargs):
    x = keras.Input((8, 8, CHANNELS))
    layer(**kwargs)(x)
    try:
        layer(**kwargs)(np.zeros((1, 8, 8, CHANNELS), np.float32))
    except tf.errors.UnimplementedError:  # of grouped convolutions without XLA
        assert kwargs == {"groups": 2}
    assert asked == []


def test_other_ways_are_off_unless_asked_for(asked):
    x = np.zeros((1, 4, 4, BFLOAT16_CHANNELS), np.float32)
    for dtype in ("float32", "mixed_bfloat16"):
        Conv2D(BFLOAT16_CHANNELS, 3, padding="same", dtype=dtype)(x)
    assert asked == []


@pytest.mark.parametrize(
    ("kwargs", "ways"),
    [
        ({"size": 3}, [-1]),
        ({"size": 3, "dilation_rate": 2}, [-2]),
        ({"size": 1, "padding": "valid"}, [-1]),
        ({"size": 3, "padding": "valid"}, []),
        ({"size": 1, "strides": 2}, []),
        ({"size": 5}, []),
        ({"filters": BFLOAT16_CHANNELS - 1}, []),
        ({"channels": BFLOAT16_CHANNELS - 1}, []),
    ],
)
def test_of_bfloat16_large_1x1_and_3x3_convolutions_are_products_of_taps(asked, kwargs, ways):
    kwargs = {"filters": BFLOAT16_CHANNELS, "channels": BFLOAT16_CHANNELS} | kwargs
    x = np.zeros((1, 8, 8, kwargs.pop("channels")), np.float32)
    layer(**kwargs, dtype="mixed_bfloat16")(x)
    assert asked == ways


@pytest.mark.parametrize("winograd", [True, False])
def test_a_model_saved_before_bfloat16_had_a_way_is_loaded(tmp_path, winograd):
    """Its layers say "winograd", which was the only one."""
    x = keras.Input((4, 4, 2))
    model = keras.Model(x, layer(5, dtype="mixed_bfloat16")(x))
    model.save(tmp_path / "now.keras")
    with zipfile.ZipFile(tmp_path / "now.keras") as now, zipfile.ZipFile(tmp_path / "then.keras", "w") as then:
        for name in now.namelist():
            then.writestr(
                name,
                now.read(name).replace(b'"on_processor": true', b'"winograd": %s' % str(winograd).lower().encode()),
            )
    loaded = keras.saving.load_model(tmp_path / "then.keras")
    assert b'"winograd"' in zipfile.ZipFile(tmp_path / "then.keras").read("config.json")
    assert loaded.layers[1].on_processor is winograd
    for ours, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("rate", [1, 4])
def test_a_layer_gives_keras_own_values_by_winograds_way(asked, rate):
    x = np.random.default_rng(0).normal(size=(1, 9, 11, CHANNELS)).astype(np.float32)
    ours, theirs = (
        layer(dilation_rate=rate, use_bias=True),
        keras.layers.Conv2D(CHANNELS, 3, padding="same", dilation_rate=rate),
    )
    for each in (ours, theirs):
        each.build(x.shape)
    theirs.set_weights([weight + 0.1 for weight in ours.get_weights()])
    ours.set_weights(theirs.get_weights())
    expected = theirs(x)
    np.testing.assert_allclose(ours(x), expected, atol=2e-5 * np.abs(expected).max())
    assert asked == [rate]


def test_weights_of_keras_own_layers_are_loaded(tmp_path):
    """Files written before there was this class, or on a machine with a GPU, keep their meaning."""
    path = tmp_path / "x.weights.h5"
    for kind in (keras.layers.Conv2D, Conv2D):
        x = keras.Input((4, 4, 2))
        model = keras.Model(x, kind(3, 3, name="a")(x))
        if kind is Conv2D:
            model.load_weights(path)
        else:
            model.save_weights(path)
            expected = model.get_weights()
    for ours, theirs in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_layer_is_rebuilt_from_its_configuration():
    config = keras.saving.serialize_keras_object(layer(5))
    assert config["registered_name"] == "kseg>Conv2D"
    assert (
        keras.saving.deserialize_keras_object(config).get_config()
        == layer(5, name=config["config"]["name"]).get_config()
    )


@pytest.mark.parametrize("rate", [2, 4])
def test_a_dilated_layer_is_keras_own(rate):
    x = np.random.default_rng(0).normal(size=(2, 9, 7, 5)).astype(np.float32)
    layers = [
        kind(3, 3, padding="same", dilation_rate=rate) for kind in (convolution.DilatedConv2D, keras.layers.Conv2D)
    ]
    for each in layers:
        each.build(x.shape)
    layers[0].set_weights([weight + 0.1 for weight in layers[1].get_weights()])
    layers[1].set_weights(layers[0].get_weights())
    np.testing.assert_allclose(layers[0](x), layers[1](x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height, width", [(13, 30), (3, 2), (1, 1)])
@pytest.mark.parametrize("rate", [2, 12, 36])
def test_atrous_convolution_is_keras_own_dilated_one(height, width, rate):
    """Values and gradients, also where the taps reach past the whole map."""
    arguments = {"padding": "same", "dilation_rate": rate, "use_bias": False}
    layers = [AtrousConv2D(5, 3, **arguments), keras.layers.Conv2D(5, 3, **arguments)]
    x = tf.constant(np.random.default_rng(0).normal(size=(2, height, width, 4)), tf.float32)
    for layer in layers:
        layer.build(x.shape)
    layers[1].set_weights(layers[0].get_weights())
    results = []
    for layer in layers:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y**3)
        results.append([y, *tape.gradient(loss, [x, layer.kernel.value])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(theirs).max() + 1e-6)


def test_atrous_convolution_sums_in_float32_under_mixed_precision():
    layer = AtrousConv2D(1, 3, padding="same", dilation_rate=2, use_bias=False, dtype="mixed_bfloat16")
    layer.build((1, 5, 5, 1))
    layer.set_weights([np.full((3, 3, 1, 1), 1.0)])
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2], x[0, 0, 0] = 256.0, 1.0  # the centre sees both: 257 is no bfloat16, 258 is the sum of all three
    x[0, 4, 4] = 1.0
    y = layer(x)
    assert y.dtype == "bfloat16"
    assert float(y[0, 2, 2, 0]) == 258.0  # bfloat16 sums would stay at 256
