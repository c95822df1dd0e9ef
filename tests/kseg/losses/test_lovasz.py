import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.lovasz import Lovasz, _running_count

# Probabilities of class 0 and 1; class 2 is absent.
PROBABILITIES = np.array([[[[0.9, 0.1, 1e-9], [0.4, 0.6, 1e-9]], [[0.3, 0.7, 1e-9], [0.5, 0.5, 1e-9]]]], np.float32)
LABELS = np.array([[[0, 0], [1, 255]]], np.uint8)


def lovasz_softmax(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The authors' procedure in float64: labels [P], probabilities [P, C]; ignored pixels taken out first."""
    probabilities, labels = probabilities[labels != 255], labels[labels != 255]
    losses = []
    for number in np.unique(labels):
        labelled = (labels == number).astype(np.float64)
        errors = np.abs(labelled - probabilities[:, number])
        order = np.argsort(-errors, kind="stable")
        of_class = labelled[order]
        intersection = of_class.sum() - np.cumsum(of_class)
        union = of_class.sum() + np.cumsum(1 - of_class)
        jaccard = 1 - intersection / union
        losses.append(errors[order] @ np.diff(jaccard, prepend=0.0))
    return float(np.mean(losses))


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def test_it_is_worked_by_hand():
    """Class 0, errors falling: 0.6 of it, 0.3 not, 0.1 of it: 1 - IoU goes 1/2, 2/3, 1. Class 1: 0.6 not, 0.3, 0.1 not:
    1/2, 1, 1."""
    first = 0.6 * 1 / 2 + 0.3 * (2 / 3 - 1 / 2) + 0.1 * (1 - 2 / 3)
    second = 0.6 * 1 / 2 + 0.3 * (1 - 1 / 2)
    assert float(Lovasz()(LABELS, np.log(PROBABILITIES))) == pytest.approx((first + second) / 2, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_value_and_gradient_equal_the_procedure_of_the_paper(seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 3, 255], 40, p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    logits = rng.normal(0, 2, (40, 5))

    def value(logits: np.ndarray) -> float:
        return lovasz_softmax(labels, softmax(logits))

    want = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-6
        want[place] = (value(logits + step) - value(logits - step)) / 2e-6
    variable = tf.Variable(logits.reshape(2, 4, 5, 5), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = Lovasz()(labels.reshape(2, 4, 5), variable)
    assert float(loss) == pytest.approx(value(logits), rel=1e-5)
    np.testing.assert_allclose(np.reshape(tape.gradient(loss, variable), (40, 5)), want, atol=1e-6)


def test_many_pixels_keep_their_digits():
    """More pixels than a block of the running count, not a multiple of it."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 3, (1, 90, 91)).astype(np.uint8)
    logits = rng.normal(0, 3, (1, 90, 91, 3)).astype(np.float32)
    want = lovasz_softmax(labels.ravel(), softmax(logits.astype(np.float64)).reshape(-1, 3))
    assert float(Lovasz()(labels, logits)) == pytest.approx(want, rel=1e-5)


def test_certain_predictions_give_one_less_the_mean_iou():
    labels = np.array([[[0, 0, 0, 1, 1, 255]]], np.uint8)
    logits = np.eye(2, dtype=np.float32)[np.array([[[0, 0, 1, 1, 1, 0]]])] * 200
    assert float(Lovasz()(labels, logits)) == pytest.approx(1 - (2 / 3 + 2 / 3) / 2, rel=1e-6)


def test_pixels_of_equal_error_weigh_in_the_order_of_the_batch():
    """All errors are 1/2. Class 0, pixels of it at 0 and 2: steps 1/2, 1/6, 1/3; class 1 at 1: 1/2, 1/2, 0."""
    logits = tf.Variable(np.zeros((1, 1, 3, 2), np.float32))
    with tf.GradientTape() as tape:
        loss = Lovasz()(np.array([[[0, 1, 0]]], np.uint8), logits)
    assert float(loss) == pytest.approx(0.5, rel=1e-6)
    # d error / d logit 0 is -1/4 for a pixel of class 0 in both classes, +1/4 for the other; halved by the mean.
    want = np.array([-(1 / 2 + 1 / 2), 1 / 6 + 1 / 2, -(1 / 3 + 0)]) / 8
    np.testing.assert_allclose(tape.gradient(loss, logits)[0, 0, :, 0], want, rtol=1e-5)


def test_a_nan_shows_in_the_loss():
    logits = np.log(PROBABILITIES)
    logits[0, 0, 0, 0] = np.nan
    assert math.isnan(float(Lovasz()(LABELS, logits)))


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_the_running_count_is_a_cumulative_sum(size):
    marks = np.random.default_rng(0).random(size) < 0.5
    np.testing.assert_array_equal(_running_count(tf.constant(marks)), np.cumsum(marks))
