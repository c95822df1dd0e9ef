import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.errors import UsageError
from kseg.losses.cross_entropy import CrossEntropy

# Probabilities of the labels 1/2, 1/4, 9/10, of two classes; the fourth pixel is ignored.
PROBABILITIES = np.array([[[[0.5, 0.5], [0.75, 0.25]], [[0.1, 0.9], [0.99, 0.01]]]], np.float32)
LABELS = np.array([[[0, 1], [1, 255]]], np.uint8)
LOGITS = np.log(PROBABILITIES)


def test_weights_multiply_and_the_divisor_stays_the_number_of_valid_pixels():
    want = (2 * math.log(2) + 0.5 * math.log(4) + 0.5 * math.log(10 / 9)) / 3
    assert float(CrossEntropy(class_weights=[2, 0.5])(LABELS, LOGITS)) == pytest.approx(want, rel=1e-6)


def test_smoothing_mixes_in_the_mean_over_the_classes():
    pairs = [(0.5, 0.5), (0.25, 0.75), (0.9, 0.1)]  # of the label, of the other class
    want = sum(-0.8 * math.log(own) - 0.2 * (math.log(own) + math.log(other)) / 2 for own, other in pairs) / 3
    assert float(CrossEntropy(label_smoothing=0.2)(LABELS, LOGITS)) == pytest.approx(want, rel=1e-6)


def test_smoothing_equals_keras_own_on_one_hot_labels():
    logits = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 5)).astype(np.float32)
    labels = np.arange(24).reshape(2, 3, 4) % 5
    one_hot = np.eye(5, dtype=np.float32)[labels]
    want = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.3)(one_hot, logits)
    got = CrossEntropy(label_smoothing=0.3)(labels.astype(np.uint8), logits)
    assert float(got) == pytest.approx(float(want), rel=1e-6)


def test_a_class_of_weight_0_has_no_gradient():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = CrossEntropy(class_weights=[0, 1], label_smoothing=0.1)(LABELS, logits)
    at_pixel = np.abs(tape.gradient(loss, logits)).max(axis=-1)
    assert at_pixel[0, 0, 0] == 0
    assert at_pixel[0, 0, 1] > 0


def test_without_options_one_fused_operation_computes_it():
    graph = tf.function(CrossEntropy().call).get_concrete_function(LABELS, LOGITS).graph
    kinds = {operation.type for operation in graph.get_operations()}
    assert "SparseSoftmaxCrossEntropyWithLogits" in kinds
    assert not kinds & {"OneHot", "Exp", "Softmax", "LogSoftmax", "GatherV2"}


@pytest.mark.parametrize("weights", [[1, -1], [0, 0], [1, math.nan], [math.inf, 1], []])
def test_impossible_weights_are_refused(weights):
    with pytest.raises(UsageError, match=r"--class_weights=.*: allowed: numbers >= 0"):
        CrossEntropy(class_weights=weights)


@pytest.mark.parametrize("smoothing", [-0.1, 1.0])
def test_impossible_smoothing_is_refused(smoothing):
    with pytest.raises(UsageError, match=rf"--label_smoothing={smoothing}: allowed: 0 <= x < 1"):
        CrossEntropy(label_smoothing=smoothing)


def test_another_number_of_weights_than_classes_is_refused():
    with pytest.raises(UsageError, match="--class_weights: 3 numbers, but the network has 2 classes"):
        CrossEntropy(class_weights=[1, 1, 1])(LABELS, LOGITS)
