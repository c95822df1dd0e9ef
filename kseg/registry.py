"""Every choice that grows by a file of its own: its name on the command line -> where its code is, "module:name".

An entry is text, so that the command line knows the choices without importing Keras; `find` imports the code.
"""

import difflib
import importlib

from kseg.errors import UsageError

# (taps {"stage3", "stage4"}, *, num_classes, output_stride, style) -> logits of the taps' size
HEADS = {
    "fcn": "kseg.models.fcn:fcn_head",
    "psp": "kseg.models.psp:psp_head",
    "deeplab": "kseg.models.deeplab:deeplab_head",
}
# (name, *, output_stride, style) -> keras.Model named "backbone", from normalised images to the taps
BACKBONES = {
    "resnet-18": "kseg.models.backbones:build_backbone",
    "resnet-34": "kseg.models.backbones:build_backbone",
    "resnet-50": "kseg.models.backbones:build_backbone",
    "resnet-101": "kseg.models.backbones:build_backbone",
    "resnet-152": "kseg.models.backbones:build_backbone",
}
# (*, class_weights, label_smoothing) -> keras.losses.Loss of labels [N, H, W] and logits [N, H, W, C]
PIXEL_LOSSES = {
    "cross_entropy": "kseg.losses.cross_entropy:CrossEntropy",
    "ohem": "kseg.losses.ohem:Ohem",
    "focal": "kseg.losses.focal:Focal",
}
# () -> the same; they compare whole regions, class by class, so that there is no pixel to weight or to smooth
REGION_LOSSES = {
    "dice": "kseg.losses.dice:Dice",
    "lovasz": "kseg.losses.lovasz:Lovasz",
}
LOSSES = PIXEL_LOSSES | REGION_LOSSES
# The update rules of kseg.optimizers and the courses of kseg.schedules
OPTIMIZERS = ("adadelta", "adagrad", "adam", "adamw", "nag", "rmsprop", "sgd")
SCHEDULES = ("poly", "cosine", "step")


def find(flag: str, table: dict[str, str], name: str):
    """The object that `table` has under `name`: find("algorithm", HEADS, "fcn") is the function `fcn_head`.

    Raises:
        UsageError: for an unknown name, with the flag it came by and the known ones.
    """
    if name not in table:
        raise UsageError(f"--{flag}={name}: allowed: {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def loss_parts(spec: str) -> tuple[str, ...]:
    """The names in a value of --loss: "cross_entropy+dice" -> ("cross_entropy", "dice").

    Raises:
        UsageError: for an unknown or a repeated part.
    """
    parts = tuple(spec.split("+"))
    allowed = f"allowed: one or more of {', '.join(LOSSES)}, joined by +"
    for part in parts:
        if part not in LOSSES:
            near = difflib.get_close_matches(part, LOSSES, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--loss={spec}: {allowed}{hint}")
    if len(set(parts)) < len(parts):
        raise UsageError(f"--loss={spec}: {allowed}, each once")
    return parts
