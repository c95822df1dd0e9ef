"""3x3 convolutions by Winograd's minimal filtering, for processors: a quarter of the multiplications, as matrix products.

F(4x4, 3x3) of Lavin and Gray 2015 (arXiv:1509.09308): a tile of 4 x 4 output pixels needs 6 x 6 input pixels, and each
of the 36 points of the transformed tiles is one product [tiles, C] x [C, F], so 2.25 multiplications an output pixel
and pair of channels instead of 9. A convolution of dilation d is d x d plain ones, each on every d-th row and column.

One float32 rounding of it is some three times that of the direct sum (3e-6 against 1e-6 of the largest output, C = 512).
keras.ops only. Tensors are [N, H, W, C]; H and W may be unknown when the graph is built.
"""

import keras
import numpy as np
from keras import ops

TILE, POINTS, TAPS = 4, 6, 3  # output pixels, input pixels and points, and taps along one axis

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
            return (
                _convolution(upstream, mirrored, dilation),
                # Transformed anew: kept since the forward pass, the tiles of fcn's head would be 2.6 times its input.
                _kernel_gradient(_after(x, upstream), upstream, dilation, kernel.shape),
            )

        return _convolution(x, kernel, dilation), gradient

    return run(x, kernel)


def _convolution(x, kernel, dilation: int):
    """`convolution` without a gradient of its own."""
    _, height, width, _ = ops.shape(x)
    products = ops.matmul(_transformed(x, dilation), _transformed_kernel(_after(kernel, x)))
    return _assembled(products, (ops.shape(x)[0], height, width), dilation)


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
    batch, height, width, channels = ops.shape(x)
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
    _, height, width, filters = ops.shape(upstream)
    rows, columns = _tiles(height, dilation), _tiles(width, dilation)
    after = [count * TILE * dilation - size for count, size in ((rows, height), (columns, width))]
    y = _blocks(ops.pad(upstream, [[0, 0], [0, after[0]], [0, after[1]], [0, 0]]), rows, columns, dilation)
    y = ops.reshape(ops.matmul(OUTPUT.T, ops.reshape(y, (TILE**2, -1))), (POINTS**2, -1, filters))
    products = ops.matmul(ops.transpose(_transformed(x, dilation), (0, 2, 1)), y)
    return ops.reshape(ops.matmul(KERNEL.T, ops.reshape(products, (POINTS**2, -1))), shape)
