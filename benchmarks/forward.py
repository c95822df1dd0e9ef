"""How fast an exported network segments a picture. One JSON line.

    python benchmarks/forward.py --crop_size=480 [--algorithm=psp] [--precision=bfloat16] [--serving]

A network of random weights and statistics is exported, loaded by TensorFlow alone and given one picture of crop_size x
crop_size pixels; the median over --steps calls counts. --serving adds the seconds of the `serving_default` signature on
a JPEG beside those of its parts: decoding, `tensor`, PNG encoding. The two of a step follow each other.

TF_ENABLE_ONEDNN_OPTS=1 or =0 in the environment decides whether TensorFlow uses oneDNN.
"""

import dataclasses
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Callable

from kseg.command import launch
from kseg.config.values import ABOVE_16, POSITIVE
from kseg.knobs import OneOf, check, knob
from kseg.registry import BACKBONES, HEADS

CLASSES = 21
# Ranges of gamma, beta, mean and variance. The first convolution's outputs, of pixels from -124 to 151, have a variance
# of some 1e4, in the other layers that keeps all values near 1.
STATISTICS = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 2.0))
FIRST_NORM, FIRST_VARIANCE = "conv1_bn", 1e4


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Flags of the benchmark."""

    algorithm: str = knob("fcn", "The head.", allowed=OneOf(tuple(HEADS)))
    backbone: str = knob("resnet-50", "The feature extractor.", allowed=OneOf(tuple(BACKBONES)))
    crop_size: int = knob(240, "Side of the picture.", allowed=ABOVE_16, unit="pixels")
    precision: str = knob("float32", "As in kseg-export.", allowed=OneOf(("float32", "bfloat16")))
    winograd: bool = knob(True, "As in kseg-export.")
    steps: int = knob(5, "Timed calls, after one that is not.", allowed=POSITIVE)
    serving: bool = knob(False, "Time serving_default and its parts too.")

    def __post_init__(self):
        check(self)


def randomise(network) -> None:
    """Gives every batch normalisation seeded weights and statistics."""
    import keras
    import numpy as np

    random = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            randomise(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            weights = [random.uniform(low, high, layer.gamma.shape) for low, high in STATISTICS]
            weights[-1] *= FIRST_VARIANCE if layer.name == FIRST_NORM else 1
            layer.set_weights(weights)


def exported(config: BenchmarkConfig, folder: str) -> str:
    """Path of a SavedModel of the network."""
    from kseg import export
    from kseg.labels import LabelMap
    from kseg.models.segmenter import build_segmenter

    network = build_segmenter(algorithm=config.algorithm, backbone=config.backbone, num_classes=CLASSES)
    randomise(network)
    labels = LabelMap.from_names([str(index) for index in range(CLASSES)])
    return export.export(network, labels, folder, precision=config.precision, winograd=config.winograd)


def seconds(calls: dict[str, Callable], steps: int) -> dict[str, float]:
    """The median of each call's seconds; the calls of a step follow each other."""
    found = {name: [] for name in calls}
    for step in range(steps + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if step:  # the first one prepares
                found[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in found.items()}


def timed(signatures, config: BenchmarkConfig) -> dict[str, float]:
    """Seconds of the `tensor` signature; with --serving of serving_default, decoding and encoding too."""
    import numpy as np
    import tensorflow as tf

    from kseg import records

    ramp = np.linspace(0, 255, config.crop_size)
    picture = np.stack(
        [*np.meshgrid(ramp, ramp), np.random.default_rng(0).uniform(0, 255, (config.crop_size,) * 2)], -1
    )
    jpeg = tf.io.encode_jpeg(picture.astype(np.uint8))
    images = records.decode_image(jpeg)[None]
    calls = {"tensor": lambda: signatures["tensor"](images=images)["classes"].numpy()}
    if config.serving:
        mask = calls["tensor"]()[0][..., None]
        calls |= {
            "serving_default": lambda: signatures["serving_default"](image_bytes=jpeg[None])["mask_bytes"].numpy(),
            "decode": lambda: records.decode_image(jpeg).numpy(),
            "encode": lambda: tf.io.encode_png(mask).numpy(),
        }
    return seconds(calls, config.steps)


def run(config: BenchmarkConfig) -> None:
    """Exports, loads, measures, prints."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        loaded = tf.saved_model.load(exported(config, folder))
    found = timed(loaded.signatures, config)
    flags = dataclasses.asdict(config)
    line = {"peer": "kseg", "what": "forward", **{name: flags[name] for name in flags if name != "serving"}}
    line["forward_images_per_second"] = round(1 / found["tensor"], 3)
    if config.serving:
        line |= {f"{name}_seconds": round(value, 4) for name, value in found.items()}
    line["peak_rss_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    print(json.dumps(line))


if __name__ == "__main__":
    launch("forward.py", "How fast an exported network segments a picture.", BenchmarkConfig, run)
