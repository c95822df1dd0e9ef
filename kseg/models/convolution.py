"""Convolutions that do on a processor what its libraries do not: other ways to the same result, and dilated ones."""

import types
from typing import NamedTuple

import keras
from keras import ops

from kseg.models import tap_products, winograd


class Way(NamedTuple):
    """A way to a convolution's result.

    Attributes:
        module: whose function `convolution` it is.
        sides: of the square kernels it is for.
        channels: the least, of input and of output, that it is worth.
    """

    module: types.ModuleType
    sides: tuple[int, ...]
    channels: int


# By dtype. In a step of 240-pixel crops Winograd's transforms gain nothing at 64 channels, products of taps at 128.
WAYS = {"float32": Way(winograd, (3,), 128), "bfloat16": Way(tap_products, (1, 3), 256)}


@keras.saving.register_keras_serializable(package="kseg")
class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D that may take a processor's way to the same result.

    It has Keras's name because Keras derives the places of weights in a file from the names of the classes.

    Args:
        on_processor: whether a convolution of stride 1 and many channels is `winograd.convolution` where it is 3x3 and
            computed in float32, and `tap_products.convolution` where it is 3x3 or 1x1 and computed in bfloat16. A step
            of fcn on four crops of 240 pixels takes 0.6 of the time in float32 (2 cores with AVX2), 0.8 in bfloat16
            (with AVX512_BF16). On a GPU cuDNN chooses among such algorithms itself.
        *args, **kwargs: of Keras's.
    """

    def __init__(self, *args, on_processor: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self.on_processor = on_processor

    def convolution_op(self, inputs, kernel):
        """Inputs [N, H, W, C] -> [N, H', W', filters]."""
        way = WAYS.get(keras.backend.standardize_dtype(inputs.dtype)) if self.on_processor else None
        if way is None or not self._can_go(way, kernel):
            return super().convolution_op(inputs, kernel)
        kernel = ops.reshape(kernel, kernel.shape)  # a tensor: TensorFlow's custom gradients take no variables
        return way.module.convolution(inputs, kernel, self.dilation_rate[0])

    def _can_go(self, way: Way, kernel) -> bool:
        square = len(set(self.kernel_size)) == len(set(self.dilation_rate)) == 1 and self.kernel_size[0] in way.sides
        plain = self.strides == (1, 1) and self.groups == 1 and self.data_format == "channels_last"
        plain = plain and (self.padding == "same" or self.kernel_size == (1, 1))
        return square and plain and min(kernel.shape[2:]) >= way.channels

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "on_processor": self.on_processor}

    @classmethod
    def from_config(cls, config):
        """The layer of a configuration, also of the time when it was only Winograd's."""
        if "winograd" in config:
            config = {**config, "on_processor": config["winograd"]}
            del config["winograd"]
        return super().from_config(config)


@keras.saving.register_keras_serializable(package="kseg")
class DilatedConv2D(keras.layers.Conv2D):
    """Conv2D of stride 1, "same" padding and one dilation rate, by one operation, for inference.

    The same values. Keras's own is cut into dilation^2 maps that are padded anew: of 512 channels at dilation 4 it took
    22.7 ms on four maps of 30 x 30, this 16.6 (bfloat16, 2 cores with AVX512_BF16).
    """

    def convolution_op(self, inputs, kernel):
        """Inputs [N, H, W, C] -> [N, H, W, filters]."""
        return tap_products.forward(inputs, ops.convert_to_tensor(kernel), self.dilation_rate[0])


@keras.saving.register_keras_serializable(package="kseg")
class AtrousConv2D(keras.layers.Conv2D):
    """Conv2D of stride 1, "same" padding and one dilation rate: a matrix product for all taps, then shifts.

    The same weights and, but for rounding, values: each tap's product is rounded to the compute dtype, their sum is
    taken in float32. Keras hands dilated convolutions to tf.nn.convolution, which cuts the map into rate x rate maps,
    at DeepLab's rates mostly padding: a step of deeplab on four crops of 240 pixels took 9.3 s on 2 cores (bfloat16)
    and takes 2.6 s with this. Not measured on a GPU.
    """

    def convolution_op(self, inputs, kernel):
        """inputs [N, H, W, C] -> [N, H, W, filters], any H and W; takes the place of Keras's dilated convolution."""
        rows, columns, channels, filters = kernel.shape
        _, height, width, _ = ops.shape(inputs)
        taps = ops.reshape(ops.transpose(kernel, (2, 0, 1, 3)), (channels, rows * columns * filters))
        # Shifted after the product, where there are `filters` channels a tap.
        x = ops.split(ops.tensordot(inputs, taps, 1), rows, axis=-1)
        x = _sum_shifted(x, self.dilation_rate[0], height, axis=1)
        x = _sum_shifted(ops.split(x, columns, axis=-1), self.dilation_rate[0], width, axis=2)
        return ops.cast(x, self.compute_dtype)


def _sum_shifted(taps: list, rate: int, size, axis: int):
    """The float32 sum of maps [N, H, W, C], tap t of T moved by (T // 2 - t) * rate along an axis of that size."""
    reach = len(taps) // 2 * rate
    padding = [[0, 0]] * 4
    padding[axis] = [reach, reach]
    total = 0
    for index, tap in enumerate(taps):
        window = [slice(None)] * 4
        window[axis] = slice(index * rate, index * rate + size)
        total = total + ops.cast(ops.pad(tap, padding)[tuple(window)], "float32")
    return total
