import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.dice import Dice

PROBABILITIES = np.array([[[[0.9, 0.08, 0.02], [0.4, 0.4, 0.2]], [[0.3, 0.52, 0.18], [0.1, 0.2, 0.7]]]], np.float64)
LABELS = np.array([[[0, 0], [1, 255]]], np.uint8)
# Over the three valid pixels, class 0: I = 1.3, P = 1.6, Y = 2; class 1: I = 0.52, P = 1, Y = 1; class 2 is absent.
WANT = 1 - (2.6 / 3.6 + 1.04 / 2) / 2


def dice(labels: np.ndarray, logits: np.ndarray) -> float:
    """The definition in float64, pixel by pixel: labels [P], logits [P, C]."""
    exponentials = np.exp(logits)
    probabilities = exponentials / exponentials.sum(axis=-1, keepdims=True)
    kept = labels != 255
    scores = []
    for number in range(logits.shape[-1]):
        labelled = labels[kept] == number
        if labelled.any():
            predicted = probabilities[kept][:, number]
            scores.append(2 * predicted[labelled].sum() / (predicted.sum() + labelled.sum()))
    return 1 - float(np.mean(scores))


def test_it_is_one_less_the_mean_overlap_worked_by_hand():
    assert float(Dice()(LABELS, np.log(PROBABILITIES))) == pytest.approx(WANT, rel=1e-6)
    assert dice(LABELS.ravel(), np.log(PROBABILITIES).reshape(-1, 3)) == pytest.approx(WANT, rel=1e-12)


def test_the_gradient_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 3, 255], 12).astype(np.uint8)
    logits = rng.normal(0, 2, (12, 4))
    want = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        step = np.zeros_like(logits)
        step[place] = 1e-5
        want[place] = (dice(labels, logits + step) - dice(labels, logits - step)) / 2e-5
    variable = tf.Variable(logits.reshape(1, 3, 4, 4), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = Dice()(labels.reshape(1, 3, 4), variable)
    np.testing.assert_allclose(np.reshape(tape.gradient(loss, variable), (12, 4)), want, atol=1e-6)


def test_a_perfect_prediction_costs_nothing_and_an_opposite_one_everything():
    right = np.eye(2, dtype=np.float32)[np.array([[[0, 1, 1, 0]]])] * 200 - 100
    labels = np.array([[[0, 1, 1, 0]]], np.uint8)
    assert float(Dice()(labels, right)) == pytest.approx(0, abs=1e-6)
    assert float(Dice()(labels, -right)) == pytest.approx(1, abs=1e-6)


def test_a_class_counts_the_same_however_few_its_pixels():
    """99 pixels of class 0 found, the one of class 1 missed: half of the loss is left."""
    labels = np.zeros((1, 10, 10), np.uint8)
    labels[0, 0, 0] = 1
    logits = np.broadcast_to(np.array([100.0, -100.0], np.float32), (1, 10, 10, 2))
    assert float(Dice()(labels, logits)) == pytest.approx(1 - (2 * 99 / 199) / 2, rel=1e-5)
