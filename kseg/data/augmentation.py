"""Augmentation beyond the reference's scale, crop and mirror: options, all off by default, and what they do to a crop.

Pure functions of TF ops on square uint8 crops, eager or inside Dataset.map alike. A crop is some part of a picture and
padding where the picture ends. Whatever is done to it, padding stays padding: black in the image, IGNORE in the mask.
The mask alone does not tell padding from unlabelled pixels, so a crop comes with `inside`, where the picture is.
"""

import dataclasses
import math

import tensorflow as tf

from kseg.labels import IGNORE

# The options' streams of random numbers; a new option takes the next number, and no number changes its meaning.
CROP_PLACE, VERTICAL_FLIP, ROTATION, COLOR_JITTER, BLUR = range(1, 6)
# ITU-R 601-2 luma of red, green and blue, which PIL and torchvision take as the grey of a colour.
LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What `transforms.training_crop` does besides the reference's random scale, crop and mirror.

    Attributes:
        random_blur: with probability 0.5, `blurred` by a radius of U(0, 1) pixels, as GluonCV's _sync_transform.
        color_jitter: strength s, 0 to 1, 0 = off: `jittered` by factors of U(1 - s, 1 + s) for brightness, contrast
            and saturation and by U(-s / 4, s / 4) of the colour circle. Equivalent: torchvision's
            ColorJitter(s, s, s, s / 4), in this one order.
        random_rotation: the largest angle d, 0 to 180 degrees, 0 = off: `rotated` by U(-d, d).
        random_vertical_flip: with probability 0.5, upside down, padding included.
        class_balanced_crop: up to ten places are drawn until at most 75 % of a crop's labelled pixels are one class;
            see `planning.balanced_origin`.
    """

    random_blur: bool = False
    color_jitter: float = 0.0
    random_rotation: float = 0.0
    random_vertical_flip: bool = False
    class_balanced_crop: bool = False

    @property
    def changes_crops(self) -> bool:
        """Whether `augmented` does anything."""
        return dataclasses.replace(self, class_balanced_crop=False) != OFF


OFF = Augmentation()


def draw(seed: tf.Tensor, stream: int, shape: list[int]) -> tf.Tensor:
    """U(0, 1) float32 of `shape`, multiples of 2^-23 below 1, from stream 1, 2, … of a picture's seed.

    Each option has its own stream, so that one more option leaves the numbers of the others, and those drawn from the
    seed itself, what they are.
    """
    seed = tf.random.experimental.stateless_fold_in(seed, tf.constant(stream, tf.int64), alg="philox")
    return tf.random.stateless_uniform(shape, seed, alg="philox")


def augmented(
    image: tf.Tensor, mask: tf.Tensor, inside: tf.Tensor, seed: tf.Tensor, options: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    """A crop after the options that change it, each with its own draws.

    Args:
        image: uint8 [c, c, 3], black outside.
        mask: uint8 [c, c], IGNORE outside.
        inside: bool [c, c], where the crop shows the picture.
        seed: int32 or int64 [2], of the picture.
        options: all but class_balanced_crop.

    Returns:
        uint8 [c, c, 3] and uint8 [c, c]: the very tensors given, if the options are off.
    """
    # What moves pixels comes first, the flips (training_crop has mirrored it already) before the rotation, so that the
    # contrast is about the mean of what the crop shows in the end. The blur is last, as in the reference: it smooths
    # the colours as the network gets them, where a jitter after it would cut off at 0 and 255 once more.
    if options.random_vertical_flip:
        pair = (image, mask, inside)
        upside_down = draw(seed, VERTICAL_FLIP, []) < 0.5
        # A branch, since the op copies what it does not reverse: 0.5 ms for the image of a 480-pixel crop.
        image, mask, inside = tf.cond(upside_down, lambda: [tf.reverse(part, [0]) for part in pair], lambda: [*pair])
    if options.random_rotation:
        degrees = options.random_rotation * (2 * draw(seed, ROTATION, []) - 1)
        image, mask, inside = rotated(image, mask, inside, degrees)
    if options.color_jitter:
        brightness, contrast, saturation, hue = tf.unstack(
            options.color_jitter * (2 * draw(seed, COLOR_JITTER, [4]) - 1)
        )
        image = jittered(image, inside, 1 + brightness, 1 + contrast, 1 + saturation, hue / 4)
    if options.random_blur:
        chance, radius = tf.unstack(draw(seed, BLUR, [2]))
        image = tf.cond(chance < 0.5, lambda: blurred(image, inside, radius), lambda: image)
    return image, mask


def rotated(
    image: tf.Tensor, mask: tf.Tensor, inside: tf.Tensor, degrees: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A crop turned counter-clockwise about its centre; black and IGNORE come in at the corners.

    Equivalent: PIL's Image.rotate, BILINEAR for the image and NEAREST for the mask, save that the outermost half pixel
    fades to black. Pixels nearest to padding are black whatever the interpolation gave.

    Args:
        image, mask, inside: uint8 [c, c, 3], uint8 [c, c] and bool [c, c].
        degrees: float32 [].

    Returns:
        As given: image, mask and inside.
    """
    side = image.shape[0]
    cos, sin = tf.cos(degrees * (math.pi / 180)), tf.sin(degrees * (math.pi / 180))
    centre = (side - 1) / 2
    # The result's pixel (x, y) shows the crop's (cos x - sin y + right, sin x + cos y + down), pixel centres at wholes.
    right, down = centre - cos * centre + sin * centre, centre - sin * centre - cos * centre
    transform = tf.stack([cos, -sin, right, sin, cos, down, 0.0, 0.0])[None]

    def turned(picture: tf.Tensor, interpolation: str, beyond: int) -> tf.Tensor:
        return tf.raw_ops.ImageProjectiveTransformV3(
            images=picture[None],
            transforms=transform,
            output_shape=[side, side],
            fill_value=beyond,
            interpolation=interpolation,
            fill_mode="CONSTANT",
        )[0]

    # Mask and padding in one number, turned at once: 2.1 ms for 480 pixels, as two channels 4.9 ms.
    codes = tf.cast(mask, tf.int32) + tf.where(inside, 0, 256)
    codes = turned(codes[..., None], "NEAREST", 256 + IGNORE)[..., 0]
    inside = codes < 256
    # In floats: of uint8 the op cuts the fractions off.
    image = tf.cast(turned(tf.cast(image, tf.float32), "BILINEAR", 0) + 0.5, tf.uint8)
    return _blackened(image, inside), tf.cast(codes & 255, tf.uint8), inside


