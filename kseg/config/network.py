"""Flags of kseg-train: the network and the weights it starts from."""

import dataclasses

from kseg.config.values import FOLDER
from kseg.errors import UsageError
from kseg.knobs import OneOf, Range, knob
from kseg.registry import BACKBONES, HEADS


@dataclasses.dataclass(frozen=True)
class NetworkFlags:
    """Heads, backbone, weights to start from, what stays frozen."""

    algorithm: str = knob("fcn", "The segmentation head.", allowed=OneOf(tuple(HEADS)))
    backbone: str = knob("resnet-50", "The feature extractor.", allowed=OneOf(tuple(BACKBONES)))
    output_stride: int = knob(
        8, "Input pixels per feature pixel; smaller is finer and slower.", allowed=OneOf((8, 16, 32)), unit="pixels"
    )
    aux_loss_weight: float = knob(
        0.4,
        "Weight of the loss of an auxiliary FCN head on the backbone's last stage but one, which evaluation and export "
        "leave out; 0 = no such head.",
        allowed=Range(low=0),
    )
    use_pretrained_model: bool = knob(True, "Start the backbone from ImageNet weights instead of random ones.")
    pretrained_weights: str = knob(
        None,
        "Weights to start the backbone from instead of the published download.",
        allowed="a local .h5 or .weights.h5 file of keras.applications' ResNet (BGR minus the ImageNet mean), a local "
        "folder of keras-cv's save_to_preset, or keras-cv's preset resnet50_imagenet",
    )
    init_from: str = knob(
        None,
        "Run directory of an earlier training of the same algorithm and backbone: start the whole network from its "
        "best model instead; with another number of classes, all but the classifiers.",
        allowed=FOLDER,
    )
    freeze_backbone_bn: bool = knob(
        False, "Keep the backbone's batch normalisation, weights and statistics, as it starts."
    )
    freeze_stages: int = knob(
        0,
        "Keep so many of the backbone's five stages, from the stem conv1 to conv5, as they start.",
        allowed=Range(0, 5),
    )
    syncbn: bool = knob(False, "Batch normalisation over the batch of all devices, not of each by itself.")

    def _check_start(self):
        """Refuses two kinds of weights to start from at once."""
        if self.pretrained_weights is not None and not self.use_pretrained_model:
            raise UsageError(
                f"--pretrained_weights={self.pretrained_weights}: contradicts --use_pretrained_model=False; "
                "allowed: one of the two"
            )
        if self.pretrained_weights is not None and self.init_from is not None:
            raise UsageError(
                f"--init_from={self.init_from}: contradicts --pretrained_weights={self.pretrained_weights}; "
                "allowed: one of the two"
            )
