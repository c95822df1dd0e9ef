"""keras-cv's presets: folders that its `save_to_preset` writes, a network's config.json and its weights.

The only module that knows keras-cv; 0.9 is its last version.
"""

import json
import os
import re
from typing import NamedTuple

from kseg.errors import RunError
from kseg.models.backbones import STAGE_FILTERS, STAGE_STRIDES, VARIANTS

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"  # keras-cv's default
LAYOUT = (
    "a folder that keras-cv's save_to_preset wrote for a ResNetBackbone: config.json and model.weights.h5 (for a run "
    "of kseg-train, --init_from)"
)


class Preset(NamedTuple):
    """The two files of a preset that count."""

    config: str
    weights: str


def folder_of(path: str) -> str | None:
    """The preset folder that a path means: the folder itself or its file of weights; None for any other file."""
    if os.path.isdir(path):
        return path
    folder, name = os.path.split(path)
    if name == WEIGHTS and os.path.isfile(os.path.join(folder, CONFIG)):
        return folder or "."
    return None


def find_preset(folder: str, backbone: str) -> Preset:
    """The files of a preset folder, if it holds that backbone.

    Args:
        folder: a local folder.
        backbone: a key of kseg.models.backbones.VARIANTS.

    Raises:
        RunError: if it is no preset, without weights, of another class or depth, or of a network that does not divide
            its pixels by 255 itself: nothing then tells what its pixels were.
    """
    config_path = os.path.join(folder, CONFIG)
    try:
        with open(config_path, encoding="utf-8") as file:
            preset = json.load(file)
    except (OSError, ValueError) as error:
        raise RunError(f"{folder}: no preset: {error}; expected: {LAYOUT}") from None
    problem = _problem_of(preset, backbone)
    if problem:
        raise RunError(f"{config_path}: {problem}; expected: {LAYOUT}")
    weights = os.path.join(folder, preset["weights"])
    if not os.path.isfile(weights):
        raise RunError(f"{weights}: no such file, but {config_path} names it; expected: {LAYOUT}")
    return Preset(config_path, weights)


def _problem_of(preset, backbone: str) -> str:
    """What speaks against a preset's configuration, or ""."""
    if not isinstance(preset, dict) or not isinstance(preset.get("config"), dict):
        return "describes no network"
    kind, library = preset.get("class_name"), str(preset.get("module")).split(".")[0]
    if (kind, library) != ("ResNetBackbone", "keras_cv"):
        return f"describes a {library} {kind}, not keras_cv's ResNetBackbone (v1)"
    if backbone not in VARIANTS:
        return f"describes a ResNetBackbone, but --backbone={backbone}"
    config = preset["config"]
    asked, found = _shape_of_variant(backbone), {key: config.get(key) for key in _shape_of_variant(backbone)}
    if found != asked:
        known = [name for name in VARIANTS if _shape_of_variant(name) == found]
        described = known[0] if known else ", ".join(f"{key}={found[key]}" for key in found if found[key] != asked[key])
        return f"describes a ResNetBackbone of {described}, but --backbone={backbone}"
    if config.get("include_rescaling") is not True:
        return "include_rescaling is off, so nothing tells which pixels its weights expect; needed: include_rescaling"
    if not isinstance(preset.get("weights"), str):
        return "has no weights"
    return ""


def _shape_of_variant(name: str) -> dict:
    blocks, block_type = VARIANTS[name]
    return {
        "stackwise_filters": list(STAGE_FILTERS),
        "stackwise_blocks": list(blocks),
        "stackwise_strides": list(STAGE_STRIDES),
        "block_type": block_type,
    }


def handles() -> dict[str, str]:
    """keras-cv's ResNet (v1) presets that have weights: name -> what Kaggle calls it, "keras/resnetv1/…/2"."""
    import keras_cv  # here, not above: it loads in 1 s, and nothing else needs it

    known = keras_cv.models.ResNetBackbone.presets_with_weights
    return {name: preset["kaggle_handle"].removeprefix("kaggle://") for name, preset in known.items()}


def applications_name(name: str) -> str:
    """keras-cv's name of a layer -> keras.applications': "v2_stack_0_block1_2_bn" -> "conv2_block1_2_bn"."""
    return re.sub(r"^v2_stack_(\d)_", lambda match: f"conv{int(match[1]) + 2}_", name)
