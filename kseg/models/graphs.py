"""What the networks ask of a graph: shared parts and an order. Nothing on backends other than TensorFlow."""

import functools

import keras


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
