"""Convolutions that do on a processor what its libraries do not: Winograd's for 3x3, one product for far dilation."""

import keras
from keras import ops

from kseg.models import winograd

# Fewer channels than this on either side are not worth the transforms: at 64, a step of 240-pixel crops gains nothing.
WINOGRAD_CHANNELS = 128


@keras.saving.register_keras_serializable(package="kseg")
class Conv2D(keras.layers.Conv2D):
    """Keras's Conv2D that may take Winograd's way to the same result.

    It has Keras's name because Keras derives the places of weights in a file from the names of the classes.

    Args:
        winograd: whether a 3x3 convolution of stride 1, padding "same" and many channels is `winograd.convolution`,
            where it is computed in float32. For processors: a step of fcn on four crops of 240 pixels takes 0.6 of
            the time (2 cores with AVX2). On a GPU cuDNN chooses among such algorithms itself.
        *args, **kwargs: of Keras's.
    """

    def __init__(self, *args, winograd: bool = False, **kwargs):
        super().__init__(*args, **kwargs)
        self.winograd = winograd

    def convolution_op(self, inputs, kernel):
        """Inputs [N, H, W, C] -> [N, H', W', filters]."""
        if self.winograd and self._fits(inputs, kernel):
            kernel = ops.reshape(kernel, kernel.shape)  # a tensor: TensorFlow's custom gradients take no variables
            return winograd.convolution(inputs, kernel, self.dilation_rate[0])
        return super().convolution_op(inputs, kernel)

    def _fits(self, inputs, kernel) -> bool:
        shape = (self.kernel_size, self.strides, self.padding, len(set(self.dilation_rate)))
        many = min(kernel.shape[2:]) >= WINOGRAD_CHANNELS and kernel.shape[2] == inputs.shape[-1]
        return (
            many and shape == ((3, 3), (1, 1), "same", 1) and keras.backend.standardize_dtype(inputs.dtype) == "float32"
        )

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "winograd": self.winograd}


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