def jittered(
    image: tf.Tensor,
    inside: tf.Tensor,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor,
) -> tf.Tensor:
    """A crop in other colours: brightness, then contrast, then saturation, then hue, each cut to 0 … 255.

    Equivalent: torchvision's adjust_brightness, adjust_contrast, adjust_saturation and adjust_hue, save that they cut
    the fractions off in between and that here the contrast is about the mean grey of the picture without its padding.

    Args:
        image: uint8 [c, c, 3], black outside.
        inside: bool [c, c].
        brightness, contrast, saturation: factors from 0, where 1 changes nothing, float32 [].
        hue: what to add, -0.5 to 0.5 of the colour circle, float32 [].

    Returns:
        uint8 [c, c, 3], black outside.
    """
    # Whole numbers, whose sum down the columns (below 2^24) is the same in whatever order a processor adds.
    colours = tf.round(tf.minimum(tf.cast(image, tf.float32) * brightness, 255.0))
    total = tf.reduce_sum(tf.cast(tf.reduce_sum(colours, axis=0), tf.float64), axis=0)
    pixels = tf.math.count_nonzero(inside, dtype=tf.float64)
    mean = tf.cast(tf.math.divide_no_nan(tf.reduce_sum(total * LUMA), pixels), tf.float32)
    colours = tf.clip_by_value(contrast * colours + (1 - contrast) * mean, 0.0, 255.0)
    # Towards each pixel's own grey, as one product with a 3 x 3 matrix: its columns are one colour of the result each.
    mixture = saturation * tf.eye(3) + (1 - saturation) * tf.constant(LUMA)[:, None]
    colours = tf.reshape(tf.matmul(tf.reshape(colours, [-1, 3]), mixture), image.shape)
    colours = tf.raw_ops.AdjustHue(images=tf.clip_by_value(colours, 0.0, 255.0), delta=hue)
    return _blackened(tf.cast(colours + 0.5, tf.uint8), inside)


def blurred(image: tf.Tensor, inside: tf.Tensor, radius: tf.Tensor) -> tf.Tensor:
    """A crop under a Gaussian blur of standard deviation `radius`; padding darkens what is next to it.

    Equivalent: PIL's ImageFilter.GaussianBlur(radius), the reference's, which approximates the Gaussian by three box
    blurs. Up to a radius of 1 each of them is a kernel (v / 2, 1 - v, v / 2) with v = radius^2 / 3, and the three are
    one of seven weights. PIL rounds after each, six times, and so differs by up to 3 (on noise by 0.3 to 1.1 on
    average: most at radius 0.1, where its rounding undoes the blur).

    Args:
        image: uint8 [c, c, 3].
        inside: bool [c, c].
        radius: 0 to 1 pixel, float32 [].

    Returns:
        uint8 [c, c, 3], black outside.
    """
    side = radius**2 / 6
    middle = 1 - 2 * side
    weights = [side**3, 3 * side**2 * middle, 3 * side * (side**2 + middle**2)]
    kernel = tf.stack([*weights, middle * (middle**2 + 6 * side**2), *weights[::-1]])
    # Mirrored about the edge, which is what extending the edge pixel before each of PIL's three blurs comes to.
    # By concat, since tf.pad takes 4 ms to mirror a 480-pixel crop and this 0.5 ms.
    padded = tf.concat([image[2::-1], image, image[:-4:-1]], axis=0)
    padded = tf.concat([padded[:, 2::-1], padded, padded[:, :-4:-1]], axis=1)
    blur = tf.cast(padded[None], tf.float32)
    for shape in ([7, 1, 1, 1], [1, 7, 1, 1]):
        along = tf.tile(tf.reshape(kernel, shape), [1, 1, 3, 1])
        blur = tf.nn.depthwise_conv2d(blur, along, strides=[1, 1, 1, 1], padding="VALID")
    return _blackened(tf.cast(blur[0] + 0.5, tf.uint8), inside)


def _blackened(image: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """uint8 [c, c, 3] with 0 where bool [c, c] is false."""
    # Many crops have no padding; to look for it takes a sixth of the time of the product.
    whole = tf.reduce_all(inside)
    return tf.cond(whole, lambda: image, lambda: image * tf.cast(inside, tf.uint8)[..., None])
