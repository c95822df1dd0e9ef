"""The DeepLabV3 head: atrous spatial pyramid pooling (Chen et al. 2017, arXiv:1706.05587)."""

import keras

from kseg.models.blocks import AdaptiveAveragePool, ResizeBilinear, Style, classifier, conv_bn_relu, dropout

ATROUS_RATES = (12, 24, 36)  # at output stride 8; the paper halves them at 16, so that they span the same pixels
CHANNELS = 256


def deeplab_head(taps: dict, *, num_classes: int, output_stride: int, style: Style):
    """Five branches of 256 channels (1x1, three dilated 3x3, image mean), joined; 1x1; 3x3; 1x1 to the classes.

    As GluonCV's `_DeepLabHead`. In training with a batch of one, the image-mean branch is normalised over a single
    value and gives its beta: use batches of two or more.

    Args:
        taps: "stage4" of the backbone, [N, h, w, C].
        num_classes: of the task.
        output_stride: 8, 16 or 32: scales the dilation rates.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        float32 logits [N, h, w, num_classes].
    """
    features = taps["stage4"]
    branches = [conv_bn_relu(features, CHANNELS, 1, name="head_aspp1", style=style)]
    for index, rate in enumerate(ATROUS_RATES, start=2):
        rate = rate * 8 // output_stride
        branches.append(conv_bn_relu(features, CHANNELS, 3, dilation=rate, name=f"head_aspp{index}", style=style))
    x = AdaptiveAveragePool(1, dtype=style.dtype, name="head_mean")(features)
    x = conv_bn_relu(x, CHANNELS, 1, name="head_mean", style=style)
    branches.append(ResizeBilinear(dtype=style.dtype, name="head_mean_spread")([x, features]))
    x = keras.layers.Concatenate(dtype=style.dtype, name="head_join")(branches)
    x = conv_bn_relu(x, CHANNELS, 1, name="head_project", style=style)
    x = dropout(x, 0.5, name="head_project_dropout", style=style)
    x = conv_bn_relu(x, CHANNELS, 3, name="head", style=style)
    x = dropout(x, 0.1, name="head_dropout", style=style)
    return classifier(x, num_classes, name="head_logits", style=style)
