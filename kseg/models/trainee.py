"""A segmenter as it is trained: a second loss on the auxiliary head, which evaluation leaves out."""

import keras

from kseg.models.segmenter import AUX_LOGITS, LOGITS, without_aux

IMAGES = "images"  # kseg.data.pipeline's


class Trainee(keras.Model):
    """Wraps a network for compile and fit; holds no weights of its own.

    In training the loss is the compiled loss of the logits plus `aux_loss_weight` times that of the auxiliary logits
    (GluonCV's MixSoftmaxCrossEntropyLoss). Metrics, evaluation and prediction see the logits alone, and evaluation does
    not compute the auxiliary head, so the validation loss is that of the logits.

    Args:
        network: of `build_segmenter`, with the auxiliary head if `aux_loss_weight` > 0; the one to save.
        aux_loss_weight: >= 0.
    """

    def __init__(self, network: keras.Model, *, aux_loss_weight: float = 0.0):
        super().__init__(name=network.name)
        self.network = network
        self.segmenter = without_aux(network)
        self.aux_loss_weight = aux_loss_weight

    def call(self, images, training=False):
        """Images uint8 [N, H, W, 3] -> logits float32 [N, H, W, C]; in training with an auxiliary head a dict.

        Several devices evaluate a dict, with the images as IMAGES beside what Keras weights the loss by.
        """
        images = images[IMAGES] if isinstance(images, dict) else images
        return self.network(images, training=True) if training else self.segmenter(images, training=False)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss of the logits, and in training of the auxiliary logits; float32 []."""
        if not isinstance(y_pred, dict):
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        loss = super().compute_loss(x, y, y_pred[LOGITS], sample_weight, training)
        return loss + self.aux_loss_weight * self.loss(y, y_pred[AUX_LOGITS])

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the metrics with the logits alone."""
        logits = y_pred[LOGITS] if isinstance(y_pred, dict) else y_pred
        return super().compute_metrics(x, y, logits, sample_weight)

    def make_test_function(self, force=False):
        """Without XLA, which would compile validation once for every picture size."""
        compiled, self.jit_compile = self.jit_compile, False
        try:
            return super().make_test_function(force)
        finally:
            self.jit_compile = compiled
