import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.drawing import Drawing
from kseg.models.segmenter import build_segmenter

SMALL = {"algorithm": "fcn", "backbone": "resnet-18", "num_classes": 3, "aux": True, "seed": 5}


def layers_of(network: keras.Model) -> list[keras.layers.Layer]:
    """All, those of the backbone among them."""
    models = (layers_of(layer) if isinstance(layer, keras.Model) else [layer] for layer in network.layers)
    return [layer for layers in models for layer in layers]


def test_a_network_drawn_meanwhile_is_the_one_drawn_at_once():
    at_once, drawing = build_segmenter(**SMALL), Drawing()
    meanwhile = build_segmenter(**SMALL, later=drawing.later)
    drawing.finish(meanwhile)
    for one, two in zip(at_once.variables, meanwhile.variables, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    for one, two in zip(layers_of(at_once), layers_of(meanwhile), strict=True):
        assert one.get_config() == two.get_config()


def test_replicas_get_the_same_values():
    drawing, strategy = Drawing(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        network = build_segmenter(**SMALL, later=drawing.later)
        drawing.finish(network)
    for one, two in zip(build_segmenter(**SMALL).variables, network.variables, strict=True):
        for replica in strategy.experimental_local_results(two.value):
            np.testing.assert_array_equal(one, replica, err_msg=one.path)


def test_a_failure_while_drawing_is_raised_when_it_is_waited_for():
    drawing = Drawing()

    def fails(shape, dtype):
        return tf.raw_ops.StatelessTruncatedNormalV2(shape=shape, key=[0], counter=[0], alg=7, dtype=dtype)

    layer = keras.layers.Dense(2, kernel_initializer=drawing.later(fails))
    network = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(tf.errors.InvalidArgumentError):
        drawing.finish(network)
