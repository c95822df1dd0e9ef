"""One training step of a whole network, against the update worked out by hand and against recorded numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.cross_entropy import CrossEntropy
from kseg.models.convolution import WAYS
from kseg.models.segmenter import build_segmenter, is_head
from kseg.optimizers import build_optimizer

RATE, HEAD, DECAY = 0.01, 10.0, 0.001
# Loss before each of three steps on the batch below (float32, TensorFlow 2.16.2; 2.21 agrees to 1e-6).
GOLDEN_LOSSES = [1.38043869, 0.39616627, 0.17652544]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures 48 x 40 of a closed formula and masks of three classes with a column of void."""
    rows, columns = np.mgrid[0:48, 0:40]
    images = np.stack([(rows * 5 + columns * channel * 3 + 17 * n) % 256 for n in (0, 1) for channel in (1, 2, 3)])
    images = images.reshape(2, 3, 48, 40).transpose(0, 2, 3, 1).astype(np.uint8)
    masks = np.stack([(rows // 16 + n) % 3 for n in (0, 1)]).astype(np.uint8)
    masks[:, :, 0] = 255
    return images, masks


def network(**options) -> keras.Model:
    return build_segmenter(algorithm="fcn", backbone="resnet-18", num_classes=3, output_stride=8, seed=7, **options)


@pytest.fixture(scope="module")
def trained() -> tuple[list[float], list[np.ndarray]]:
    """`three_steps` by Keras's own convolutions in float32."""
    return three_steps(network())


def three_steps(model: keras.Model) -> tuple[list[float], list[np.ndarray]]:
    """The loss before each of three steps, and how far the first moved every trainable variable."""
    images, masks = batch()
    optimizer = build_optimizer(
        "sgd", learning_rate=RATE, momentum=0.9, weight_decay=DECAY, head_multiplier=HEAD, is_head=is_head
    )
    model.compile(optimizer=optimizer, loss=CrossEntropy())
    before = [np.array(variable) for variable in model.trainable_variables]
    losses = [float(np.ravel(model.train_on_batch(images, masks))[0])]
    moved = [np.array(variable) - old for variable, old in zip(model.trainable_variables, before, strict=True)]
    losses += [float(np.ravel(model.train_on_batch(images, masks))[0]) for _ in GOLDEN_LOSSES[1:]]
    return losses, moved


def test_a_step_moves_every_weight_as_worked_out_by_hand(trained):
    """w - rate * (gradient + decay * w), ten times the rate in the head, at the first step, where momentum is nil."""
    images, masks = batch()
    reference = network()
    with tf.GradientTape() as tape:
        logits = reference(images, training=True)
        valid = masks != 255
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(masks[valid].astype(np.int32), logits[valid])
        loss = tf.reduce_sum(losses) / valid.sum()
    gradients = tape.gradient(loss, [variable.value for variable in reference.trainable_variables])
    losses, moved = trained
    assert losses[0] == pytest.approx(float(loss), rel=1e-5)
    heads = 0
    for old, step, gradient in zip(reference.trainable_variables, moved, gradients, strict=True):
        rate = RATE * HEAD if old.path.startswith("head") else RATE
        heads += old.path.startswith("head")
        expected = -rate * (gradient + DECAY * old.value)
        np.testing.assert_allclose(step, expected, rtol=2e-3, atol=2e-6, err_msg=old.path)
    assert heads == 5  # two kernels, gamma, beta, bias


def test_three_steps_give_the_recorded_losses(trained):
    assert trained[0] == pytest.approx(GOLDEN_LOSSES, rel=1e-3)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_three_steps_by_the_ways_of_processors_give_them_too(precision, tolerance, monkeypatch):
    """Winograd's convolutions, and products of taps, whose three digits three steps of so large a rate make two."""
    module, taken = WAYS[precision].module, []
    real = module.convolution
    monkeypatch.setattr(module, "convolution", lambda *given: taken.append(given) or real(*given))
    losses, moved = three_steps(network(on_processor=True, precision=precision))
    assert losses == pytest.approx(GOLDEN_LOSSES, rel=tolerance)
    count = len(taken)
    assert count > 5
    _, expected = three_steps(network(precision=precision))
    assert len(taken) == count
    for ours, theirs in zip(moved, expected, strict=True):
        assert np.linalg.norm(ours - theirs) <= tolerance * np.linalg.norm(theirs)
