"""ResNets (v1), dilated: keras-cv's layer graph, which keras.applications and its ImageNet weights share.

keras-cv's ResNetBackbone has strides but no dilation, batch normalisation without `synchronized`, unseeded Glorot
weights, no dtype argument and padding that depends on the size, so every layer is kseg's own anyway; tests hold the
graph, its names and the order of its weights to keras-cv's (docs/decisions/0009). Layers have the names of
keras.applications' ResNets ("conv4_block1_2_conv") and their order, in which the ImageNet weights are stored.
"""

import keras

from kseg.errors import UsageError
from kseg.models.blocks import Style, conv_bn, relu

BOTTLENECK, BASIC = "block", "basic_block"  # as keras-cv's presets call them
# name: (blocks in each of the four stages, their kind)
VARIANTS = {
    "resnet-18": ((2, 2, 2, 2), BASIC),
    "resnet-34": ((3, 4, 6, 3), BASIC),
    "resnet-50": ((3, 4, 6, 3), BOTTLENECK),
    "resnet-101": ((3, 4, 23, 3), BOTTLENECK),
    "resnet-152": ((3, 8, 36, 3), BOTTLENECK),
}
STAGE_FILTERS = (64, 128, 256, 512)
STAGE_STRIDES = (1, 2, 2, 2)
STEM_FILTERS, STEM_STRIDE = 64, 4
WIDENING = 4  # channels that a bottleneck puts out for each that its 3x3 convolution has
OUTPUT_STRIDES = (8, 16, 32)


def build_backbone(name: str, *, output_stride: int = 8, style: Style) -> keras.Model:
    """A ResNet (v1, He et al. 2015, arXiv:1512.03385) with random weights that maps pixels to feature maps.

    Args:
        name: a key of VARIANTS.
        output_stride: input pixels per feature pixel of the last stage: 8, 16 or 32.
        style: of every layer.

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
    blocks, kind = VARIANTS[name]
    pixels = keras.Input((None, None, 3), name="pixels")
    x = relu(conv_bn(pixels, STEM_FILTERS, 7, name="conv1", style=style, stride=2), "conv1_relu", style)
    # Padded with zeros, which serve a maximum of what is never negative.
    x = keras.layers.ZeroPadding2D(1, dtype=style.dtype, name="pool1_pad")(x)
    x = keras.layers.MaxPooling2D(3, strides=2, dtype=style.dtype, name="pool1_pool")(x)
    ends = []
    for (stage, rates), filters, count in zip(stage_rates(output_stride).items(), STAGE_FILTERS, blocks, strict=True):
        for number in range(1, count + 1):
            x = _block(x, filters, kind, rates, name=f"{stage}_block{number}", style=style)
            rates = (1, rates[2], rates[2])
        ends.append(x)
    return keras.Model(pixels, {"stage3": ends[2], "stage4": ends[3]}, name="backbone")


def _block(x, filters: int, kind: str, rates: tuple[int, int, int], *, name: str, style: Style):
    """A residual block, [N, H, W, ?] -> [N, ceil(H / stride), ceil(W / stride), its channels].

    A convolution is dilated by the strides left out upstream of it, which makes the dilated network the original one
    evaluated at every position (Holschneider's algorithme à trous; arXiv:1606.00915, section 3.1), so ImageNet weights
    keep their meaning. GluonCV and PyTorch carry the stride in a bottleneck's 3x3 convolution, so their first 3x3 of
    a dilated stage keeps the dilation of the stage before. keras-cv and keras.applications carry it in the 1x1
    before, so here that 3x3 is already dilated; in the basic block of ResNet-18 and -34 the first 3x3 carries the
    stride itself and follows the GluonCV rule.

    Args:
        x: feature maps.
        filters: channels of the 3x3 convolutions.
        kind: BOTTLENECK or BASIC.
        rates: (stride, dilation before it, dilation after it), as in `stage_rates`.
        name: what its layers' names begin with.
        style: of its layers.
    """
    stride, before, after = rates
    channels = filters * WIDENING if kind == BOTTLENECK else filters
    shortcut = x
    if (stride, channels) != (1, x.shape[-1]):  # the first of a stage: one without its stride has more channels still
        shortcut = conv_bn(x, channels, 1, name=f"{name}_0", style=style, stride=stride)
    if kind == BOTTLENECK:
        x = relu(conv_bn(x, filters, 1, name=f"{name}_1", style=style, stride=stride), f"{name}_1_relu", style)
        x = relu(conv_bn(x, filters, 3, name=f"{name}_2", style=style, dilation=after), f"{name}_2_relu", style)
        x = conv_bn(x, channels, 1, name=f"{name}_3", style=style)
    else:
        x = conv_bn(x, filters, 3, name=f"{name}_1", style=style, stride=stride, dilation=before)
        x = conv_bn(relu(x, f"{name}_1_relu", style), filters, 3, name=f"{name}_2", style=style, dilation=after)
    x = keras.layers.Add(dtype=style.dtype, name=f"{name}_add")([shortcut, x])
    return relu(x, f"{name}_out", style)


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
