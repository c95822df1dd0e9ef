"""What the networks and the optimizers take from TensorFlow itself where Keras offers no operation as good."""

import functools
from collections.abc import Callable

import tensorflow as tf


def replicas() -> int:
    """How many replicas share the batch of what is traced here; 1 outside of any."""
    context = tf.distribute.get_replica_context()
    return 1 if context is None else context.num_replicas_in_sync


def replica() -> tf.Tensor:
    """Which of the replicas this one is: int32 [], 0 to replicas() - 1, in the order of their parts of the batch."""
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def fused_batch_norm(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    moving: tuple[tf.Tensor, tf.Tensor],
    *,
    momentum: float,
    epsilon: float,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalises a batch by its own statistics, and gives those of the training, moved towards them.

    All by one operation: to move them by others is a dozen more to trace a layer, and a network has some fifty.

    Args:
        x: [N, H, W, C] in float32, bfloat16 or float16; the arithmetic is in float32.
        gamma, beta: float32 [C].
        moving: mean and variance so far, float32 [C] each; the variance divides by the number of values, as Keras's.
        momentum: 0 to 1, what is kept of them.
        epsilon: what is added to the variance.

    Returns:
        [N, H, W, C] in x's dtype, and the moved mean and variance, float32 [C], which have no gradient.
    """
    gamma, beta, mean, variance = (tf.cast(each, tf.float32) for each in (gamma, beta, *moving))
    count = _values_a_channel(x)
    # The operation's variance is the unbiased one, the sum / (number - 1). cuDNN's of one value is NaN:
    # https://github.com/tensorflow/tensorflow/issues/34062
    if isinstance(count, int):
        biased, one_value = tf.constant(max(count - 1, 1) / max(count, 1)), count == 1
    else:
        biased, one_value = tf.maximum(count - 1, 1) / count, tf.equal(count, 1)
    # Without a momentum the operation is documented to take no statistics.
    earlier = (mean, variance / biased) if momentum else (tf.zeros([0]),) * 2
    outputs, moved_mean, moved_variance = _batch_norm_operation(
        x, gamma, beta, earlier, momentum=momentum, epsilon=epsilon
    )
    moved_variance *= biased
    if one_value is not False:
        moved_variance = tf.where(one_value, variance * momentum, moved_variance)
    return outputs, moved_mean, moved_variance


def _batch_norm_operation(x, gamma, beta, earlier, *, momentum: float, epsilon: float):
    """TensorFlow's own operation, in the version that serves best.

    `earlier` is mean and variance so far, or twice nothing, [0]; what it returns is `fused_batch_norm`'s, but both
    variances divide by the number of values - 1.

    The third's gradient asks for zeros of all that it puts out besides the first: 360 of 3,100 operations of a step of
    fcn on resnet-50, and 0.14 of 6 s of a start. The first's does without; it takes float32 alone, and on a GPU not
    cuDNN's fastest way.
    """
    mean, variance = earlier
    options = {"mean": mean, "variance": variance, "epsilon": epsilon, "exponential_avg_factor": 1.0 - momentum}
    if x.dtype != tf.float32 or tf.config.get_visible_devices("GPU"):
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, is_training=True, **options)
    return tf.raw_ops.FusedBatchNorm(x=x, scale=gamma, offset=beta, is_training=True, **options)[:3]


def _values_a_channel(x: tf.Tensor) -> int | tf.Tensor:
    """Of [N, H, W, C] the product of all but C; float32 [] where it is not known while the graph is built."""
    known = x.shape[:-1].num_elements()
    return tf.cast(tf.size(x) // tf.shape(x)[-1], tf.float32) if known is None else known


def traced_once(function: Callable) -> Callable:
    """The same function, which becomes a graph for each set of shapes that it meets, and then a call of that graph.

    Tracing an operation takes some 0.9 ms, and a network repeats its layers: the step of fcn on resnet-50 had 3,100
    operations so, and 6,100 otherwise. The calls are marked _noinline: else TensorFlow would put the graph in the place
    of each before it runs any, and optimise the same graph again for every call (0.5 s of a start). Not for graphs that
    are exported, whose converters need not know function calls: kseg.models.folding takes layers without any.

    Args:
        function: of tensors and of hashable constants, without variables and side effects.
    """

    @functools.lru_cache(256)
    def graph(_: tuple) -> Callable:
        # One each, since one function traced for an unknown size takes known ones too and forgets them.
        return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})

    def run(*arguments):
        described = ((each.dtype, *each.shape) if tf.is_tensor(each) else each for each in arguments)
        return graph(tuple(described))(*arguments)

    return run


def dilated_convolution(x: tf.Tensor, kernel: tf.Tensor, dilation: int) -> tf.Tensor:
    """Of stride 1 and padding "same", by one operation, where Keras's `ops.conv` cuts the map into dilation^2 parts.

    Args:
        x: [N, H, W, C].
        kernel: [h, w, C, F] of the same dtype.
        dilation: of both axes, >= 1.

    Returns:
        [N, H, W, F]. Where dilated, processors have its gradients only with oneDNN.
    """
    return tf.nn.conv2d(x, kernel, 1, "SAME", dilations=dilation)


def after(x: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """`x`, to be had only once `other` is there: what is worked out from it is neither begun earlier nor kept since."""
    with tf.control_dependencies([other]):
        return tf.identity(x)


def apply_momentum(
    variable: tf.Variable,
    slot: tf.Variable,
    gradient: tf.Tensor,
    rate: tf.Tensor,
    momentum: tf.Tensor,
    *,
    nesterov: bool,
) -> None:
    """slot = momentum x slot - rate x gradient, and variable += slot or, nesterov, momentum x slot - rate x gradient.

    Args:
        variable, slot: of one shape and dtype; changed in place.
        gradient: of the same shape and dtype.
        rate, momentum: [], of the same dtype; the momentum 0 to 1.
        nesterov: whether the step is taken from where the momentum leads.
    """
    tf.raw_ops.ResourceApplyKerasMomentum(
        var=variable.handle,
        accum=slot.handle,
        lr=rate,
        grad=gradient,
        momentum=momentum,
        use_nesterov=nesterov,
    )


def subtract(variable: tf.Variable, factor: tf.Tensor, other: tf.Variable) -> None:
    """variable -= factor x other, by one operation that needs no memory of its own; all of one dtype, factor []."""
    tf.raw_ops.ResourceApplyGradientDescent(var=variable.handle, alpha=factor, delta=other)
