"""ResNets of keras-cv, dilated: the only module that knows keras-cv.

keras-cv's ResNetBackbone gives the layer graph. It has strides but no dilation, batch normalisation without
`synchronized`, unseeded Glorot weights and no dtype argument, so `build_backbone` makes each layer anew, its
configuration changed, and joins them in the same way. That graph is kept for the next start (kseg.cache): importing
keras-cv and building its network takes 1 to 2 s. Layers take the names of keras.applications' ResNets
("conv4_block1_2_conv") and keep their order, in which the ImageNet weights are stored.
"""

import concurrent.futures
import importlib.metadata
import json
import re

import keras

from kseg import cache
from kseg.errors import UsageError
from kseg.models.blocks import Style, batch_norm
from kseg.models.convolution import Conv2D

# name: (blocks in each of the four stages, keras-cv's block type)
VARIANTS = {
    "resnet-18": ((2, 2, 2, 2), "basic_block"),
    "resnet-34": ((3, 4, 6, 3), "basic_block"),
    "resnet-50": ((3, 4, 6, 3), "block"),
    "resnet-101": ((3, 4, 23, 3), "block"),
    "resnet-152": ((3, 8, 36, 3), "block"),
}
STAGE_FILTERS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
STEM_STRIDE = 4
OUTPUT_STRIDES = (8, 16, 32)
LAYOUT = 1  # of what `_layers` keeps; another number where that changes


def build_backbone(name: str, *, output_stride: int = 8, style: Style) -> keras.Model:
    """A ResNet (v1, He et al. 2015, arXiv:1512.03385) with random weights that maps pixels to feature maps.

    Args:
        name: a key of VARIANTS.
        output_stride: input pixels per feature pixel of the last stage: 8, 16 or 32.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        A model named "backbone": normalised float32 images [N, H, W, 3] of any size -> a dict of taps, "stage3" and
        "stage4" [N, ceil(H / stride), ceil(W / stride), C] in the compute dtype. stage4 has stride `output_stride`,
        stage3 the smaller of that and 16.

    Raises:
        UsageError: for an unknown name or stride.
    """
    if name not in VARIANTS:
        raise UsageError(f"--backbone={name}: allowed: {', '.join(VARIANTS)}")
    if output_stride not in OUTPUT_STRIDES:
        raise UsageError(f"--output_stride={output_stride}: allowed: {', '.join(map(str, OUTPUT_STRIDES))}")
    graph = _rebuild(_layers(name), stage_rates(output_stride), style)
    blocks, _ = VARIANTS[name]
    last_layers = {"stage3": f"conv4_block{blocks[2]}_out", "stage4": f"conv5_block{blocks[3]}_out"}
    taps = {tap: graph.get_layer(layer).output for tap, layer in last_layers.items()}
    return keras.Model(graph.input, taps, name="backbone")


def _rebuild(layers: list, rates: dict, style: Style) -> keras.Model:
    """The graph of `_layers` with new layers: renamed, dilated by `rates`, explicitly padded, in the given style."""
    (_, source, _, _), *layers = layers
    image = x = keras.Input((None, None, 3), name="pixels")
    outputs = {source: image}
    for kind, name, config, inputs in layers:
        x = [outputs[each] for each in inputs] if len(inputs) > 1 else outputs[inputs[0]]
        x = outputs[name] = _layer(kind, {**config, "name": applications_name(name)}, x, rates, style)
    return keras.Model(image, x)


def _layer(kind: str, config: dict, x, rates: dict, style: Style):
    """Makes a layer of keras-cv's kind and configuration as kseg wants it, and calls it."""
    name = config["name"]
    if kind == "BatchNormalization":
        return batch_norm(name, style)(x)
    config["dtype"] = style.dtype
    if kind == "Conv2D":
        config["kernel_initializer"] = style.initializer(name)
        _dilate(config, rates)
    if kind in ("Conv2D", "MaxPooling2D"):
        zeros = _take_padding_out(config)
        if zeros:
            pad_name = re.sub("_(conv|pool)$", "_pad", name)
            x = keras.layers.ZeroPadding2D(zeros, dtype=style.dtype, name=pad_name)(x)
    if kind == "Conv2D":
        return Conv2D.from_config({**config, "winograd": style.winograd})(x)
    return getattr(keras.layers, kind).from_config(config)(x)


