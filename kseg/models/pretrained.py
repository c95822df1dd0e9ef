"""Weights that others trained, into kseg's backbone: --use_pretrained_model and --pretrained_weights.

Two kinds of networks have the backbone's layer graph and differ from it in what can be undone exactly:

- keras.applications' ResNets, the published ImageNet files and any local .h5 or .weights.h5 file. Their convolutions
  may have biases; batch normalisation follows each, so a bias moves into its moving mean. Their input is BGR, kseg's
  RGB: the first kernel's input channels are turned round. The mean taken off is the same, and so is the padding: the
  features are equal, everywhere.
- keras-cv's ResNetBackbone presets. Their input is RGB divided by 255, with no mean taken off, kseg's is RGB minus
  the mean, not divided. Both differences move into the first batch normalisation (`_for_kseg_pixels`).

keras-cv's padding stays keras-cv's: around a picture it has black, kseg the mean's colour, so features differ where
their receptive field reaches past the border. Inside they are equal, up to where they lie. A strided layer of keras-cv
puts one row less before an even-sized input than after it, kseg the same on both sides: with height and width that are
multiples of 4, keras-cv's features are kseg's of the picture moved up and left by 3 pixels (1 by the first convolution,
2 by the pooling). Sizes 1 + 32 k have no shift. In the basic blocks of resnet-18 and -34 the strided 3x3 convolution
shifts while its shortcut does not, so there the last three stages are equal for sizes 1 + 32 k only.
"""

import os
from typing import NamedTuple

import keras
import numpy as np

from kseg.errors import RunError, UsageError
from kseg.models import presets, published
from kseg.models.blocks import IMAGENET_MEAN
from kseg.models.weight_files import LAYOUTS, StoredLayer, read_layers


class _Source(NamedTuple):
    """Where weights come from.

    Attributes:
        title: what they are, for the log.
        weights: the local file of HDF5 weights.
        config: the preset's config.json; None for keras.applications' kind.
    """

    title: str
    weights: str
    config: str | None = None


def check_available(backbone: str, source: str | None = None) -> None:
    """Refuses what cannot be had, before anything is downloaded.

    Args:
        backbone: a name of kseg.models.backbones.VARIANTS.
        source: None = the ImageNet weights that keras.applications publishes; else a local file of weights, a local
            folder of keras-cv's `save_to_preset`, or the name of a keras-cv preset. What is there locally goes first.

    Raises:
        UsageError: if no weights are published for this backbone (names those that have them), or a preset's name
            says another one.
        RunError: if `source` is no file, no folder and no preset's name.
    """
    if source is None:
        if backbone not in published.PUBLISHED:
            raise UsageError(
                f"--use_pretrained_model=True: no published weights for {backbone}; "
                f"allowed: {', '.join(published.PUBLISHED)}; or --use_pretrained_model=False"
            )
    elif not os.path.exists(source):
        handles = presets.handles()
        if source not in handles:
            raise RunError(
                f"--pretrained_weights={source}: no such file or folder here, no preset; allowed: {LAYOUTS}; "
                f"{presets.LAYOUT}; or the preset {', '.join(handles)}"
            )
        if source.split("_")[0] != backbone.replace("-", ""):  # "resnet50_imagenet"
            raise UsageError(
                f"--pretrained_weights={source}: contradicts --backbone={backbone}; allowed: a backbone and its preset"
            )


def load_pretrained(model: keras.Model, backbone: str, source: str | None = None) -> str:
    """Replaces the weights of a segmenter's backbone.

    Args:
        model: of `build_segmenter`; its head keeps its weights.
        backbone: the name it was built with.
        source: like `check_available`. A file is taken for keras.applications' kind: its input is BGR minus the
            ImageNet mean, undivided. Layers pair by name if the names are keras.applications', else by their order.

    Returns:
        One line for the log: what was loaded, the files, their md5 and the number of arrays.

    Raises:
        UsageError: like `check_available`.
        RunError: if the weights cannot be had, are damaged, or do not fit the backbone.
    """
    check_available(backbone, source)
    found = _locate(backbone, source)
    stored = read_layers(found.weights)
    if found.config is None and any(presets.applications_name(layer.name) != layer.name for layer in stored):
        raise RunError(
            f"{found.weights}: holds a keras-cv network, whose pixels its config.json tells; "
            f"expected: {LAYOUTS}; or {presets.LAYOUT}"
        )
    pairs = _pair([layer for layer in model.get_layer("backbone").layers if layer.weights], stored)
    _check_fit(pairs, stored, found.weights, backbone)
    _assign(pairs, keras_cv=found.config is not None)
    config = f", {found.config} (md5 {published.md5_of(found.config)})" if found.config else ""
    count = sum(len(layer.arrays) for layer in stored)
    checksum = published.md5_of(found.weights)
    return f"{found.title} into {backbone}: {found.weights} (md5 {checksum}, {count} arrays){config}"


