"""Layers that the backbones and heads share: normalisation, conv-BN-ReLU, bilinear resizing, adaptive pooling.

keras.ops only, so the networks also run on Keras's other backends. Tensors are [N, H, W, C]; H and W may be unknown
when the graph is built and differ from call to call.
"""

import dataclasses
import zlib
from collections.abc import Callable

import keras
from keras import ops

from kseg.models.convolution import AtrousConv2D, Conv2D
from kseg.models.normalization import BatchNormalization

# Mean of ImageNet's pixels in RGB order, 0..255, as keras.applications' ResNet weights expect it.
IMAGENET_MEAN = (123.68, 116.779, 103.939)
BN_MOMENTUM = 0.9  # the reference's (MXNet); Keras' 0.99 leaves the running statistics far behind in short trainings
BN_EPSILON = 1.001e-5  # that of keras-cv's and keras.applications' ResNets

# Of a kernel's initializer another one, for values that come later: see kseg.drawing.
StandIn = Callable[[keras.initializers.Initializer], keras.initializers.Initializer]


@dataclasses.dataclass(frozen=True)
class Style:
    """What every layer of one network has in common.

    Attributes:
        dtype: name of a Keras dtype policy: "float32", "mixed_bfloat16" or "mixed_float16".
        synchronized: batch normalisation over the batch of all replicas, not of each by itself.
        seed: of initial weights and dropout, >= 0.
        on_processor: whether convolutions may go a processor's way, see `kseg.models.convolution.Conv2D`.
        later: what stands in for each kernel's initializer; None = nothing does.
    """

    dtype: str = "float32"
    synchronized: bool = False
    seed: int = 0
    on_processor: bool = False
    later: StandIn | None = None

    def seed_of(self, layer_name: str) -> int:
        """Seed of one layer, 0 … 2**32 - 1: it depends on the layer's name, not on the order of building."""
        return zlib.crc32(f"{self.seed}/{layer_name}".encode())

    def initializer(self, layer_name: str) -> keras.initializers.Initializer:
        """Stateless He-normal initial weights of a layer's kernel (He et al. 2015, arXiv:1502.01852)."""
        initializer = keras.initializers.HeNormal(seed=self.seed_of(layer_name))
        return initializer if self.later is None else self.later(initializer)


@keras.saving.register_keras_serializable(package="kseg")
class Normalize(keras.layers.Layer):
    """uint8 pixels [N, H, W, 3] in RGB order, 0..255 -> float32 pixels minus `mean`, about -124..151.

    One convention serves random and ImageNet weights: that of keras.applications' ResNets, but in RGB order (the
    loader turns the first kernel's channels round instead). They are not divided by a standard deviation: batch
    normalisation follows the first convolution, so the network's output and every gradient are the same for any
    scale of the input, and the ImageNet kernel keeps the norm, hence the effective learning rate, it was trained at.
    """

    def __init__(self, mean=IMAGENET_MEAN, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.mean = tuple(mean)

    def call(self, images):
        """[N, H, W, 3] uint8 -> float32 of the same shape."""
        return ops.cast(images, "float32") - ops.convert_to_tensor(self.mean, dtype="float32")

    def compute_output_shape(self, input_shape):
        """The input's."""
        return input_shape

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "mean": self.mean}


def batch_norm(name: str, style: Style) -> BatchNormalization:
    """Batch normalisation with the reference's momentum, computed in float32 whatever the style's dtype."""
    return BatchNormalization(
        momentum=BN_MOMENTUM, epsilon=BN_EPSILON, synchronized=style.synchronized, dtype=style.dtype, name=name
    )


