"""What the networks ask of a backend's graph: gradients of their own; of TensorFlow's, shared parts and an order."""

import functools
from collections.abc import Callable

import keras
from keras import ops


def differentiable(value: Callable, gradient: Callable) -> Callable:
    """The function `value` of tensors (not of variables) with a gradient of its own.

    Args:
        value: of tensors to a tensor.
        gradient: of the gradient of that tensor, and the tensors, to the gradients of these.
    """

    @ops.custom_gradient
    def run(*tensors):
        def down(*given, upstream=None):  # Keras's PyTorch backend names it
            return gradient(given[0] if upstream is None else upstream, *tensors)

        return value(*tensors), down

    return run


@functools.cache
def shared(function):
    """The function, on TensorFlow as one graph for all layers of the same shapes: `kseg.kernels.traced_once`."""
    if keras.backend.backend() != "tensorflow":
        return function
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.traced_once(function)


def after(x, other):
    """x, for TensorFlow only once `other` is there: see `kseg.kernels.after`."""
    if keras.backend.backend() != "tensorflow":
        return x
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.after(x, other)
