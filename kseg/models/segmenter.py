"""The whole network: uint8 pixels in, logits of the same height and width out."""

import keras

from kseg.errors import UsageError
from kseg.models.blocks import Normalize, ResizeBilinear, StandIn, Style
from kseg.models.fcn import auxiliary_head
from kseg.registry import BACKBONES, HEADS, find

HEAD_PREFIXES = ("head", "aux")  # of the names of a head's and of the auxiliary head's layers
LOGITS, AUX_LOGITS = "logits", "aux_logits"
STAGES = 5  # conv1 (the stem) to conv5, as in table 1 of arXiv:1512.03385
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def build_segmenter(
    *,
    algorithm: str,
    backbone: str,
    num_classes: int,
    output_stride: int = 8,
    aux: bool = False,
    synchronized: bool = False,
    precision: str = "float32",
    seed: int = 0,
    on_processor: bool = False,
    later: StandIn | None = None,
) -> keras.Model:
    """A functional network with random weights, for images of any size; precision is each layer's, not Keras' policy.

    Args:
        algorithm, backbone: keys of kseg.registry.HEADS and BACKBONES.
        num_classes: 2 … 254.
        output_stride: input pixels per feature pixel: 8, 16 or 32.
        aux: whether to add the auxiliary head, for training.
        synchronized: batch normalisation over the batch of all replicas.
        precision: of the arithmetic between normalisation and logits, a key of POLICIES.
        seed, on_processor, later: of `kseg.models.blocks.Style`; the same arguments give the same weights.

    Returns:
        Images uint8 [N, H, W, 3] in RGB order, 0..255 -> logits float32 [N, H, W, num_classes]; with `aux` two, a dict.

    Raises:
        UsageError: for an unknown algorithm, backbone, output stride or precision.
    """
    build_head, build_backbone = find("algorithm", HEADS, algorithm), find("backbone", BACKBONES, backbone)
    style = Style(_policy(precision), synchronized=synchronized, seed=seed, on_processor=on_processor, later=later)
    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    taps = build_backbone(backbone, output_stride=output_stride, style=style)(Normalize(name="normalize")(images))
    logits = build_head(taps, num_classes=num_classes, output_stride=output_stride, style=style)
    outputs = ResizeBilinear(dtype="float32", name=LOGITS)([logits, images])
    if aux:
        logits = auxiliary_head(taps, num_classes=num_classes, style=style)
        outputs = {LOGITS: outputs, AUX_LOGITS: ResizeBilinear(dtype="float32", name="aux_resized")([logits, images])}
    return keras.Model(images, outputs, name=f"{algorithm}_{backbone}")


def without_aux(network: keras.Model) -> keras.Model:
    """The network, which it shares its layers with, as it is evaluated and exported: images to logits alone."""
    if not isinstance(network.output, dict):
        return network
    return keras.Model(network.input, network.output[LOGITS], name=network.name)


def freeze(network: keras.Model, *, stages: int = 0, batch_norm: bool = False) -> None:
    """Keeps parts of a segmenter's backbone as they are: call it before the optimizer is built.

    A frozen batch normalisation keeps gamma, beta and its statistics, and normalises by the latter in training too.

    Args:
        network: of `build_segmenter`.
        stages: how many of the backbone's stages conv1 … conv5 to freeze whole, from the first, 0 to STAGES.
        batch_norm: whether to freeze every batch normalisation of the backbone.

    Raises:
        UsageError: if the backbone's layers are not named by such stages.
    """
    layers = network.get_layer("backbone").layers
    frozen = tuple(f"conv{stage}_" for stage in range(1, stages + 1))
    for before, prefix in enumerate(frozen):
        if not any(layer.name.startswith(prefix) for layer in layers):
            raise UsageError(f"--freeze_stages={stages}: this backbone has no layers {prefix}…; allowed: 0 to {before}")
    for layer in layers:
        is_norm = isinstance(layer, keras.layers.BatchNormalization)
        if (frozen and layer.name.startswith(frozen)) or (batch_norm and is_norm):
            layer.trainable = False


def _policy(precision: str) -> str:
    if precision not in POLICIES:
        raise UsageError(f"--mixed_precision={precision}: allowed: {', '.join(POLICIES)}")
    return POLICIES[precision]


def is_head(variable: keras.Variable) -> bool:
    """Whether a variable of a segmenter is a head's: heads learn at a multiple of the backbone's rate."""
    return variable.path.startswith(HEAD_PREFIXES)
