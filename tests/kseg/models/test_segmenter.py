import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.errors import UsageError
from kseg.models.segmenter import build_segmenter, freeze, is_head
from kseg.registry import HEADS

IMAGES = np.random.default_rng(0).integers(0, 256, (2, 33, 47, 3)).astype(np.uint8)
SMALL = {"backbone": "resnet-18", "num_classes": 5}


@pytest.fixture(scope="module", params=list(HEADS))
def model(request):
    return build_segmenter(algorithm=request.param, **SMALL)


def settle(model, passes=8):
    """Lets the moving statistics take those of IMAGES, without which an untrained network's values run away."""
    for _ in range(passes):
        model(IMAGES, training=True)


def test_logits_have_the_size_of_the_pictures_whatever_it_is(model):
    assert model.input_shape == (None, None, None, 3)
    assert model.output_shape == (None, None, None, 5)
    for height, width in [(33, 47), (64, 32), (1, 1)]:
        logits = model(IMAGES[:, :height, :width] if height < 64 else np.zeros((1, 64, 32, 3), np.uint8))
        assert (logits.shape[1:], logits.dtype) == ((height, width, 5), "float32")


def test_every_trainable_variable_gets_a_gradient(model):
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(np.ones(IMAGES.shape[:3]), logits)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    without = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if gradient is None or not np.isfinite(gradient).all() or not np.any(gradient)
    ]
    assert without == []


def test_head_and_backbone_share_out_the_variables(model):
    head = [variable.path for variable in model.trainable_variables if is_head(variable)]
    backbone = [variable.path for variable in model.get_layer("backbone").trainable_variables]
    assert len(backbone) == 20 + 20 * 2  # kernels, then gamma and beta
    assert "head_logits/bias" in head
    assert not set(head) & set(backbone)
    assert len(head) + len(backbone) == len(model.trainable_variables)


def test_keras_file_holds_every_head(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
    assert loaded.get_layer("head_conv").compute_dtype == "float32"


def test_keras_file_loads_in_a_fresh_process_without_keras_cv(tmp_path):
    model = build_segmenter(algorithm="fcn", precision="bfloat16", **SMALL)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", IMAGES)
    program = (
        "import sys, keras, numpy as np, kseg.models.segmenter\n"
        f"model = keras.saving.load_model(r'{tmp_path}/model.keras')\n"
        f"np.save(r'{tmp_path}/logits.npy', model(np.load(r'{tmp_path}/images.npy')))\n"
        "conv = model.get_layer('head_conv')\n"
        "assert (conv.compute_dtype, conv.kernel.dtype) == ('bfloat16', 'float32')\n"
        "assert 'keras_cv' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    expected = np.array(model(IMAGES))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected, atol=1e-5 * np.abs(expected).max())


def test_bfloat16_network_computes_nearly_the_same():
    exact, rounded = (build_segmenter(algorithm="fcn", precision=p, **SMALL) for p in ("float32", "bfloat16"))
    settle(exact)
    rounded.set_weights(exact.get_weights())
    assert rounded.get_layer("backbone").output["stage4"].dtype == "bfloat16"
    expected, found = np.array(exact(IMAGES)), np.array(rounded(IMAGES))
    assert found.dtype == np.float32
    assert np.abs(found - expected).mean() < 0.05 * expected.std()
    assert np.abs(found - expected).max() > 0


def test_same_seed_same_network():
    first, same, other = (build_segmenter(algorithm="fcn", seed=seed, **SMALL) for seed in (3, 3, 4))
    for mine, equal, different in zip(first.weights, same.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, equal)
        assert mine.name != "kernel" or np.abs(mine - different).max() > 0.01


def test_pictures_of_a_batch_do_not_mix_at_inference():
    model = build_segmenter(algorithm="psp", **SMALL)
    settle(model)
    together, alone = np.array(model(IMAGES)), np.array(model(IMAGES[1:]))
    np.testing.assert_allclose(together[1:], alone, atol=1e-4 * np.abs(alone).max())


def test_brightness_of_a_single_pixel_reaches_the_logits():
    model = build_segmenter(algorithm="fcn", **SMALL)
    changed = IMAGES.copy()
    changed[0, 16, 16] ^= 255
    difference = np.abs(np.array(model(IMAGES)) - np.array(model(changed)))
    assert difference[0].max() > 0
    assert difference[1].max() == 0


def moved_by_a_step(**frozen) -> tuple[set, set]:
    """Layers whose weights or statistics a training step moves, and those that it does not."""
    network = build_segmenter(algorithm="fcn", output_stride=32, aux=True, **SMALL)
    freeze(network, **frozen)
    layers = [layer for layer in [*network.get_layer("backbone").layers, *network.layers] if layer.weights]
    layers = [layer for layer in layers if not isinstance(layer, keras.Model)]
    before = {layer.name: layer.get_weights() for layer in layers}
    optimizer = keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        logits = network(IMAGES, training=True)
        loss = tf.reduce_mean(logits["logits"] ** 2) + tf.reduce_mean((logits["aux_logits"] - 1) ** 2)
    variables = network.trainable_variables
    optimizer.apply(tape.gradient(loss, [variable.value for variable in variables]), variables)
    same = {name for name, old in before.items() if all(map(np.array_equal, old, _layer(layers, name).get_weights()))}
    return set(before) - same, same


def _layer(layers, name):
    return next(layer for layer in layers if layer.name == name)


def test_frozen_stages_keep_weights_and_statistics():
    moved, same = moved_by_a_step(stages=3)
    assert {name.split("_")[0] for name in same} == {"conv1", "conv2", "conv3"}
    assert {name.split("_")[0] for name in moved} == {"conv4", "conv5", "head", "aux"}
    assert len(same) == 2 + 8 + 10  # conv and BN: the stem's, four in conv2, five in conv3 with its shortcut


def test_a_frozen_backbone_norm_keeps_gamma_beta_and_statistics():
    moved, same = moved_by_a_step(batch_norm=True)
    assert {name.split("_")[-1] for name in same} == {"bn"}
    assert len(same) == 20
    assert {"head_bn", "aux_bn", "conv1_conv"} <= moved


def test_a_backbone_without_such_stages_cannot_be_frozen_by_them():
    images = keras.Input((None, None, 3))
    backbone = keras.Model(images, keras.layers.Conv2D(2, 1, name="conv1_conv")(images), name="backbone")
    network = keras.Model(images, backbone(images))
    with pytest.raises(UsageError, match="--freeze_stages=2: this backbone has no layers conv2_…; allowed: 0 to 1"):
        freeze(network, stages=2)


def test_nothing_is_frozen_unless_asked():
    assert moved_by_a_step()[1] == set()
    assert moved_by_a_step(stages=5)[0] == {"head_conv", "head_bn", "head_logits", "aux_conv", "aux_bn", "aux_logits"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"algorithm": "unet"}, "--algorithm=unet: allowed: fcn, psp, deeplab"),
        ({"precision": "float8"}, "--mixed_precision=float8: allowed: float32, bfloat16, float16"),
        ({"backbone": "resnet-5"}, "--backbone=resnet-5: allowed: resnet-18"),
        ({"output_stride": 4}, "--output_stride=4: allowed: 8, 16, 32"),
    ],
)
def test_unknown_choices_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        build_segmenter(**{"algorithm": "fcn", **SMALL, **wrong})