def conv_bn(
    x,
    channels: int,
    kernel_size: int,
    *,
    name: str,
    style: Style,
    stride: int = 1,
    dilation: int = 1,
    kind: type = Conv2D,
):
    """Convolution without bias and batch normalisation.

    [N, H, W, ?] -> [N, ceil(H / stride), ceil(W / stride), channels]; zeros are padded on all sides alike.
    For a strided 3x3 TensorFlow's "same" puts nothing before and one row after an even-sized input, which moves the
    features by half a stride against the shortcut's 1x1 and differs between even and odd sizes; keras.applications'
    weights and the reference want the same on both sides.
    """
    if stride > 1 and kernel_size > 1:
        x = keras.layers.ZeroPadding2D(kernel_size // 2, dtype=style.dtype, name=f"{name}_pad")(x)
    x = kind(
        channels,
        kernel_size,
        strides=stride,
        padding="same" if kernel_size > 1 and stride == 1 else "valid",
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=style.initializer(f"{name}_conv"),
        dtype=style.dtype,
        name=f"{name}_conv",
        **({"on_processor": style.on_processor} if kind is Conv2D else {}),
    )(x)
    return batch_norm(f"{name}_bn", style)(x)


def relu(x, name: str, style: Style):
    """The larger of x and 0."""
    return keras.layers.Activation("relu", dtype=style.dtype, name=name)(x)


def conv_bn_relu(x, channels: int, kernel_size: int, *, name: str, style: Style, dilation: int = 1):
    """A head's convolution without bias, batch normalisation, ReLU: [N, H, W, ?] -> [N, H, W, channels]."""
    kind = AtrousConv2D if dilation > 1 else Conv2D  # a head's rates are far
    x = conv_bn(x, channels, kernel_size, name=name, style=style, dilation=dilation, kind=kind)
    return relu(x, f"{name}_relu", style)


@keras.saving.register_keras_serializable(package="kseg")
class Dropout(keras.layers.Dropout):
    """Keras's, which on several replicas zeroes what one device with the whole batch would.

    Keras's own draws the same for each replica. The replicas' parts of the batch must have the same size. It has
    Keras's name because Keras derives the places of weights in a file from the names of the classes.
    """

    def call(self, inputs, training=False):
        """[N, ...] -> the same shape; every replica draws for all and takes its part."""
        if not training or keras.backend.backend() != "tensorflow":
            return super().call(inputs, training=training)
        from kseg import kernels  # here: it needs TensorFlow, which the other backends do without

        replicas = kernels.replicas()
        if replicas == 1:
            return super().call(inputs, training=training)
        size, *rest = ops.shape(inputs)
        drawn = super().call(ops.ones((replicas * size, *rest), inputs.dtype), training=True)
        return inputs * drawn[kernels.replica() * size :][:size]


def dropout(x, rate: float, *, name: str, style: Style):
    """Seeded dropout; `rate` is the share that is zeroed."""
    return Dropout(rate, seed=style.seed_of(name), dtype=style.dtype, name=name)(x)


def classifier(x, num_classes: int, *, name: str, style: Style):
    """1x1 convolution with bias -> float32 logits [N, H, W, num_classes], also under mixed precision."""
    return keras.layers.Conv2D(num_classes, 1, kernel_initializer=style.initializer(name), dtype="float32", name=name)(
        x
    )


def _resize_matrix(size_in, size_out, align_corners: bool):
    """[size_out, size_in] float32: row i holds the weights of linear interpolation at output pixel i."""
    size_in, size_out = ops.cast(size_in, "float32"), ops.cast(size_out, "float32")
    i = ops.arange(size_out, dtype="float32")
    if align_corners:
        source = i * (size_in - 1) / ops.maximum(size_out - 1, 1)
    else:
        source = ops.clip((i + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    return ops.relu(1 - ops.abs(source[:, None] - ops.arange(size_in, dtype="float32")))


@keras.saving.register_keras_serializable(package="kseg")
class ResizeBilinear(keras.layers.Layer):
    """(x [N, h, w, C], like [N, H, W, ?]) -> x resized to [N, H, W, C] bilinearly, without antialiasing.

    Two matrix products, so that the gradient is deterministic on every device and XLA takes it; ops.image.resize's is
    neither on GPUs. Half-pixel centres give tf.image.resize(method="bilinear") and PyTorch's align_corners=False;
    `align_corners=True` puts the outermost pixels on each other, as MXNet's BilinearResize2D and PyTorch's
    align_corners=True do. Computed and returned in the layer's dtype.
    """

    def __init__(self, align_corners: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.align_corners = align_corners

    def call(self, inputs):
        """Resizes the first input to the height and width of the second."""
        x, like = inputs
        batch, height_in, width_in, channels = ops.shape(x)
        _, height, width, _ = ops.shape(like)
        rows = ops.cast(_resize_matrix(height_in, height, self.align_corners), x.dtype)
        columns = ops.cast(_resize_matrix(width_in, width, self.align_corners), x.dtype)
        x = ops.matmul(columns, x)
        x = ops.matmul(rows, ops.reshape(x, (batch, height_in, width * channels)))
        return ops.reshape(x, (batch, height, width, channels))

    def compute_output_shape(self, input_shape):
        """Batch and channels of the first input, height and width of the second."""
        (batch, _, _, channels), (_, height, width, _) = input_shape
        return (batch, height, width, channels)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "align_corners": self.align_corners}


@keras.saving.register_keras_serializable(package="kseg")
class AdaptiveAveragePool(keras.layers.Layer):
    """[N, H, W, C] -> [N, bins, bins, C]: means over bins that cover any H and W.

    Bin i covers floor(i * H / bins) up to, not including, ceil((i + 1) * H / bins), so neighbours may share a row:
    AdaptiveAvgPool2d of PyTorch, AdaptiveAvgPooling2D of MXNet.
    """

    def __init__(self, bins: int, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def _members(self, size):
        """[bins, size] float32 of 0 and 1: which pixels belong to which bin."""
        i, j = ops.arange(self.bins, dtype="int32")[:, None], ops.arange(size, dtype="int32")
        inside = ops.logical_and(j >= i * size // self.bins, j < ((i + 1) * size + self.bins - 1) // self.bins)
        return ops.cast(inside, "float32")

    def call(self, x):
        """Sums the bins by two matrix products and divides by their areas."""
        batch, height, width, channels = ops.shape(x)
        rows, columns = self._members(height), self._members(width)
        area = ops.sum(rows, axis=1)[:, None] * ops.sum(columns, axis=1)
        sums = ops.matmul(ops.cast(rows, x.dtype), ops.reshape(x, (batch, height, width * channels)))
        # The first product's matrix of 0 and 1 is exact in bfloat16; shares such as 1/60 would not be.
        sums = ops.cast(ops.reshape(sums, (batch, self.bins, width, channels)), "float32")
        return ops.cast(ops.matmul(columns, sums) / area[..., None], x.dtype)

    def compute_output_shape(self, input_shape):
        """[N, bins, bins, C]."""
        return (input_shape[0], self.bins, self.bins, input_shape[3])

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "bins": self.bins}
