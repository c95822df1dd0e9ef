"""The soft Dice loss: the overlap of each class's predicted and labelled region."""

import keras
import tensorflow as tf

from kseg.losses.pixel import as_labels
from kseg.losses.reduction import as_logged, global_sum


@keras.saving.register_keras_serializable("kseg")
class Dice(keras.losses.Loss):
    """1 - the mean over the classes in the global batch's labels of 2 I / (P + Y), over its valid pixels.

    P is the sum of the class's predicted probabilities, Y the number of pixels labelled so, I the sum of the
    probabilities at these. Every class counts the same, however few its pixels. A class that no label shows is left
    out; a batch without one valid pixel gives 0 and no gradient.

    Labels, logits, result and replicas as for `CrossEntropy`: the sums are over all replicas.

    Source: Milletari et al. 2016 (arXiv:1606.04797), without their squares. Equivalent: segmentation_models_pytorch's
    DiceLoss("multiclass", ignore_index=255), but for its mean, which counts absent classes as 0.
    """

    def __init__(self, name: str = "dice"):
        super().__init__(name=name, reduction=None)  # as in PixelLoss

    def call(self, y_true, y_pred):
        """Labels [N, H, W], logits [N, H, W, C] -> the global value / replicas, float32 []."""
        labels, valid = as_labels(y_true)
        valid = valid[..., None]
        probabilities = tf.where(valid, tf.nn.softmax(tf.cast(y_pred, tf.float32)), 0.0)
        labelled = tf.where(valid, tf.one_hot(labels, y_pred.shape[-1]), 0.0)
        sums = tf.stack([_by_class(probabilities * labelled), _by_class(probabilities), _by_class(labelled)])
        both, predicted, true = tf.unstack(global_sum(sums))
        present = tf.cast(true > 0, tf.float32)
        missed = present * (1 - tf.math.divide_no_nan(2 * both, predicted + true))
        return as_logged(tf.math.divide_no_nan(tf.reduce_sum(missed), tf.reduce_sum(present)))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"name": self.name}


def _by_class(values: tf.Tensor) -> tf.Tensor:
    """Sums [N, H, W, C] -> [C], a row at a time: one float32 sum over 10^6 pixels in turn loses the fifth digit."""
    return tf.reduce_sum(tf.reduce_sum(values, axis=2), axis=[0, 1])
