"""3x3 convolution with fewer multiplications, for inference on processors: Winograd's (Lavin & Gray 2015, 1509.09308).

A tile of 3x3 outputs takes 5x5 inputs. Directly that is 81 products a pair of channels; with both tile and kernel
transformed to 5x5 values (F(3x3, 3x3), by Toom and Cook), 25 products of the two, then transformed back. A processor
that spends its time in matrix products, at their peak speed, gains by that only: convolutions of resnet-50 at stride 8,
30x30 and 60x60 maps, take 0.28 to 0.5 of the time on 2 cores (AVX2). Tiles of 2x2 gain less (0.4 to 0.85), 4x4
no more on small maps and need weights of 4 times the kernel's size instead of 2.8 times.
"""

import keras
import numpy as np
from keras import ops

TILE = 3  # outputs a side
SPAN = TILE + 2  # inputs a side
POINTS = (0.0, 1.0, -1.0, 0.5)  # and infinity: where the polynomials are evaluated; small ones round least
# Fewer channels gain nothing: the transforms cost as much as the products save.
LEAST_CHANNELS = 64


def _transforms() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of an output tile [TILE, SPAN], a kernel [SPAN, 3] and an input tile [SPAN, SPAN], along one axis, float64.

    output @ ((kernel @ g) * (tile @ x)) is the correlation of x [SPAN] with g [3].
    """
    points, finite = np.array(POINTS), len(POINTS)
    output, kernel, tile = np.zeros((TILE, SPAN)), np.zeros((SPAN, 3)), np.zeros((SPAN, SPAN))
    for index, point in enumerate(points):
        others = np.delete(points, index)
        output[:, index] = point ** np.arange(TILE)
        kernel[index] = point ** np.arange(3) / np.prod(point - others)
        tile[index, :finite] = np.poly(others)[::-1]
    output[-1, -1] = kernel[-1, -1] = 1
    tile[-1] = np.poly(points)[::-1]
    return output, kernel, tile


def winograd_weights(kernel: np.ndarray, bias: np.ndarray | float = 0) -> list[np.ndarray]:
    """Those of a `WinogradConv2D`, float64, for a Conv2D's kernel [3, 3, C, K] and bias [K], 0 if it has none."""
    _, transform, _ = _transforms()
    both = np.kron(transform, transform)
    flat = kernel.astype(np.float64).reshape(9, *kernel.shape[2:])
    return [np.tensordot(both, flat, 1), np.broadcast_to(bias, kernel.shape[3:])]


@keras.saving.register_keras_serializable(package="kseg")
class WinogradConv2D(keras.layers.Layer):
    """Conv2D of a 3x3 kernel with bias, stride 1, "same" padding and one dilation rate: [N, H, W, C] -> [N, H, W, K].

    Values differ from the direct ones by rounding, some 5e-6 of their standard deviation in float32. Its kernel is
    that of `winograd_weights`. Works in about 9 times the memory of its input.

    Args:
        filters: K.
        dilation_rate: of both axes, >= 1.
    """

    def __init__(self, filters: int, dilation_rate: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.dilation_rate = filters, dilation_rate

    def build(self, input_shape):
        """Makes kernel [25, C, K] and bias [K]."""
        self.kernel = self.add_weight((SPAN * SPAN, input_shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        """[N, H, W, C] -> [N, H, W, K], any H and W."""
        output, _, tile = (ops.convert_to_tensor(np.kron(each, each), dtype=x.dtype) for each in _transforms())
        batch, height, width, channels = ops.shape(x)
        inputs, outputs = _places((batch, height, width), self.dilation_rate)

        # Behind the last pixel a row of zeros, which stands for every pixel outside the image.
        x = ops.concatenate([ops.reshape(x, (-1, channels)), ops.zeros((1, channels), x.dtype)], axis=0)
        x = ops.reshape(ops.take(x, inputs, axis=0), (SPAN * SPAN, -1))
        x = ops.reshape(ops.matmul(tile, x), (SPAN * SPAN, -1, channels))
        x = ops.matmul(x, self.kernel)
        x = ops.matmul(output, ops.reshape(x, (SPAN * SPAN, -1)))
        return ops.take(ops.reshape(x, (-1, self.filters)), outputs, axis=0) + self.bias

    def compute_output_shape(self, input_shape):
        """The input's but for the channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "dilation_rate": self.dilation_rate}


def _places(shape, rate: int):
    """Where the pixels of all tiles lie, and where in the tiles' outputs those of the images do.

    Args:
        shape: N, H, W of the images.
        rate: of dilation: a tile's pixels are that far apart, and rate x rate tiles interlace.

    Returns:
        int32 [SPAN, SPAN, N, tiles down, tiles across], rows of images [N * H * W]; N * H * W for pixels outside.
        int32 [N, H, W], rows of outputs [TILE, TILE, N, tiles down, tiles across].
    """
    batch, height, width = shape
    y, offset_y, tile_y, down = _axis(height, rate)
    x, offset_x, tile_x, across = _axis(width, rate)
    image = ops.arange(batch, dtype="int32")[:, None, None]

    y, x = y[:, None, None, :, None], x[:, None, None, :]
    outside = (y < 0) | (y >= height) | (x < 0) | (x >= width)
    inputs = ops.where(outside, batch * height * width, (image * height + y) * width + x)

    offset = offset_y[:, None] * TILE + offset_x
    outputs = ((offset * batch + image) * down + tile_y[:, None]) * across + tile_x
    return inputs, outputs


def _axis(size, rate: int):
    """Along one axis: pixels of each tile [SPAN, tiles], and of each pixel its place in its tile and its tile [size].

    Tile (t, phase) gives the pixels (3 t + 0 … 2) * rate + phase and takes one `rate` more on either side.
    """
    count = (size + TILE * rate - 1) // (TILE * rate)
    tiles = ops.arange(count * rate, dtype="int32")
    first = tiles // rate * TILE * rate + tiles % rate - rate
    pixels = ops.arange(SPAN, dtype="int32")[:, None] * rate + first
    steps, phase = ops.arange(size, dtype="int32") // rate, ops.arange(size, dtype="int32") % rate
    return pixels, steps % TILE, steps // TILE * rate + phase, count * rate
