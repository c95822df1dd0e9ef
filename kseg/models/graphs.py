"""What the networks ask of a graph: shared parts and an order. Nothing on backends other than TensorFlow."""

import functools

import keras


@functools.cache
def shared(function):
    """The function, on TensorFlow as one that layers of the same shapes share: 14 of resnet-50 need 4 (stride 8)."""
    if keras.backend.backend() != "tensorflow":
        return function
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.traced_once(function)


def after(x, other):
    """x, for TensorFlow only once `other` is there.

    Nothing else keeps it from transforming all kernels of a network at the start of a step: 0.6 GB for fcn.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.after(x, other)