def _locate(backbone: str, source: str | None) -> _Source:
    """The files that `source` means, on the local disk."""
    if source is None:
        return _Source("ImageNet weights of keras.applications", published.fetch_published(backbone))
    if not os.path.exists(source):
        folder = published.fetch_preset(source, presets.handles()[source])
        preset = presets.find_preset(folder, backbone)
        return _Source(f"keras-cv's preset {source}", preset.weights, preset.config)
    folder = presets.folder_of(source)
    if folder is None:
        return _Source("weights of keras.applications' kind (BGR minus the ImageNet mean)", source)
    preset = presets.find_preset(folder, backbone)
    return _Source("keras-cv's preset folder", preset.weights, preset.config)


def _pair(layers: list, stored: list[StoredLayer]) -> list[tuple]:
    """(layer, StoredLayer) by name, or else the convolutions in their order and the batch normalisations in theirs.

    Without names the two classes are apart: Keras 3's layout has no order between classes.
    """
    named = {presets.applications_name(layer.name): layer for layer in stored}
    if set(named) == {layer.name for layer in layers}:
        return [(layer, named[layer.name]) for layer in layers]
    kernels = [layer for layer in stored if layer.arrays[0].ndim == 4]
    others = [layer for layer in stored if layer.arrays[0].ndim != 4]
    pairs = []
    for layer in layers:
        rest = kernels if _is_conv(layer) else others
        pairs.append((layer, rest.pop(0) if rest else None))
    return pairs + [(None, layer) for layer in kernels + others]


def _is_conv(layer: keras.Layer) -> bool:
    return isinstance(layer, keras.layers.Conv2D)


def _check_fit(pairs: list, stored: list, path: str, backbone: str) -> None:
    """Refuses a file whose layers differ from the network's, in number or shape, or hold no numbers; names them."""
    wrong = []
    if any(None in pair for pair in pairs):
        ours = sum(layer is not None for layer, _ in pairs)
        wrong.append(f"{len(stored)} layers with weights instead of {ours}")
    for layer, found in pairs:
        if layer is None or found is None:
            continue
        expected = [tuple(weight.shape) for weight in layer.weights]
        shapes = [array.shape for array in found.arrays]
        bias = [expected[0][-1:]] if _is_conv(layer) else []
        if shapes not in (expected, expected + bias):
            wrong.append(f"{found.name} {shapes} for {layer.name} {expected}")
        elif not all(np.isfinite(array).all() for array in found.arrays):
            wrong.append(f"{found.name} holds NaN or infinity")
    if wrong:
        listed = "; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else "")
        raise RunError(f"{path}: does not fit {backbone}: {listed}; expected: weights of {backbone}")


def _assign(pairs: list, *, keras_cv: bool) -> None:
    """Sets the weights, with what differs between the networks undone (the module's docstring)."""
    first, biases = None, {}
    for layer, found in pairs:
        if _is_conv(layer):
            kernel, *bias = found.arrays
            biases[layer.name.removesuffix("_conv")] = bias[0] if bias else 0
            if first is None:
                first = kernel = kernel if keras_cv else kernel[:, :, ::-1, :]
            layer.set_weights([kernel])
    for layer, found in pairs:
        if not _is_conv(layer):
            gamma, beta, mean, variance = found.arrays
            mean = mean - biases[layer.name.removesuffix("_bn")]
            if keras_cv and layer.name == "conv1_bn":
                mean, variance = _for_kseg_pixels(first, mean, variance, layer.epsilon)
            layer.set_weights([gamma, beta, mean, variance])


def _for_kseg_pixels(kernel, mean, variance, epsilon: float) -> tuple:
    """Statistics of the first batch normalisation when pixels change from 0..1 to 0..255 minus IMAGENET_MEAN.

    The convolution's output becomes 255 times as large, less the kernel's answer to the mean, so mean' = 255 mean -
    sum(kernel IMAGENET_MEAN) and variance' + epsilon = 255^2 (variance + epsilon) leave what follows as it was.
    A kernel divided by 255 would do that too, but with batch statistics the step of SGD relative to the kernel's norm
    goes with 1 / norm^2 (arXiv:1706.05350): the first step would be 65,025 times as large and wipe the kernel out.
    """
    at_mean = np.einsum("hwio,i->o", kernel.astype("float64"), IMAGENET_MEAN)
    return 255 * mean.astype("float64") - at_mean, 255**2 * (variance.astype("float64") + epsilon) - epsilon
