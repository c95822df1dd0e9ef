"""Convolutions in bfloat16, for processors: dilated as they are, a kernel's gradient by one matrix product a tap.

oneDNN's kernels for bfloat16 run at nine tenths of the processor's speed but for the gradient of a kernel, which
reaches half: 142 ms for the 3x3 of fcn's head on four crops of 240 pixels, where nine products take 84, and 28.8 ms for
a 1x1 from 1024 to 2048 channels, where one takes 19.0 (2 cores with AVX512_BF16, oneDNN 3.3). And Keras hands dilated
convolutions to space-to-batch, which computes padding: 99 ms for 512 channels at dilation 4, forward and backward, here
57. The gradient of the input is a convolution too, of the mirrored kernel: TensorFlow has none of its own for dilated
ones where oneDNN is off.
"""

import keras
from keras import ops

from kseg.models import graphs


def convolution(x, kernel, dilation: int = 1):
    """The convolution of stride 1 and padding "same", with the same gradients but for rounding.

    Args:
        x: bfloat16 [N, H, W, C].
        kernel: bfloat16 [k, k, C, F], k odd; a tensor (not a variable).
        dilation: d >= 1.

    Returns:
        bfloat16 [N, H, W, F].
    """

    def gradient(upstream, x, kernel):
        down = graphs.shared(_input_gradient)(upstream, kernel, dilation)
        return down, graphs.shared(_kernel_gradient)(x, upstream, kernel.shape[0], dilation)

    return graphs.differentiable(lambda x, kernel: forward(x, kernel, dilation), gradient)(x, kernel)


def forward(x, kernel, dilation: int):
    """`convolution` without a gradient of its own, and no shared graph: exports hold it."""
    if keras.backend.backend() != "tensorflow":
        return ops.conv(x, kernel, padding="same", dilation_rate=dilation)
    from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

    return kernels.dilated_convolution(x, kernel, dilation)


def _input_gradient(upstream, kernel, dilation: int):
    """Gradient of the output [N, H, W, F] and kernel [k, k, C, F] -> gradient of the input [N, H, W, C]."""
    side, _, channels, filters = kernel.shape
    # As a list of taps: reversing two axes takes 8 ms for the head of fcn, this 1.
    taps = ops.reshape(kernel, (side**2, channels, filters))
    if side > 1:
        taps = ops.take(taps, range(side**2)[::-1], axis=0)
    mirrored = ops.reshape(ops.transpose(taps, (0, 2, 1)), (side, side, filters, channels))
    return forward(upstream, mirrored, dilation)


def _kernel_gradient(x, upstream, side: int, dilation: int):
    """Input [N, H, W, C] and gradient of the output [N, H, W, F] -> gradient of the kernel, [side, side, C, F]."""
    _, height, width, filters = ops.shape(upstream)
    pixels = ops.transpose(ops.reshape(x, (-1, x.shape[-1])))
    reach = side // 2 * dilation
    padded = ops.pad(upstream, [[0, 0], [reach, reach], [reach, reach], [0, 0]]) if reach else upstream
    products = []
    for row in range(0, 2 * reach + 1, dilation)[::-1]:
        for column in range(0, 2 * reach + 1, dilation)[::-1]:
            moved = ops.reshape(padded[:, row : row + height, column : column + width], (-1, filters))
            products.append(ops.matmul(pixels, moved))
    return ops.reshape(ops.stack(products), (side, side, x.shape[-1], filters))
