"""The focal loss: cross-entropy that all but forgets the pixels that are right already."""

import keras
import tensorflow as tf

from kseg.losses.pixel import PixelLoss
from kseg.losses.reduction import global_mean


@keras.saving.register_keras_serializable("kseg")
class Focal(PixelLoss):
    """(1 - p)^2 times the softmax cross-entropy, the mean over the valid pixels of the global batch.

    p is the predicted probability of the pixel's label; the gradient is that of the product. Class weights take the
    place of the paper's alpha; smoothing changes the cross-entropy, not the factor.

    Labels, logits, result and replicas as for `CrossEntropy`.

    Source: Lin et al. 2017 (arXiv:1708.02002), gamma = 2, with a softmax for their sigmoid and the number of valid
    pixels for their number of objects.
    """

    NAME = "focal"

    def call(self, y_true, y_pred):
        """Labels [N, H, W], logits [N, H, W, C] -> the global mean / replicas, float32 []."""
        plain, losses, valid = self.per_pixel(y_true, y_pred)
        # 1 - p = -expm1(log p): exact where p is near 1, and finite with its gradient where p is 0.
        return global_mean(tf.square(tf.math.expm1(-plain)) * losses, valid)
