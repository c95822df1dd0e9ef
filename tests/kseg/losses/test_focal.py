import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.focal import Focal

# Probabilities of the labels: 1/2, 1/4, 9/10; the fourth pixel is ignored.
LOGITS = np.log(np.array([[[[0.5, 0.5], [0.75, 0.25]], [[0.1, 0.9], [0.99, 0.01]]]], np.float32))
LABELS = np.array([[[0, 1], [1, 255]]], np.uint8)
OF_LABEL = np.array([0.5, 0.25, 0.9])


def test_it_is_the_mean_over_the_valid_pixels_worked_by_hand():
    want = (0.25 * math.log(2) + 0.5625 * math.log(4) + 0.01 * math.log(10 / 9)) / 3
    assert float(Focal()(LABELS, LOGITS)) == pytest.approx(want, rel=1e-5)


def test_weights_and_smoothing_change_the_cross_entropy_alone():
    def smoothed(own: float) -> float:
        return -0.9 * math.log(own) - 0.05 * (math.log(own) + math.log(1 - own))

    want = (0.25 * 2 * smoothed(0.5) + 0.5625 * 3 * smoothed(0.25) + 0.01 * 3 * smoothed(0.9)) / 3
    loss = Focal(class_weights=(2, 3), label_smoothing=0.1)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(want, rel=1e-5)


def test_the_gradient_is_that_of_the_product():
    logits = tf.Variable(LOGITS)
    with tf.GradientTape() as tape:
        loss = Focal()(LABELS, logits)
    # By the logit of the label: dCE = -(1 - p), d(1 - p)^2 = -2 (1 - p) * p (1 - p).
    miss = 1 - OF_LABEL
    want = (-(miss**3) + 2 * miss**2 * OF_LABEL * np.log(OF_LABEL)) / 3
    got = np.array(tape.gradient(loss, logits)).reshape(4, 2)
    np.testing.assert_allclose(got[[0, 1, 2], [0, 1, 1]], want, rtol=1e-5)
    np.testing.assert_allclose(got.sum(axis=-1), 0, atol=1e-7)
    assert not got[3].any()


@pytest.mark.parametrize(("logit", "want"), [(200.0, 0.0), (-200.0, 200.0)])
def test_probabilities_of_1_and_0_have_a_finite_gradient(logit, want):
    logits = tf.Variable([[[[logit, 0.0]]]])
    with tf.GradientTape() as tape:
        loss = Focal()(np.zeros((1, 1, 1), np.uint8), logits)
    assert float(loss) == want
    np.testing.assert_array_equal(tape.gradient(loss, logits)[0, 0, 0], [-1.0, 1.0] if want else [0.0, 0.0])
