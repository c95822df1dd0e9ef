"""keras-cv's own ResNets (v1), which kseg's are compared with."""

import keras
import keras_cv

from kseg.models import backbones


def keras_cv_resnet(name: str, **options) -> keras.Model:
    """That of a key of `kseg.models.backbones.VARIANTS`."""
    blocks, block_type = backbones.VARIANTS[name]
    return keras_cv.models.ResNetBackbone(
        stackwise_filters=[64, 128, 256, 512],
        stackwise_blocks=list(blocks),
        stackwise_strides=[1, 2, 2, 2],
        block_type=block_type,
        **options,
    )
