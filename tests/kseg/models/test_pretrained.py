import os
import shutil
import types

import h5py
import keras
import numpy as np
import pytest
from kagglehub.cache import Cache
from kagglehub.handle import parse_model_handle
from keras.src.legacy.saving import legacy_h5_format
from keras_cv.src.utils.preset_utils import save_to_preset
from keras_cv_resnets import keras_cv_resnet

from kseg.errors import RunError, UsageError
from kseg.models import backbones, presets, pretrained
from kseg.models.blocks import IMAGENET_MEAN, Style
from kseg.models.published import md5_of
from kseg.models.segmenter import build_segmenter, is_head


def write_published_layout(network, path):
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)


def randomize(network):
    """Gives biases and batch normalisation statistics values as different from 0 and 1 as trained ones."""
    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            ends = [(0.5, 1.0), (-0.2, 0.2), (-0.2, 0.2), (0.5, 2.0)]
            layer.set_weights([random.uniform(*low_high, layer.gamma.shape) for low_high in ends])
        elif isinstance(layer, keras.layers.Conv2D) and layer.use_bias:
            layer.set_weights([layer.get_weights()[0], random.normal(size=layer.filters)])


def segmenter(backbone="resnet-18", **arguments):
    return build_segmenter(algorithm="fcn", backbone=backbone, num_classes=2, **arguments)


class Blank(Style):
    """Kernels of zeros: drawing those of a resnet-152 takes longer than all else of building it."""

    def initializer(self, layer_name):
        return "zeros"


def bare(backbone):
    """As much of a segmenter as the loader looks at, empty."""
    network = backbones.build_backbone(backbone, output_stride=32, style=Blank())
    return types.SimpleNamespace(get_layer={"backbone": network}.__getitem__)


def pictures(height=64, width=45):
    return np.random.default_rng(1).integers(0, 256, (2, height, width, 3)).astype("float32")


def features_of(theirs):
    """keras.applications' own forward pass."""
    return np.array(theirs(keras.applications.resnet.preprocess_input(pictures())))


def check_features(ours, expected):
    """kseg's forward pass on the same pixels."""
    found = np.array(ours.get_layer("backbone")(pictures() - np.float32(IMAGENET_MEAN))["stage4"])
    assert found.shape == expected.shape == (2, 2, 2, 2048)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert expected.std() > 0.01 * expected.max()


@pytest.fixture(scope="module")
def resnet50():
    """keras.applications' network with its classifier, the part without it, and that part's features."""
    network = keras.applications.ResNet50(weights=None, input_shape=(64, 45, 3), classes=4)
    randomize(network)
    trunk = keras.Model(network.input, network.get_layer("conv5_block3_out").output)
    return network, trunk, features_of(trunk)


@pytest.fixture(scope="module")
def ours():
    return segmenter("resnet-50", output_stride=32)


@pytest.fixture(scope="module")
def resnet18():
    return segmenter(seed=5).get_layer("backbone")