def _layers(name: str) -> list:
    """keras-cv's network of that name, layer by layer: [class, name, configuration, names of the layers before]."""
    made_by = (LAYOUT, keras.__version__, importlib.metadata.version("keras-cv"), keras.config.image_data_format())
    key = json.dumps([made_by, VARIANTS[name], STAGE_FILTERS, STAGE_STRIDES])
    kept = cache.read("backbones", key)
    if kept is not None:
        return json.loads(kept)
    layers = [
        [layer.__class__.__name__, layer.name, layer.get_config(), _inputs(layer)]
        for layer in _keras_cv_resnet(name).layers
    ]
    text = json.dumps(layers)
    cache.write("backbones", key, text.encode())
    return json.loads(text)  # tuples are lists now, as they are when it is read


def _inputs(layer: keras.Layer) -> list[str]:
    """Names of the layers whose outputs a layer of a functional model takes, in order."""
    if isinstance(layer, keras.layers.InputLayer):
        return []
    tensors = layer.input if isinstance(layer.input, list) else [layer.input]
    return [tensor._keras_history.operation.name for tensor in tensors]


def _keras_cv_resnet(name: str) -> keras.Model:
    """keras-cv's own network of that name, for images of any size, whose weights have no values and never get any."""
    import keras_cv  # here, not above: it loads in 1 s, and a saved model or --help needs none of it

    blocks, block_type = VARIANTS[name]

    def make() -> keras.Model:
        # Drawing the weights of resnet-50 would take 1.3 s.
        with keras.StatelessScope(initialize_variables=False):
            return keras_cv.models.ResNetBackbone(
                stackwise_filters=list(STAGE_FILTERS),
                stackwise_blocks=list(blocks),
                stackwise_strides=list(STAGE_STRIDES),
                block_type=block_type,
                include_rescaling=False,
                input_shape=(None, None, 3),
            )

    # Keras lists such weights for each thread, and draws those of its list whenever another such scope ends: this
    # thread's list ends with it. Nor is it in a strategy's scope, where workers would wait for each other to make them.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(make).result()


def preset_handles() -> dict[str, str]:
    """keras-cv's ResNet (v1) presets that have weights: name -> what Kaggle calls it, "keras/resnetv1/…/2"."""
    import keras_cv

    known = keras_cv.models.ResNetBackbone.presets_with_weights
    return {name: preset["kaggle_handle"].removeprefix("kaggle://") for name, preset in known.items()}


def applications_name(name: str) -> str:
    """keras-cv's name of a layer -> keras.applications': "v2_stack_0_block1_2_bn" -> "conv2_block1_2_bn"."""
    return re.sub(r"^v2_stack_(\d)_", lambda match: f"conv{int(match[1]) + 2}_", name)


def stage_rates(output_stride: int) -> dict[str, tuple[int, int, int]]:
    """Per stage ("conv2" … "conv5"): (stride, dilation before the stage's stride, dilation after it).

    A stride that would take the network past `output_stride` is left out and doubles the dilation of what follows.
    """
    rates, reached, dilation = {}, STEM_STRIDE, 1
    for stage, stride in enumerate(STAGE_STRIDES, start=2):
        kept = stride if reached * stride <= output_stride else 1
        before, dilation = dilation, dilation * stride // kept
        reached *= kept
        rates[f"conv{stage}"] = (kept, before, dilation)
    return rates


def _dilate(config: dict, rates: dict) -> None:
    """Sets stride and dilation of a convolution's configuration.

    A convolution is dilated by the strides left out upstream of it, which makes the dilated network the original one
    evaluated at every position (Holschneider's algorithme à trous; arXiv:1606.00915, section 3.1), so ImageNet weights
    keep their meaning. GluonCV and PyTorch carry the stride in a bottleneck's 3x3 convolution, so their first 3x3 of
    a dilated stage keeps the dilation of the stage before. keras-cv and keras.applications carry it in the 1x1
    before, so here that 3x3 is already dilated; in the basic block of ResNet-18 and -34 the first 3x3 carries the
    stride itself and follows the GluonCV rule.
    """
    stage = config["name"].split("_")[0]
    if stage not in rates:  # the stem
        return
    stride, before, after = rates[stage]
    carries_stride = max(config["strides"]) > 1
    if max(config["kernel_size"]) > 1:
        config["dilation_rate"] = (before, before) if carries_stride else (after, after)
    if carries_stride:
        config["strides"] = (stride, stride)


def _take_padding_out(config: dict) -> int:
    """Makes a strided layer pad-free and returns the zeros to put on each side of its input instead.

    TensorFlow's "same" puts nothing before and one row after an even-sized input of a strided 3x3, which moves the
    features by half a stride against the shortcut's 1x1 and differs between even and odd sizes; keras.applications'
    weights and the reference want the same on both sides. Zeros serve the max pooling too: its inputs are >= 0.
    """
    size = max(config.get("kernel_size", config.get("pool_size")))
    if max(config["strides"]) == 1 or size == 1:
        return 0
    config["padding"] = "valid"
    return size // 2
