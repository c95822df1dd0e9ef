import gc
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.drawing import Drawing
from kseg.models.segmenter import build_segmenter
from kseg.registry import HEADS

SMALL = {"backbone": "resnet-18", "num_classes": 3, "aux": True, "seed": 5}


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """All, those of the backbone among them."""
    models = (layers_of(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers)
    return [layer for layers in models for layer in layers]


@pytest.mark.parametrize("algorithm", HEADS)
def test_a_network_drawn_meanwhile_is_the_one_drawn_at_once(algorithm):
    at_once, drawing = build_segmenter(algorithm=algorithm, **SMALL), Drawing()
    meanwhile = build_segmenter(algorithm=algorithm, **SMALL, later=drawing.later)
    drawing.finish(meanwhile)
    for one, two in zip(at_once.variables, meanwhile.variables, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    for one, two in zip(layers_of(at_once), layers_of(meanwhile), strict=True):
        assert one.get_config() == two.get_config()


def test_each_copy_of_a_mirrored_variable_has_the_values():
    drawing, strategy = Drawing(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        network = build_segmenter(algorithm="fcn", **SMALL, later=drawing.later)
        drawing.finish(network)
    for one, two in zip(build_segmenter(algorithm="fcn", **SMALL).variables, network.variables, strict=True):
        for replica in strategy.experimental_local_results(two.value):
            np.testing.assert_array_equal(one, replica, err_msg=one.path)


def fails(shape, dtype):
    """An operation that cannot be: its algorithm is none."""
    return tf.raw_ops.StatelessTruncatedNormalV2(shape=shape, key=[0], counter=[0], alg=7, dtype=dtype)


@pytest.mark.filterwarnings("error")  # of an exception where nobody can catch it: what collects the executor
@pytest.mark.parametrize("at_the_end", [True, False])
def test_a_failure_while_drawing_is_raised_once(at_the_end):
    """By `finish`, or by the next kernel's drawing."""
    drawing = Drawing()
    gone = weakref.ref(drawing)
    first = drawing.later(fails)
    first((2, 3), "float32")
    with pytest.raises(tf.errors.InvalidArgumentError):
        if at_the_end:
            drawing.finish(keras.Sequential())
        for _ in range(0 if at_the_end else 10_000):
            drawing.later(keras.initializers.HeNormal(seed=1))((2, 3), "float32")
    del drawing, first
    gc.collect()
    assert gone() is None


def test_a_kernel_that_nobody_gets_is_an_error():
    drawing = Drawing()
    build_segmenter(algorithm="fcn", **SMALL, later=drawing.later)
    other = build_segmenter(algorithm="fcn", **SMALL)
    with pytest.raises(RuntimeError, match=r"\d\d kernels .* none of fcn_resnet-18's"):
        drawing.finish(other)
