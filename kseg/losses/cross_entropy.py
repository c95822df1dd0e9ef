"""The usual training loss: softmax cross-entropy over the pixels that have a label."""

import keras

from kseg.losses.pixel import PixelLoss
from kseg.losses.reduction import global_mean


@keras.saving.register_keras_serializable("kseg")
class CrossEntropy(PixelLoss):
    """Softmax cross-entropy, the mean over the valid (not 255) pixels of the global batch.

    Called with labels [N, H, W] of class numbers or 255 (uint8; Keras hands them on as float32) and logits float32
    [N, H, W, C], it gives a float32 scalar. A batch without one valid pixel gives 0 and no gradient. Gradient and value
    under several replicas: see kseg.losses.reduction.

    With class weights the sum of the weighted losses is divided by the number of valid pixels, not by the sum of their
    weights (as torch.nn.CrossEntropyLoss(weight=...) does): a batch of rare classes counts for more than one of common
    ones, and doubling all weights doubles the loss.

    Equivalent for the gradients: GluonCV's SoftmaxCrossEntropyLoss(ignore_label=255), normalization "valid" (which
    counts per device; its printed loss, not its gradient, also averages over the ignored pixels).
    """

    NAME = "cross_entropy"

    def call(self, y_true, y_pred):
        """Labels [N, H, W], logits [N, H, W, C] -> the global mean / replicas, float32 []."""
        _, losses, valid = self.per_pixel(y_true, y_pred)
        return global_mean(losses, valid)
