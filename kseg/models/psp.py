"""The PSP head: pyramid pooling (Zhao et al. 2017, arXiv:1612.01105)."""

import keras

from kseg.models.blocks import AdaptiveAveragePool, ResizeBilinear, Style, classifier, conv_bn_relu, dropout

PYRAMID_BINS = (1, 2, 3, 6)  # the paper's and GluonCV's (`_PyramidPooling`)
CHANNELS = 512


def psp_head(taps: dict, *, num_classes: int, output_stride: int, style: Style):
    """The features and their means over 1, 4, 9 and 36 regions, joined; 3x3 convolution; 1x1 convolution.

    As GluonCV's `_PSPHead`: each pooled map goes through a 1x1 convolution to a quarter of the channels, BN and ReLU,
    and is spread over the feature map with its corners aligned (MXNet's BilinearResize2D always aligns them).
    In training with a batch of one, the map of one region is normalised over a single value and gives its beta: use
    batches of two or more.

    Args:
        taps: "stage4" of the backbone, [N, h, w, C].
        num_classes: of the task.
        output_stride: not used: the regions scale with the feature map.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        float32 logits [N, h, w, num_classes].
    """
    del output_stride
    features = taps["stage4"]
    branches = [features]
    for bins in PYRAMID_BINS:
        x = AdaptiveAveragePool(bins, dtype=style.dtype, name=f"head_pool{bins}")(features)
        x = conv_bn_relu(x, features.shape[-1] // 4, 1, name=f"head_pool{bins}", style=style)
        x = ResizeBilinear(align_corners=True, dtype=style.dtype, name=f"head_pool{bins}_spread")([x, features])
        branches.append(x)
    x = keras.layers.Concatenate(dtype=style.dtype, name="head_join")(branches)
    x = conv_bn_relu(x, CHANNELS, 3, name="head", style=style)
    x = dropout(x, 0.1, name="head_dropout", style=style)
    return classifier(x, num_classes, name="head_logits", style=style)
