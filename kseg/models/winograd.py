"""3x3 convolutions by Winograd's minimal filtering, for processors: a quarter of the products, in large ones.

F(t x t, 3x3) of Lavin and Gray 2015 (arXiv:1509.09308): a tile of t x t output pixels needs t + 2 input pixels a side,
and each of the (t + 2)^2 points of the transformed tiles is one product [tiles, C] x [C, F]: for t = 4 that is 2.25
multiplications an output pixel and pair of channels instead of 9. A convolution of dilation d is d x d plain ones, each
on every d-th row and column.

In float32 it rounds more than the direct sum: at C = 512 by 3e-6 to 5.4e-6 of the outputs' standard deviation
against 2e-7.
keras.ops only. Tensors are [N, H, W, C]; H and W may be unknown when the graph is built.
"""

import dataclasses

import keras
import numpy as np
from keras import ops

from kseg.models import graphs

TAPS = 3
PART = 2**18  # pairs of channels whose kernels are transformed at once: 38 MB, where all of fcn's head are 151 MB


@dataclasses.dataclass(frozen=True, eq=False)
class Transforms:
    """The transforms of one tile size, along both axes at once, float32.

    Attributes:
        tile: t, output pixels a side.
        points: t + 2, input pixels and points a side.
        input: [points^2, points^2], of the input pixels of a tile.
        kernel: [points^2, 9], of a kernel.
        output: [t^2, points^2], of the products of both, to output pixels.
    """

    tile: int
    points: int
    input: np.ndarray
    kernel: np.ndarray
    output: np.ndarray


def _transforms(tile: int, points: tuple[float, ...]) -> Transforms:
    """Toom and Cook's: polynomials are evaluated at `points`, tile + 1 of them, and infinity, and multiplied there."""
    points, finite = np.array(points, np.float64), len(points)
    output, kernel, pixels = np.zeros((tile, finite + 1)), np.zeros((finite + 1, TAPS)), np.zeros((finite + 1,) * 2)
    for index, point in enumerate(points):
        others = np.delete(points, index)
        output[:, index] = point ** np.arange(tile)
        kernel[index] = point ** np.arange(TAPS) / np.prod(point - others)
        pixels[index, :finite] = np.poly(others)[::-1]
    output[-1, -1] = kernel[-1, -1] = 1
    pixels[-1] = np.poly(points)[::-1]
    return Transforms(tile, finite + 1, *(np.kron(each, each).astype(np.float32) for each in (pixels, kernel, output)))


# Where kernels change with every step, and their transforms (4 times their size) live for one product.
TRAINING = _transforms(4, (0, 1, -1, 2, -2))
# Where transformed kernels are stored: 2.8 times the size; no slower than tiles of 4 on maps of 30 x 30 pixels.
SERVING = _transforms(3, (0, 1, -1, 0.5))


def convolution(x, kernel, dilation: int = 1):
    """The convolution of stride 1 and padding "same", with a gradient of the same kind.

    Args:
        x: float32 [N, H, W, C].
        kernel: float32 [3, 3, C, F], a tensor (not a variable).
        dilation: d >= 1.

    Returns:
        float32 [N, H, W, F].
    """

    def gradient(upstream, x, kernel):
        mirrored = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
        down = graphs.shared(_convolution)(upstream, mirrored, dilation)
        # Transformed anew, since the tiles kept from the forward pass would be 2.6 times the input; and one after the
        # other, since both at once need their memory together: 0.3 GB for the head of fcn.
        x = graphs.after(x, down)
        return down, graphs.shared(_kernel_gradient)(x, upstream, dilation, tuple(kernel.shape))

    return graphs.differentiable(lambda x, kernel: graphs.shared(_convolution)(x, kernel, dilation), gradient)(
        x, kernel
    )


def _convolution(x, kernel, dilation: int):
    """`convolution` without a gradient of its own."""
    channels, filters = kernel.shape[2:]
    return (_by_channels if channels > filters else _by_filters)(x, kernel, dilation)


# In both, a part waits for the one before: nothing else keeps TensorFlow from transforming all kernels of a network at
# the start of a step, 0.6 GB for fcn. The same shapes share a graph: 14 such layers of resnet-50 need 4 (stride 8).
def _by_channels(x, kernel, dilation: int):
    """For more channels than filters: what takes most memory, transformed tiles and kernels, is there in parts."""
    total = None
    for part in _parts(kernel.shape, axis=2):
        ready = x if total is None else total
        tiles = transformed(graphs.after(x[..., part], ready), TRAINING, dilation)
        products = ops.matmul(tiles, _transformed_kernel(graphs.after(kernel[:, :, part], tiles)))
        total = products if total is None else total + products
    return assembled(total, ops.shape(x), TRAINING, dilation)


