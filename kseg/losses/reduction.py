"""Sums over the global batch, however many replicas it is split over: the arithmetic that all losses share.

Keras's optimizers all-reduce gradients by sum, so each replica's result must have the gradient that the loss of the
GLOBAL batch has with respect to that replica's own logits. (A mean over each replica's own valid pixels, as
SparseCategoricalCrossentropy(ignore_class=255) takes, would weight a replica with few of them as much as one with
many.) Keras's trainer multiplies each replica's value by the replicas and then averages it weighted by each one's
images, so the value must be the global one / replicas: then the logged loss is that of the global batch, also where
the last batch leaves one replica with fewer images.

Every replica must call these in the same order and outside of tf.cond and tf.while_loop: TensorFlow pairs up the
replicas' n-th collectives, and refuses them inside of control flow.
"""

import tensorflow as tf


def _replicas() -> tf.distribute.ReplicaContext | None:
    """The replicas this one shares a batch with; None where there is but one.

    The context itself is None while Keras builds the model symbolically, outside of any replica.
    """
    context = tf.distribute.get_replica_context()
    return None if context is None or context.num_replicas_in_sync == 1 else context


def global_sum(local: tf.Tensor) -> tf.Tensor:
    """The sum of `local`, float32 of any shape, over all replicas; its gradient is that of `local`.

    So the gradient of f(global_sum(x)) with respect to x is what one device that held every replica's pixels would
    compute for this replica's.
    """
    context = _replicas()
    if context is None:
        return local
    total = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.stop_gradient(local))
    return local + tf.stop_gradient(total - local)


def global_mean(losses: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """The sum of the chosen pixels' losses / their number, both over all replicas; 0 where none is chosen.

    Args:
        losses: float32 [...].
        chosen: bool of the same shape.

    Returns:
        float32 [], as a loss should return it (`as_logged`).
    """
    sums = tf.stack([tf.reduce_sum(tf.where(chosen, losses, 0.0)), tf.reduce_sum(tf.cast(chosen, tf.float32))])
    total, count = tf.unstack(global_sum(sums))
    return as_logged(tf.math.divide_no_nan(total, count))


def gathered(local: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Every replica's `local`, one after the other along axis 0 in the order of the replicas, without a gradient.

    Args:
        local: of any shape; the first dimension may differ between replicas, the others may not.

    Returns:
        The concatenation, and int32 [], the place where this replica's part begins. The order is that of the batch
        before it was split.
    """
    local = tf.stop_gradient(local)
    context = _replicas()
    if context is None:
        return local, tf.constant(0)
    size = tf.shape(local)[:1]
    # Together, as each all_gather stops the replicas once. It pads unequal parts and takes the padding out again.
    everyone, sizes = context.all_gather([local, size], axis=0)
    return everyone, tf.reduce_sum(sizes[: context.replica_id_in_sync_group])


def as_logged(value: tf.Tensor) -> tf.Tensor:
    """What a loss returns for its global value, float32 []: the value / replicas, with the gradient of the value."""
    context = _replicas()
    if context is None:
        return value
    return value + tf.stop_gradient(value / context.num_replicas_in_sync - value)
