"""Batch normalisation by one fused operation where there is one."""

import keras


@keras.saving.register_keras_serializable(package="kseg")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's, whose training step on TensorFlow is one operation instead of some twenty, the gradient included.

    The same values, statistics and gradients but for rounding, in float32 under mixed precision too. With
    `synchronized` on several replicas it is Keras's own. It has Keras's name because Keras derives the places of
    weights in a file from the names of the classes.
    """

    def call(self, inputs, training=None, mask=None):
        """[N, H, W, C] -> the same shape in the compute dtype; in training also moves the statistics."""
        fused = self._fused() if training and self.trainable and mask is None and len(inputs.shape) == 4 else None
        if fused is None:
            return super().call(inputs, training=training, mask=mask)
        statistics = self.moving_mean, self.moving_variance
        outputs, *moved = fused(inputs, self.gamma, self.beta, statistics, momentum=self.momentum, epsilon=self.epsilon)
        for moving, value in zip(statistics, moved, strict=True):
            moving.assign(value)
        return keras.ops.cast(outputs, self.compute_dtype)

    def _fused(self):
        """The function of `kseg.kernels`, None where it cannot stand in for Keras's."""
        if keras.backend.backend() != "tensorflow" or self.axis not in (-1, 3) or not (self.scale and self.center):
            return None
        from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

        return None if self.synchronized and kernels.replicas() > 1 else kernels.fused_batch_norm
