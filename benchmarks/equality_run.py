"""kseg-train in float64 or from slightly other weights, for equality.py: how much of a difference is rounding.

    python benchmarks/equality_run.py float64|float32 MOVED flags of kseg-train …

float64 takes the place of float32 in the network, the loss and the weights. MOVED multiplies each initial weight by
1 + MOVED x a normal deviate, 0 for none.
"""

import pathlib
import sys
import types

import keras
import numpy as np
import tensorflow as tf

SEED = 0  # of the deviates


class Wide(types.ModuleType):
    """TensorFlow, whose float32 is float64."""

    float32 = tf.float64

    def __getattr__(self, name):
        return getattr(tf, name)


def widen() -> None:
    """Before any network is built. An FCN head and the pixel losses; batch normalisation is Keras's, of operations."""
    from kseg.losses import pixel, reduction
    from kseg.models import fcn, segmenter
    from kseg.models.normalization import BatchNormalization

    keras.config.set_floatx("float64")
    segmenter.POLICIES["float32"] = "float64"
    BatchNormalization._fused = lambda self: None  # the fused operation has no float64
    pixel.tf = reduction.tf = Wide("tensorflow")
    resize = segmenter.ResizeBilinear
    segmenter.ResizeBilinear = lambda **options: resize(**{**options, "dtype": "float64"})

    def classifier(x, num_classes, *, name, style):
        start = style.initializer(name)
        return keras.layers.Conv2D(num_classes, 1, kernel_initializer=start, dtype="float64", name=name)(x)

    fcn.classifier = classifier


def move(share: float) -> None:
    """Before any network is built: every initial weight by a normal deviate of `share` of its own value."""
    from kseg import checkpoints

    build = checkpoints.build_network

    def moved(config, num_classes, precision, later=None):
        network = build(config, num_classes, precision)  # without `later`: there must be values to move
        deviates = np.random.default_rng(SEED)
        for variable in network.trainable_variables:
            value = keras.ops.convert_to_numpy(variable).astype(np.float64)
            variable.assign(value * (1 + share * deviates.standard_normal(value.shape)))
        return network

    checkpoints.build_network = moved


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # this checkout's kseg
    precision, share = sys.argv[1], float(sys.argv[2])
    if precision == "float64":
        widen()
    if share:
        move(share)
    sys.argv = ["kseg-train", *sys.argv[3:]]
    from kseg.cli.train import main

    main()
