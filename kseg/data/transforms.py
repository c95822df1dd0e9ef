"""What happens to a picture and its mask between decoding and batching: pure functions of (image, mask, seed).

They run eagerly and inside Dataset.map alike. The crop is chosen before anything is resized, and may be before the
image is decoded, so that only the part of the picture that the crop shows is decoded and resampled, at the positions at
which resizing the whole picture and cropping afterwards would have sampled it. The draws are TF ops, the pixels come
from `kseg.data.resample`.
"""

from collections.abc import Callable

import tensorflow as tf

from kseg.data import resample
from kseg.data.augmentation import CROP_PLACE, OFF, Augmentation, augmented, draw
from kseg.labels import IGNORE

SCALES = (0.5, 2.0)
# Places drawn in all for a class-balanced crop.
TRIES = 10
# Gives the pixels, uint8 [h, w, 3], of a picture from start to end, int64 [2] each: those of the crop's window.
Reader = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def training_crop(
    image: tf.Tensor | Reader,
    mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_size: int,
    crop_size: int,
    augmentation: Augmentation = OFF,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A randomly scaled, cropped and flipped square of a picture and of its mask.

    The long side becomes round(base_size x U(0.5, 2.0)) pixels and the short side keeps the aspect ratio; of that, a
    square at a uniformly drawn place; where the scaled picture is smaller than the square, black and IGNORE follow at
    the bottom and at the right; the whole is mirrored left to right with probability 0.5.
    Equivalent: SegmentationDataset._sync_transform of GluonCV, without its blur, which `augmentation` adds.

    Args:
        image: uint8 [H, W, 3], or what reads a part of it.
        mask: uint8 [H, W].
        seed: int32 or int64 [2]; the same seed gives the same result, on any machine.
        base_size: pixels.
        crop_size: pixels, c below.
        augmentation: what else to do; each option leaves the draws of all others as they are.

    Returns:
        uint8 [c, c, 3] and uint8 [c, c].
    """
    draws = tf.random.stateless_uniform([4], seed, alg="philox")
    low, high = SCALES
    long_side = tf.cast(base_size * (low + (high - low) * draws[0]) + 0.5, tf.int64)
    size = tf.shape(mask, tf.int64)
    scaled_size = _scaled(size, tf.reduce_max(size), long_side)
    origin = _origin(mask, scaled_size, draws[1:3], seed, crop_size, augmentation)
    flip = draws[3] < 0.5
    image, mask = scaled_crop(image, mask, scaled_size, origin, crop_size=crop_size, flip=flip)
    inside = _inside(scaled_size, origin, crop_size, flip)
    return augmented(image, mask, inside, seed, augmentation)


def evaluation_crop(image: tf.Tensor, mask: tf.Tensor, *, crop_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The central square of a picture and of its mask, the short side scaled to crop_size.

    Equivalent: SegmentationDataset._val_sync_transform of GluonCV, except that the long side is rounded, not cut.

    Args:
        image: uint8 [H, W, 3].
        mask: uint8 [H, W].
        crop_size: pixels, c below.

    Returns:
        uint8 [c, c, 3] and uint8 [c, c].
    """
    size = tf.shape(mask, tf.int64)
    scaled_size = _scaled(size, tf.reduce_min(size), crop_size)
    origin = (scaled_size - crop_size) // 2
    return scaled_crop(image, mask, scaled_size, origin, crop_size=crop_size, flip=False)


def scaled_crop(
    image: tf.Tensor | Reader,
    mask: tf.Tensor,
    scaled_size: tf.Tensor,
    origin: tf.Tensor,
    *,
    crop_size: int,
    flip: tf.Tensor | bool,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The square at `origin` of a picture and its mask scaled to `scaled_size`; black and IGNORE beyond their edges.

    Equivalent: PIL's Image.resize, BILINEAR (which antialiases) for the image and NEAREST for the mask, then crop.
    From scale 1 on, images differ from it by at most 2, since PIL rounds between the two axes and the pixels' places
    are exact to 1/256; below 1 the filter has PIL's variance, and its form at 1/2. Masks are equal but for pixels that
    lie exactly between two.

    Args:
        image: uint8 [H, W, 3], or what reads a part of it.
        mask: uint8 [H, W].
        scaled_size: int64 [2], height and width, pixels.
        origin: int64 [2], top and left of the square in the scaled picture, 0 to scaled_size - 1, pixels.
        crop_size: pixels, c below.
        flip: whether to mirror the square left to right, padding included, bool [].

    Returns:
        uint8 [c, c, 3] and uint8 [c, c].
    """
    size = tf.shape(mask, tf.int64)
    side = tf.constant(crop_size, tf.int64)
    # stateful=False: the functions depend on nothing else, and stateful ones would be kept in order.
    window = tf.numpy_function(resample.source_window, [size, scaled_size, origin, side], tf.int64, stateful=False)
    start, end = tf.unstack(tf.ensure_shape(window, [2, 2]))
    pixels = image(start, end) if callable(image) else image[start[0] : end[0], start[1] : end[1]]
    pair = tf.numpy_function(
        resample.crop, [pixels, start, mask, scaled_size, origin, side, flip], [tf.uint8, tf.uint8], stateful=False
    )
    return tf.ensure_shape(pair[0], [crop_size, crop_size, 3]), tf.ensure_shape(pair[1], [crop_size, crop_size])


def balanced_origin(mask: tf.Tensor, scaled_size: tf.Tensor, origins: tf.Tensor, *, crop_size: int) -> tf.Tensor:
    """The first place at which at most 75 % of a crop's labelled pixels are one class; the last place if none is.

    A crop without labelled pixels is not balanced. Equivalent: RandomCrop of mmsegmentation with cat_max_ratio 0.75,
    save that it wants less than 75 % and draws up to eleven times.

    Args:
        mask: uint8 [H, W].
        scaled_size: int64 [2], height and width of the scaled picture, pixels.
        origins: int64 [n, 2], tops and lefts in the scaled picture in the order to try, pixels.
        crop_size: pixels.

    Returns:
        int64 [2], one of `origins`.
    """
    last = tf.shape(origins)[0] - 1

    def too_uniform(index: tf.Tensor) -> tf.Tensor:
        # The pixels of the crop's mask in any order and without padding: 1.0 ms for a 480-pixel crop.
        pixels = tf.cast(_visible_mask(mask, scaled_size, origins[index], crop_size), tf.int32)
        labelled = tf.math.bincount(pixels, minlength=256, maxlength=256)[:IGNORE]
        most, total = tf.reduce_max(labelled), tf.reduce_sum(labelled)
        return (4 * most > 3 * total) | (total == 0)

    # A picture that fits into the crop has one place: nothing to look for.
    tries = tf.where(tf.reduce_all(origins == origins[0]), 0, last)
    index = tf.while_loop(lambda index: (index < tries) & too_uniform(index), lambda index: [index + 1], [0])[0]
    return origins[index]


def _origin(mask, scaled_size, place, seed, crop_size: int, augmentation: Augmentation) -> tf.Tensor:
    """Top and left of a training crop, int64 [2], at `place` float32 [2] from 0 to 1 unless another is balanced."""
    # Draws are multiples of 2^-23 below 1, so that draw x places, rounded to float32, is still below places.
    places = tf.cast(tf.maximum(scaled_size - crop_size, 0) + 1, tf.float32)
    if not augmentation.class_balanced_crop:
        return tf.cast(place * places, tf.int64)
    candidates = tf.concat([place[None], draw(seed, CROP_PLACE, [TRIES - 1, 2])], axis=0)
    return balanced_origin(mask, scaled_size, tf.cast(candidates * places, tf.int64), crop_size=crop_size)


def _scaled(size: tf.Tensor, side: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """`size` int64 [2] times target / side, rounded half up, at least 1 pixel: int64 [2]."""
    return tf.maximum((2 * size * target + side) // (2 * side), 1)


def _visible_mask(mask: tf.Tensor, scaled_size: tf.Tensor, origin: tf.Tensor, crop_size: int) -> tf.Tensor:
    """What a crop shows of the scaled mask, transposed: uint8 [w, h], w and h up to crop_size."""
    size = tf.shape(mask, tf.int64)
    inside = tf.minimum(scaled_size - origin, crop_size)
    # Integers, since (x + 0.5) / scale in floats falls on either side of a whole number at scales such as 1.5.
    rows = (2 * (origin[0] + tf.range(inside[0])) + 1) * size[0] // (2 * scaled_size[0])
    columns = (2 * (origin[1] + tf.range(inside[1])) + 1) * size[1] // (2 * scaled_size[1])
    # Columns are taken as rows of the transpose: whole rows are copied at once (0.4 ms against 1.1 ms at 480 pixels).
    return tf.gather(tf.transpose(tf.gather(mask, rows)), columns)


def _inside(scaled_size: tf.Tensor, origin: tf.Tensor, crop_size: int, flip: tf.Tensor) -> tf.Tensor:
    """Where `scaled_crop` shows the picture and not padding: bool [c, c]."""
    rows, columns = (tf.range(crop_size, dtype=tf.int64) < extent for extent in tf.unstack(scaled_size - origin))
    return rows[:, None] & tf.raw_ops.Reverse(tensor=columns, dims=[flip])