def _by_filters(x, kernel, dilation: int):
    """For others: the tiles are there whole, their products and the transformed kernels in parts."""
    tiles, parts = transformed(x, TRAINING, dilation), []
    for part in _parts(kernel.shape, axis=3):
        products = ops.matmul(tiles, _transformed_kernel(graphs.after(kernel[..., part], parts[-1] if parts else x)))
        parts.append(assembled(products, ops.shape(x), TRAINING, dilation))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _parts(shape, axis: int) -> list[slice]:
    """A kernel's [3, 3, C, F] axis in parts, so that of each the transformed kernel has at most 36 x PART values."""
    count = -(-shape[2] * shape[3] // PART)
    size = -(-shape[axis] // count)
    return [slice(start, min(start + size, shape[axis])) for start in range(0, shape[axis], size)]


def _tiles(size, tile: int, dilation: int):
    """How many tiles cover `size` pixels, in each of the `dilation` interleaved rows."""
    return (size + tile * dilation - 1) // (tile * dilation)


def _blocks(x, rows, columns, tile: int, dilation: int):
    """[N, t d R, t d S, C] -> [t, t, N, R, d, S, d C]: the pixels of the tiles by their place in the tile."""
    x = ops.reshape(x, (ops.shape(x)[0], rows, tile, dilation, columns, tile, dilation * x.shape[-1]))
    return ops.transpose(x, (2, 5, 0, 1, 3, 4, 6))


def transformed(x, by: Transforms, dilation: int):
    """Images [N, H, W, C] -> transformed input tiles [points^2, N R d S d, C], R x S tiles in d x d interlaced maps."""
    _, height, width, channels = ops.shape(x)
    rows, columns = _tiles(height, by.tile, dilation), _tiles(width, by.tile, dilation)
    # One tile more than there are: the input pixels of a tile reach 2 into the next. One pixel (d of them) before.
    step = by.tile * dilation
    after = [(count + 1) * step - size - dilation for count, size in ((rows, height), (columns, width))]
    x = ops.pad(x, [[0, 0], [dilation, after[0]], [dilation, after[1]], [0, 0]])
    x = _blocks(x, rows + 1, columns + 1, by.tile, dilation)
    reach = by.points - by.tile
    x = ops.concatenate([x[:, :, :, :-1], x[:reach, :, :, 1:]], axis=0)
    x = ops.concatenate([x[:, :, :, :, :, :-1], x[:, :reach, :, :, :, 1:]], axis=1)
    x = ops.matmul(by.input, ops.reshape(x, (by.points**2, -1)))
    return ops.reshape(x, (by.points**2, -1, channels))


def assembled(products, shape, by: Transforms, dilation: int):
    """Products [points^2, N R d S d, F] -> images [N, H, W, F]; `shape` begins with N, H and W."""
    batch, height, width, *_ = shape
    rows, columns, filters = _tiles(height, by.tile, dilation), _tiles(width, by.tile, dilation), products.shape[-1]
    x = ops.matmul(by.output, ops.reshape(products, (by.points**2, -1)))
    x = ops.reshape(x, (by.tile, by.tile, batch, rows, dilation, columns, dilation * filters))
    x = ops.transpose(x, (2, 3, 0, 4, 5, 1, 6))
    step = by.tile * dilation
    return ops.reshape(x, (batch, rows * step, columns * step, filters))[:, :height, :width]


def _transformed_kernel(kernel):
    """[3, 3, C, F] -> [36, C, F]."""
    channels, filters = kernel.shape[2:]
    x = ops.matmul(TRAINING.kernel, ops.reshape(kernel, (TAPS**2, -1)))
    return ops.reshape(x, (TRAINING.points**2, channels, filters))


def _kernel_gradient(x, upstream, dilation: int, shape):
    """Input [N, H, W, C] and gradient of the output [N, H, W, F] -> gradient of the kernel, [3, 3, C, F]."""
    by, (_, height, width, _) = TRAINING, ops.shape(upstream)
    rows, columns = _tiles(height, by.tile, dilation), _tiles(width, by.tile, dilation)
    after = [count * by.tile * dilation - size for count, size in ((rows, height), (columns, width))]
    y = ops.pad(upstream, [[0, 0], [0, after[0]], [0, after[1]], [0, 0]])
    y = ops.matmul(by.output.T, ops.reshape(_blocks(y, rows, columns, by.tile, dilation), (by.tile**2, -1)))
    y = ops.reshape(y, (by.points**2, -1, shape[-1]))
    parts = []
    for part in _parts(shape, axis=2):
        tiles = transformed(graphs.after(x[..., part], parts[-1] if parts else y), by, dilation)
        products = ops.matmul(ops.transpose(tiles, (0, 2, 1)), y)
        taps = ops.matmul(by.kernel.T, ops.reshape(products, (by.points**2, -1)))
        parts.append(ops.reshape(taps, (TAPS, TAPS, *products.shape[1:])))
    return ops.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def served_weights(kernel: np.ndarray, bias: np.ndarray | float = 0) -> list[np.ndarray]:
    """Those of a `ServedConv2D`, float64, for a Conv2D's kernel [3, 3, C, F] and bias [F], 0 if it has none."""
    flat = kernel.astype(np.float64).reshape(TAPS**2, *kernel.shape[2:])
    return [np.tensordot(SERVING.kernel.astype(np.float64), flat, 1), np.broadcast_to(bias, kernel.shape[3:])]


@keras.saving.register_keras_serializable(package="kseg")
class ServedConv2D(keras.layers.Layer):
    """Conv2D of a 3x3 kernel with bias, stride 1, "same" padding and one dilation rate, whose kernel stays as it is.

    Its weights are those of `served_weights`: transformed once. Works in about 9 times the memory of its input.

    Args:
        filters: F.
        dilation_rate: of both axes, >= 1.
    """

    def __init__(self, filters: int, dilation_rate: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.dilation_rate = filters, dilation_rate

    def build(self, input_shape):
        """Makes kernel [25, C, F] and bias [F]."""
        self.kernel = self.add_weight((SERVING.points**2, input_shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight((self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        """[N, H, W, C] -> [N, H, W, F], any H and W."""
        products = ops.matmul(transformed(x, SERVING, self.dilation_rate), self.kernel)
        return assembled(products, ops.shape(x), SERVING, self.dilation_rate) + self.bias

    def compute_output_shape(self, input_shape):
        """The input's but for the channels."""
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "filters": self.filters, "dilation_rate": self.dilation_rate}
