"""The FCN head (Long et al. 2015, arXiv:1411.4038) in GluonCV's form, `_FCNHead`, and every head's auxiliary head."""

from kseg.models.blocks import Style, classifier, conv_bn_relu, dropout


def fcn_head(taps: dict, *, num_classes: int, output_stride: int, style: Style):
    """The layers of `fcn_layers` on the last stage.

    Args:
        taps: "stage4" of the backbone, [N, h, w, C].
        num_classes: of the task.
        output_stride: not used: no convolution here looks further than its neighbours.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        float32 logits [N, h, w, num_classes].
    """
    del output_stride
    return fcn_layers(taps["stage4"], num_classes=num_classes, name="head", style=style)


def auxiliary_head(taps: dict, *, num_classes: int, style: Style):
    """The same layers on the stage before, for a second loss in training (Zhao et al. 2017, arXiv:1612.01105, 3.2).

    Args:
        taps: "stage3" of the backbone, [N, h, w, C].
        num_classes: of the task.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        float32 logits [N, h, w, num_classes].
    """
    return fcn_layers(taps["stage3"], num_classes=num_classes, name="aux", style=style)


def fcn_layers(features, *, num_classes: int, name: str, style: Style):
    """3x3 convolution to a quarter of the channels, BN, ReLU, dropout 0.1, 1x1 convolution.

    Args:
        features: [N, h, w, C].
        num_classes: of the task.
        name: what the layers' names begin with.
        style: dtype, synchronisation and seed of every layer.

    Returns:
        float32 logits [N, h, w, num_classes].
    """
    x = conv_bn_relu(features, features.shape[-1] // 4, 3, name=name, style=style)
    x = dropout(x, 0.1, name=f"{name}_dropout", style=style)
    return classifier(x, num_classes, name=f"{name}_logits", style=style)
