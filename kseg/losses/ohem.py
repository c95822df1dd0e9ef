"""Online hard example mining: cross-entropy over the pixels that are not easy."""

import math

import keras
import tensorflow as tf

from kseg.losses.pixel import PixelLoss
from kseg.losses.reduction import gathered, global_mean

EASY = 0.7  # predicted probability of its label above which a pixel is easy
LEAST = 16  # one in so many valid pixels is kept however easy


@keras.saving.register_keras_serializable("kseg")
class Ohem(PixelLoss):
    """Softmax cross-entropy, the mean over the hard pixels of the global batch.

    Hard are the valid pixels whose label is predicted with a probability of at most 0.7, and in any case the 1/16 of
    the global batch's valid pixels, rounded up, that have the lowest. Pixels as hard as the last of these are kept with
    it, so that the choice depends on no order. Class weights and smoothing change a kept pixel's loss, not the choice.

    Labels, logits, result and replicas as for `CrossEntropy`.

    Source: Shrivastava et al. 2016 (arXiv:1604.03540); by pixels Wu et al. 2016 (arXiv:1605.06885). Equivalent but for
    rounding: OhemCELoss(thresh=0.7) of github.com/CoinCheung/BiSeNet. mmsegmentation's OHEMPixelSampler(thresh=0.7)
    keeps at least 100000 pixels an image instead of a share.
    """

    NAME = "ohem"

    def call(self, y_true, y_pred):
        """Labels [N, H, W], logits [N, H, W, C] -> the global mean / replicas, float32 []."""
        plain, losses, valid = self.per_pixel(y_true, y_pred)
        # Not plain >= cut: a NaN is neither, and must show in the loss.
        easy = plain < _cut(plain, valid)
        return global_mean(losses, tf.logical_and(valid, tf.logical_not(easy)))


def _cut(plain: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """The -log probability, float32 [], from which on a pixel is hard, over all replicas."""
    # NaN would break the sort's order, in which TensorFlow's may run out of its memory.
    keys = tf.where(tf.math.is_nan(plain), math.inf, plain)
    everyone, _ = gathered(tf.reshape(tf.where(valid, keys, -math.inf), [-1]))
    count = tf.reduce_sum(tf.cast(everyone > -math.inf, tf.int32))
    # As many as would be needed if all were valid: XLA must know the number beforehand.
    hardest = tf.math.top_k(everyone, (tf.size(everyone) + LEAST - 1) // LEAST).values
    last = tf.maximum((count + LEAST - 1) // LEAST - 1, 0)
    # Not hardest[last]: XLA takes an index in brackets for a constant and compiles anew for each batch (21 s).
    return tf.minimum(tf.gather(hardest, last), -math.log(EASY))
