import math

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.ohem import Ohem


def logits_of(probabilities: list[float]) -> np.ndarray:
    """[1, 1, P, 2]: class 0 is predicted with these."""
    first = np.array(probabilities, np.float32)
    return np.log(np.stack([first, 1 - first], axis=-1))[None, None]


def value_and_gradient(labels, logits, loss=None):
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = (loss or Ohem())(np.array(labels, np.uint8)[None, None], logits)
    return float(value), np.array(tape.gradient(value, logits))[0, 0]


def test_it_is_the_mean_over_the_pixels_below_0_7_worked_by_hand():
    # The label of the last valid one is class 1, at 1 - 0.9; of the ignored one it would be hard.
    value, gradient = value_and_gradient([0, 0, 0, 1, 255], logits_of([0.5, 0.8, 0.6, 0.9, 0.01]))
    assert value == pytest.approx((math.log(2) - math.log(0.6) - math.log(0.1)) / 3, rel=1e-6)
    want = np.array([[-0.5, 0.5], [0, 0], [-0.4, 0.4], [0.9, -0.9], [0, 0]]) / 3
    np.testing.assert_allclose(gradient, want, atol=1e-7)


def test_the_hardest_sixteenth_is_kept_however_easy():
    """20 valid pixels: 2 are kept; with the 13 ignored ones counted they would be 3."""
    probabilities = [0.98] * 8 + [0.8, 0.85, 0.9] + [0.99] * 9 + [0.75] * 13
    value, gradient = value_and_gradient([0] * 20 + [255] * 13, logits_of(probabilities))
    assert value == pytest.approx(-(math.log(0.8) + math.log(0.85)) / 2, rel=1e-5)
    assert np.flatnonzero(np.abs(gradient).max(axis=-1)).tolist() == [8, 9]


def test_pixels_as_hard_as_the_last_kept_one_are_kept_too():
    _, gradient = value_and_gradient([0] * 20, logits_of([0.95] * 17 + [0.8, 0.9, 0.9]))
    assert np.flatnonzero(np.abs(gradient).max(axis=-1)).tolist() == [17, 18, 19]


def test_weights_and_smoothing_change_the_loss_and_not_the_choice():
    """Weighted, the second pixel would be the harder."""
    loss = Ohem(class_weights=[1, 9], label_smoothing=0.2)
    value, _ = value_and_gradient([0, 1], logits_of([0.8, 0.1]), loss)
    assert value == pytest.approx(-0.8 * math.log(0.8) - 0.1 * math.log(0.8 * 0.2), rel=1e-5)


def test_a_nan_among_easy_pixels_shows_in_the_loss():
    logits = logits_of([0.99] * 40)
    logits[0, 0, 7] = np.nan
    assert math.isnan(value_and_gradient([0] * 40, logits)[0])
