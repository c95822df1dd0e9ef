"""What happens to a picture and its mask between decoding and batching: pure functions of (image, mask, seed).

They run eagerly and inside Dataset.map alike. The crop is chosen before anything is resized (`kseg.data.planning`), and
may be before the image is decoded (`kseg.data.opening`), so that only the part of the picture that the crop shows is
decoded and resampled (`kseg.data.resample`), at the positions at which resizing the whole picture and cropping
afterwards would have sampled it. The draws are TF ops.
"""

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from kseg.data import resample
from kseg.data.augmentation import CROP_PLACE, OFF, Augmentation, augmented, draw
from kseg.data.planning import central_plan, plan

# Places drawn in all for a class-balanced crop.
TRIES = 10


def training_crop(
    image: tf.Tensor,
    mask: tf.Tensor,
    seed: tf.Tensor,
    *,
    base_size: int,
    crop_size: int,
    augmentation: Augmentation = OFF,
) -> tuple[tf.Tensor, tf.Tensor]:
    """A randomly scaled, cropped and flipped square of a picture and of its mask: the pipeline's, of a decoded picture.

    The long side becomes round(base_size x U(0.5, 2.0)) pixels and the short side keeps the aspect ratio; of that, a
    square at a uniformly drawn place; where the scaled picture is smaller than the square, black and IGNORE follow at
    the bottom and at the right; the whole is mirrored left to right with probability 0.5.
    Equivalent: SegmentationDataset._sync_transform of GluonCV, without its blur, which `augmentation` adds.

    Args:
        image: uint8 [H, W, 3].
        mask: uint8 [H, W].
        seed: int32 or int64 [2]; the same seed gives the same result, on any machine.
        base_size: pixels.
        crop_size: pixels, c below.
        augmentation: what else to do; each option leaves the draws of all others as they are.

    Returns:
        uint8 [c, c, 3] and uint8 [c, c].
    """
    planning = functools.partial(plan, base_size=base_size, crop_size=crop_size)
    planned = _planned(planning, mask, drawn(seed, augmentation))
    return augmented_crop(*_cropped(image, mask, planned, crop_size), planned, seed, augmentation)


def drawn(seed: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """What `plan` draws a picture's crop from, float32 [2 + 2n], given the seed of `training_crop`."""
    draws = tf.random.stateless_uniform([4], seed, alg="philox")
    if augmentation.class_balanced_crop:
        draws = tf.concat([draws, draw(seed, CROP_PLACE, [2 * (TRIES - 1)])], axis=0)
    return draws


def augmented_crop(
    image: tf.Tensor, mask: tf.Tensor, planned: tf.Tensor, seed: tf.Tensor, augmentation: Augmentation
) -> tuple[tf.Tensor, tf.Tensor]:
    """What `training_crop` makes of a square, uint8 [c, c, 3] and [c, c], that was cropped as planned; see `plan`."""
    inside = _inside(planned[:2], planned[2:4], mask.shape[0], planned[4] > 0)
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
    planned = _planned(functools.partial(central_plan, crop_size=crop_size), mask)
    return _cropped(image, mask, planned, crop_size)


def _planned(planning: Callable[..., np.ndarray], *given: tf.Tensor) -> tf.Tensor:
    """A function of `kseg.data.planning` as an op, int64 [5]."""
    # stateful=False here and below: nothing else matters to them, and stateful functions would be kept in order.
    return tf.ensure_shape(tf.numpy_function(planning, given, tf.int64, stateful=False), [5])


def _cropped(image: tf.Tensor, mask: tf.Tensor, planned: tf.Tensor, crop_size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`resample.crop` of a whole picture, as an op."""
    function = functools.partial(resample.crop, side=crop_size)
    pair = tf.numpy_function(function, [image, mask, planned], [tf.uint8, tf.uint8], stateful=False)
    return tf.ensure_shape(pair[0], [crop_size, crop_size, 3]), tf.ensure_shape(pair[1], [crop_size, crop_size])


def _inside(scaled_size: tf.Tensor, origin: tf.Tensor, crop_size: int, flip: tf.Tensor) -> tf.Tensor:
    """Where a crop shows the picture and not padding: bool [c, c]."""
    rows, columns = (tf.range(crop_size, dtype=tf.int64) < extent for extent in tf.unstack(scaled_size - origin))
    return rows[:, None] & tf.raw_ops.Reverse(tensor=columns, dims=[flip])
