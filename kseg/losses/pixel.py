"""What the losses that look at one pixel at a time have in common: class weights and label smoothing."""

import math
from collections.abc import Sequence

import keras
import tensorflow as tf

from kseg.errors import UsageError
from kseg.labels import IGNORE


def as_labels(y_true: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Masks of class numbers or 255, of any dtype -> int32 class numbers (0 for 255), and bool, which are valid."""
    labels = tf.cast(y_true, tf.int32)
    valid = tf.not_equal(labels, IGNORE)
    return tf.where(valid, labels, 0), valid


class PixelLoss(keras.losses.Loss):
    """A mean over pixels of the (weighted, smoothed) cross-entropy; subclasses say over which, in `call`.

    Args:
        class_weights: one factor >= 0 a class, by which the loss of a pixel with this label is multiplied; None = 1.
        label_smoothing: 0 <= x < 1: the part of each label that is spread evenly over all classes, the label's own
            included (Szegedy et al. 2016, arXiv:1512.00567, section 7).

    Raises:
        UsageError: for values out of these ranges; in `call`, if the logits have another number of classes.
    """

    NAME: str  # of the loss, a key of kseg.registry.PIXEL_LOSSES

    def __init__(
        self,
        class_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        name: str | None = None,
    ):
        # reduction None: call() returns the reduced scalar, which Keras then leaves alone (its own reductions divide by
        # the number of replicas once more).
        super().__init__(name=name or self.NAME, reduction=None)
        if not 0 <= label_smoothing < 1:
            raise UsageError(f"--label_smoothing={label_smoothing}: allowed: 0 <= x < 1")
        if class_weights is not None:
            class_weights = tuple(float(weight) for weight in class_weights)
            if not all(math.isfinite(weight) and weight >= 0 for weight in class_weights) or not any(class_weights):
                listed = ",".join(f"{weight:g}" for weight in class_weights)
                raise UsageError(f"--class_weights={listed}: allowed: numbers >= 0, one a class, not all of them 0")
        self.class_weights = class_weights
        self.label_smoothing = float(label_smoothing)

    def per_pixel(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Masks [N, H, W], logits [N, H, W, C] -> three tensors [N, H, W].

        Returns:
            float32, -log of the predicted probability of the label; float32, the same smoothed and weighted; and bool,
            which pixels are valid. What stands in the others means nothing.
        """
        labels, valid = as_labels(y_true)
        logits = tf.cast(y_pred, tf.float32)
        plain = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        losses = plain
        if self.label_smoothing:
            # The mean over the classes of -log p, without a tensor of one-hot labels or of log-probabilities.
            even = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
            losses = (1 - self.label_smoothing) * plain + self.label_smoothing * even
        if self.class_weights is not None:
            classes = logits.shape[-1]
            if len(self.class_weights) != classes:  # tf.gather on a GPU reads 0 beyond the end
                raise UsageError(
                    f"--class_weights: {len(self.class_weights)} numbers, but the network has {classes} classes; "
                    "allowed: one number a class"
                )
            losses = losses * tf.gather(tf.constant(self.class_weights, tf.float32), labels)
        return plain, losses, valid

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"class_weights": self.class_weights, "label_smoothing": self.label_smoothing, "name": self.name}
