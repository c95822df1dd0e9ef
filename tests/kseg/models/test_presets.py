import json
import os

import keras_cv
import pytest
from keras_cv.src.utils.preset_utils import save_to_preset

from kseg.errors import RunError
from kseg.models import presets

ARGUMENTS = {
    "stackwise_filters": [64, 128, 256, 512],
    "stackwise_blocks": [2, 2, 2, 2],
    "stackwise_strides": [1, 2, 2, 2],
    "include_rescaling": True,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What keras-cv writes for a resnet-18."""
    path = str(tmp_path_factory.mktemp("presets") / "resnet18")
    save_to_preset(keras_cv.models.ResNetBackbone(**ARGUMENTS, block_type="basic_block"), path)
    return path


@pytest.fixture
def edited(folder, tmp_path):
    """A function: the changes to config.json's "config" and to the rest -> a folder with them."""

    def edit(config=(), **rest):
        with open(os.path.join(folder, "config.json")) as file:
            preset = json.load(file)
        changed = {**preset, "config": {**preset["config"], **dict(config)}, **rest}
        (tmp_path / "config.json").write_text(json.dumps(changed))
        return str(tmp_path)

    return edit


def test_folder_of_keras_cv_is_found(folder):
    config, weights = os.path.join(folder, "config.json"), os.path.join(folder, "model.weights.h5")
    assert presets.find_preset(folder, "resnet-18") == (config, weights)
    assert presets.folder_of(folder) == folder
    assert presets.folder_of(weights) == folder
    assert presets.folder_of(config) is None


def test_file_of_weights_alone_is_no_preset(folder, tmp_path, monkeypatch):
    (tmp_path / "model.weights.h5").write_bytes(b"")
    assert presets.folder_of(str(tmp_path / "model.weights.h5")) is None
    monkeypatch.chdir(folder)
    assert presets.folder_of("model.weights.h5") == "."


def test_another_depth_is_named(folder, edited):
    message = r"config.json: describes a ResNetBackbone of resnet-18, but --backbone=resnet-34; expected: a folder"
    with pytest.raises(RunError, match=message):
        presets.find_preset(folder, "resnet-34")
    narrow = edited({"stackwise_filters": [32, 64, 128, 256]})
    with pytest.raises(RunError, match=r"ResNetBackbone of stackwise_filters=\[32, 64, 128, 256\], but --backbone"):
        presets.find_preset(narrow, "resnet-18")


def test_another_class_is_named(tmp_path, edited):
    save_to_preset(keras_cv.models.ResNetV2Backbone(**ARGUMENTS), str(tmp_path), save_weights=False)
    with pytest.raises(RunError, match=r"describes a keras_cv ResNetV2Backbone, not keras_cv's ResNetBackbone \(v1\)"):
        presets.find_preset(str(tmp_path), "resnet-18")
    hub = edited(module="keras_hub.src.models.resnet.resnet_backbone")
    with pytest.raises(RunError, match=r"describes a keras_hub ResNetBackbone, not keras_cv's"):
        presets.find_preset(hub, "resnet-18")


def test_network_without_rescaling_is_refused(edited):
    with pytest.raises(RunError, match=r"config.json: include_rescaling is off, so nothing tells which pixels"):
        presets.find_preset(edited({"include_rescaling": False}), "resnet-18")


def test_preset_without_weights_is_refused(edited):
    with pytest.raises(RunError, match=r"config.json: has no weights; expected: a folder"):
        presets.find_preset(edited(weights=None), "resnet-18")
    with pytest.raises(RunError, match=r"model.weights.h5: no such file, but .*config.json names it"):
        presets.find_preset(edited(), "resnet-18")


@pytest.mark.parametrize("text", [None, "{", "[]", '{"config": 3}'])
def test_folder_that_is_no_preset_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunError, match=r"(no preset: .*|describes no network); expected: a folder that keras-cv's"):
        presets.find_preset(str(tmp_path), "resnet-18")


def test_preset_for_a_backbone_of_another_kind_is_refused(tmp_path):
    described = {"module": "keras_cv.models", "class_name": "ResNetBackbone", "config": {}}
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(RunError, match="describes a ResNetBackbone, but --backbone=mobilenet; expected: "):
        presets.find_preset(str(tmp_path), "mobilenet")
