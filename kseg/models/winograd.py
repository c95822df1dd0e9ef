"""3x3 convolutions by Winograd's minimal filtering, for processors: a quarter of the products, in large ones.

F(4x4, 3x3) of Lavin and Gray 2015 (arXiv:1509.09308): a tile of 4 x 4 output pixels needs 6 x 6 input pixels, and each
of the 36 points of the transformed tiles is one product [tiles, C] x [C, F], so 2.25 multiplications an output pixel
and pair of channels instead of 9. A convolution of dilation d is d x d plain ones, each on every d-th row and column.

In float32 it rounds more than the direct sum: at C = 512 by 3e-6 of the outputs' standard deviation against 2e-7.
keras.ops only. Tensors are [N, H, W, C]; H and W may be unknown when the graph is built.
"""

import keras
import numpy as np
from keras import ops

TILE, POINTS, TAPS = 4, 6, 3  # output pixels, input pixels and points, and taps along one axis
PART = 2**18  # pairs of channels whose kernels are transformed at once: 38 MB, where all of fcn's head are 151 MB

# The paper's matrices B^T, G and A^T: 1-D results are A^T [(G g) * (B^T d)] for taps g and input pixels d.
_INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
_KERNEL = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_OUTPUT = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
# For both axes at once: [36, 36], [36, 9] and [16, 36].
INPUT, KERNEL, OUTPUT = (np.kron(matrix, matrix).astype(np.float32) for matrix in (_INPUT, _KERNEL, _OUTPUT))


def convolution(x, kernel, dilation: int = 1):
    """The convolution of stride 1 and padding "same", with a gradient of the same kind.

    Args:
        x: float32 [N, H, W, C].
        kernel: float32 [3, 3, C, F], a tensor (not a variable).
        dilation: d >= 1.

    Returns:
        float32 [N, H, W, F].
    """

    @ops.custom_gradient
    def run(x, kernel):
        def gradient(upstream):
            mirrored = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))
            down = _convolution(upstream, mirrored, dilation)
            # Transformed anew, since the tiles kept from the forward pass would be 2.6 times the input; and one after
            # the other, since both at once need their memory together: 0.3 GB for the head of fcn.
            return down, _kernel_gradient(_after(x, down), upstream, dilation, kernel.shape)

        return _convolution(x, kernel, dilation), gradient

    return run(x, kernel)


def _convolution(x, kernel, dilation: int):
    """`convolution` without a gradient of its own."""
    batch, height, width, _ = ops.shape(x)
    tiles, parts = _transformed(x, dilation), []
    for part in _parts(kernel.shape):
        ready = parts[-1] if parts else x
        products = ops.matmul(tiles, _transformed_kernel(_after(kernel[..., part], ready)))
        parts.append(_assembled(products, (batch, height, width), dilation))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _parts(shape) -> list[slice]:
    """The filters of a kernel [3, 3, C, F] in parts whose transformed kernels have at most 36 x PART values."""
    channels, filters = shape[2:]
    count = -(-channels * filters // PART)
    size = -(-filters // count)
    return [slice(start, min(start + size, filters)) for start in range(0, filters, size)]


def _after(x, other):
    """x, for TensorFlow only once `other` is there.

    Nothing else keeps it from transforming all kernels of a network at the start of a step: 0.6 GB for fcn.
    """
    if keras.backend.backend() != "tensorflow":
        return x
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.after(x, other)


def _tiles(size, dilation: int):
    """How many tiles cover `size` pixels, in each of the `dilation` interleaved rows."""
    return (size + TILE * dilation - 1) // (TILE * dilation)


def _blocks(x, rows, columns, dilation: int):
    """[N, 4 d R, 4 d S, C] -> [4, 4, N, R, d, S, d, C]: the pixels of the tiles by their place in the tile."""
    batch, channels = ops.shape(x)[0], x.shape[-1]
    x = ops.reshape(x, (batch, rows, TILE, dilation, columns, TILE, dilation * channels))
    return ops.transpose(x, (2, 5, 0, 1, 3, 4, 6))


def _transformed(x, dilation: int):
    """Images [N, H, W, C] -> transformed input tiles [36, N R d S d, C]."""
    _, height, width, channels = ops.shape(x)
    rows, columns = _tiles(height, dilation), _tiles(width, dilation)
    # One tile more than there are: a tile of 6 pixels reaches 2 into the next. One pixel (d with dilation) before.
    after = [(count + 1) * TILE * dilation - size - dilation for count, size in ((rows, height), (columns, width))]
    x = ops.pad(x, [[0, 0], [dilation, after[0]], [dilation, after[1]], [0, 0]])
    x = _blocks(x, rows + 1, columns + 1, dilation)
    x = ops.concatenate([x[:, :, :, :-1], x[: POINTS - TILE, :, :, 1:]], axis=0)
    x = ops.concatenate([x[:, :, :, :, :, :-1], x[:, : POINTS - TILE, :, :, :, 1:]], axis=1)
    x = ops.matmul(INPUT, ops.reshape(x, (POINTS**2, -1)))
    return ops.reshape(x, (POINTS**2, -1, channels))


def _transformed_kernel(kernel):
    """[3, 3, C, F] -> [36, C, F]."""
    channels, filters = kernel.shape[2:]
    return ops.reshape(ops.matmul(KERNEL, ops.reshape(kernel, (TAPS**2, -1))), (POINTS**2, channels, filters))


def _assembled(products, shape, dilation: int):
    """Products [36, N R d S d, F] -> images [N, H, W, F]; `shape` is N, H and W."""
    batch, height, width = shape
    rows, columns, filters = _tiles(height, dilation), _tiles(width, dilation), products.shape[-1]
    x = ops.matmul(OUTPUT, ops.reshape(products, (POINTS**2, -1)))
    x = ops.reshape(x, (TILE, TILE, batch, rows, dilation, columns, dilation * filters))
    x = ops.transpose(x, (2, 3, 0, 4, 5, 1, 6))
    return ops.reshape(x, (batch, rows * TILE * dilation, columns * TILE * dilation, filters))[:, :height, :width]


def _kernel_gradient(x, upstream, dilation: int, shape):
    """Input [N, H, W, C] and gradient of the output [N, H, W, F] -> gradient of the kernel, [3, 3, C, F]."""
    _, height, width, _ = ops.shape(upstream)
    rows, columns = _tiles(height, dilation), _tiles(width, dilation)
    after = [count * TILE * dilation - size for count, size in ((rows, height), (columns, width))]
    y = _blocks(ops.pad(upstream, [[0, 0], [0, after[0]], [0, after[1]], [0, 0]]), rows, columns, dilation)
    y = ops.reshape(ops.matmul(OUTPUT.T, ops.reshape(y, (TILE**2, -1))), (POINTS**2, -1, shape[-1]))
    tiles, parts = ops.transpose(_transformed(x, dilation), (0, 2, 1)), []
    for part in _parts(shape):
        products = ops.matmul(tiles, _after(y[..., part], parts[-1] if parts else y))
        channels, filters = products.shape[1:]
        taps = ops.matmul(KERNEL.T, ops.reshape(products, (POINTS**2, -1)))
        parts.append(ops.reshape(taps, (TAPS, TAPS, channels, filters)))
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