@pytest.fixture(scope="module")
def resnet18_file(resnet18, tmp_path_factory):
    """Its weights, without biases, in the layout of the published files."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.h5"
    write_published_layout(resnet18, path)
    return str(path)


@pytest.mark.parametrize("depth", [101, 152])
def test_features_of_the_deeper_networks_equal_those_of_keras_applications(tmp_path, depth):
    theirs = getattr(keras.applications, f"ResNet{depth}")(weights=None, include_top=False)
    randomize(theirs)
    write_published_layout(theirs, tmp_path / "published.h5")
    network = bare(f"resnet-{depth}")
    pretrained.load_pretrained(network, f"resnet-{depth}", str(tmp_path / "published.h5"))
    check_features(network, features_of(theirs))


@pytest.mark.parametrize("kind", ["published", "first layout, classifier", "Keras 3", "Keras 3, no names"])
def test_features_equal_those_of_keras_applications(resnet50, ours, tmp_path, kind):
    path = str(tmp_path / "mine.weights.h5")
    network, trunk, expected = resnet50
    if kind.startswith("Keras 3"):
        network.save_weights(path)
    else:
        write_published_layout(trunk if kind == "published" else network, path)
    if kind == "Keras 3, no names":
        with h5py.File(path, "a") as file:
            for layer in file["layers"].values():
                del layer["vars"].attrs["name"]
    head = [np.array(variable) for variable in ours.variables if is_head(variable)]
    for variable in ours.get_layer("backbone").weights:  # what another file left there
        variable.assign(np.zeros(variable.shape))

    line = pretrained.load_pretrained(ours, "resnet-50", path)

    check_features(ours, expected)
    for before, variable in zip(head, [v for v in ours.variables if is_head(v)], strict=True):
        np.testing.assert_array_equal(before, variable)
    kind = "weights of keras.applications' kind (BGR minus the ImageNet mean)"
    assert line == f"{kind} into resnet-50: {path} (md5 {md5_of(path)}, 318 arrays)"


def test_file_without_biases_loads_into_a_basic_network(resnet18, resnet18_file):
    ours = bare("resnet-18")
    assert pretrained.load_pretrained(ours, "resnet-18", resnet18_file).endswith("100 arrays)")
    for mine, expected in zip(ours.get_layer("backbone").weights, resnet18.weights, strict=True):
        turned = mine.path == "conv1_conv/kernel"
        np.testing.assert_array_equal(np.array(mine)[:, :, ::-1] if turned else mine, expected)


def test_file_of_another_depth_is_refused(resnet18_file):
    with pytest.raises(RunError, match=r"resnet18.h5: does not fit resnet-34: 40 layers with weights instead of 72; "):
        pretrained.load_pretrained(bare("resnet-34"), "resnet-34", resnet18_file)


def test_layer_of_another_shape_is_named(resnet18_file, tmp_path):
    path = tmp_path / "wrong.h5"
    shutil.copy(resnet18_file, path)
    with h5py.File(path, "a") as file:
        del file["conv3_block1_1_conv/conv3_block1_1_conv/kernel"]
        file["conv3_block1_1_conv/conv3_block1_1_conv/kernel"] = np.zeros((1, 1, 64, 128), np.float32)
    ours = bare("resnet-18")
    before = ours.get_layer("backbone").get_weights()
    found = r"conv3_block1_1_conv \[\(1, 1, 64, 128\)\] for conv3_block1_1_conv \[\(3, 3, 64, 128\)\]"
    with pytest.raises(RunError, match=rf"wrong.h5: does not fit resnet-18: {found}; expected: weights of resnet-18$"):
        pretrained.load_pretrained(ours, "resnet-18", str(path))
    for old, new in zip(before, ours.get_layer("backbone").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_weights_that_are_no_numbers_are_named(resnet18_file, tmp_path):
    path = tmp_path / "nan.h5"
    shutil.copy(resnet18_file, path)
    with h5py.File(path, "a") as file:
        file["conv3_block1_1_conv/conv3_block1_1_conv/kernel"][0, 0, 0, 0] = np.nan
    with pytest.raises(RunError, match=r"nan.h5: does not fit resnet-18: conv3_block1_1_conv holds NaN or infinity; "):
        pretrained.load_pretrained(bare("resnet-18"), "resnet-18", str(path))


def rescaling_resnet(backbone):
    network = keras_cv_resnet(backbone, include_rescaling=True)
    randomize(network)
    return network


@pytest.fixture(scope="module")
def preset50(tmp_path_factory):
    """(keras-cv's resnet-50, the folder of its preset)."""
    folder = str(tmp_path_factory.mktemp("presets") / "mine")
    network = rescaling_resnet("resnet-50")
    save_to_preset(network, folder)
    return network, folder


def check_equal_inside(theirs, ours, size: int, shift: int):
    """keras-cv's conv3_block1 (stride 8, it sees 25 pixels each way) equals ours of the picture moved by `shift`."""
    canvas = pictures(size + shift, size + shift)
    name, backbone = "conv3_block1_out", ours.get_layer("backbone")
    expected = keras.Model(theirs.input, theirs.get_layer("v2_stack_1_block1_out").output)(canvas[:, :size, :size])
    pixels = canvas[:, shift:, shift:] - np.float32(IMAGENET_MEAN)
    found = np.array(keras.Model(backbone.input, backbone.get_layer(name).output)(pixels))
    inside = slice(4, 7)  # pixels 32 … 48, of 80
    expected = np.array(expected)[:, inside, inside]
    np.testing.assert_allclose(found[:, inside, inside], expected, atol=1e-4 * expected.max())
    assert expected.std() > 0.01 * expected.max()
    assert np.abs(found[:, 3:6, inside] - expected).max() > 0.02 * expected.max()


def test_preset_folder_gives_keras_cvs_features(preset50, ours):
    theirs, folder = preset50
    line = pretrained.load_pretrained(ours, "resnet-50", folder)
    check_equal_inside(theirs, ours, 81, 0)  # 1 + 16 k: padded alike down to stride 16
    check_equal_inside(theirs, ours, 80, 3)
    check_equal_inside(theirs, ours, 82, 1)  # the pooling's input is odd
    backbone = ours.get_layer("backbone")
    for layer in theirs.layers:  # the rest of the way holds the same numbers, the first kernel's norm included
        if layer.weights and layer.name != "conv1_bn":
            mine = backbone.get_layer(presets.applications_name(layer.name))
            for array, expected in zip(mine.get_weights(), layer.get_weights(), strict=True):
                np.testing.assert_array_equal(array, expected)
    weights, config = os.path.join(folder, "model.weights.h5"), os.path.join(folder, "config.json")
    assert line == (
        f"keras-cv's preset folder into resnet-50: {weights} (md5 {md5_of(weights)}, 265 arrays), "
        f"{config} (md5 {md5_of(config)})"
    )


def test_preset_by_name_comes_from_kagglehub(preset50, ours, tmp_path, monkeypatch):
    _, folder = preset50
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    handle = presets.handles()["resnet50_imagenet"]
    for name in ("config.json", "model.weights.h5"):
        path = tmp_path / "models" / handle / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(os.path.join(folder, name))
        Cache().mark_as_complete(parse_model_handle(handle), name)
    line = pretrained.load_pretrained(ours, "resnet-50", "resnet50_imagenet")
    assert line.startswith(f"keras-cv's preset resnet50_imagenet into resnet-50: {path} (md5 {md5_of(path)}, 265 arr")


def test_weights_of_a_preset_are_taken_with_its_configuration(tmp_path):
    network, folder = rescaling_resnet("resnet-18"), str(tmp_path / "preset")
    save_to_preset(network, folder)
    ours, unnamed = bare("resnet-18"), bare("resnet-18")
    inside = os.path.join(folder, "model.weights.h5")
    assert pretrained.load_pretrained(ours, "resnet-18", inside).startswith("keras-cv's preset folder into resnet-18: ")
    with h5py.File(inside, "a") as file:  # as older versions of Keras wrote it
        for layer in file["layers"].values():
            del layer["vars"].attrs["name"]
    pretrained.load_pretrained(unnamed, "resnet-18", folder)
    for array, expected in zip(unnamed.get_layer("backbone").weights, ours.get_layer("backbone").weights, strict=True):
        np.testing.assert_array_equal(array, expected)
    network.save_weights(tmp_path / "alone.weights.h5")
    with pytest.raises(RunError, match=r"alone.weights.h5: holds a keras-cv network, whose pixels its config.json"):
        pretrained.load_pretrained(ours, "resnet-18", str(tmp_path / "alone.weights.h5"))


def test_name_that_means_nothing_gets_what_is_allowed(tmp_path):
    for source in ("resnet50_imagnet", "resnet50_v2_imagenet", "resnet50", str(tmp_path / "none.h5")):
        with pytest.raises(RunError) as caught:
            pretrained.check_available("resnet-50", source)
        message = str(caught.value)
        assert message.startswith(f"--pretrained_weights={source}: no such file or folder here, no preset; ")
        assert "a folder that keras-cv's save_to_preset wrote" in message
        assert message.endswith("; or the preset resnet50_imagenet")


def test_preset_of_another_backbone_is_refused_before_the_download():
    message = "--pretrained_weights=resnet50_imagenet: contradicts --backbone=resnet-101; allowed"
    with pytest.raises(UsageError, match=message):
        pretrained.load_pretrained(None, "resnet-101", "resnet50_imagenet")


@pytest.mark.parametrize("backbone", ["resnet-18", "resnet-34"])
def test_backbones_without_published_weights_are_refused_first(backbone):
    message = f"no published weights for {backbone}; allowed: resnet-50, resnet-101, resnet-152; or --use_pretrained"
    with pytest.raises(UsageError, match=message):
        pretrained.check_available(backbone)
    with pytest.raises(UsageError, match=message):
        pretrained.load_pretrained(None, backbone)  # before it looks at the network
