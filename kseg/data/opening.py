"""A training picture's record, opened as far as its crop needs: the mask whole, of the image the crop's window.

All numbers of a picture come from one call of Python (from two, where the mask is not plain), since each such call, and
each op of a graph, takes processor time of its own: a third of the 3.5 ms that a crop of 240 pixels took.
"""

import functools

import numpy as np
import tensorflow as tf

from kseg import records
from kseg.data import resample
from kseg.data.plain_png import NOTHING, plain_mask
from kseg.data.planning import plan

JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Markers of a JPEG (ITU T.81, table B.1): of frames, and of what may stand before (tables, intervals, APPn, comments).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BEFORE = frozenset([0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)])
NO_FRAME = (0, 0)
MARGIN = 8  # pixels decoded around a window; 1 is enough (4:4:4, 4:2:2, 4:2:0, grey, progressive or not)


def opened(
    image: tf.Tensor, mask: tf.Tensor, draws: tf.Tensor, places: tf.Tensor, num_classes: int, **sizes: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """What a training crop is made of; for a graph, as in Dataset.map.

    Args:
        image, mask: as a record holds them, encoded, string [].
        draws, places, sizes: of `plan`.
        num_classes: of the data set.

    Returns:
        Pixels uint8 [h, w, 3], the very ones of records.decode_image(image), the place at which they begin, int32
        [4] (row and column first), the mask uint8 [H, W], and the plan int64 [5]. Of a JPEG only the window that the
        crop shows is transformed and made RGB: of 2048 x 1024 pixels a quarter takes 2 ms, all of them 9.
        Raises InvalidArgumentError unless image and mask are sound, of one size, and the mask holds classes and IGNORE.
    """
    settings = {"num_classes": num_classes, **sizes}
    kinds = [tf.uint8, tf.int64, tf.int32]
    given = [image, mask, draws, places]
    # stateful=False: the functions depend on nothing else, and stateful ones would be kept in order.
    found, planned, window = tf.numpy_function(functools.partial(_plain, **settings), given, kinds, stateful=False)
    found = tf.ensure_shape(found, [None, None])

    def by_libpng() -> list[tf.Tensor]:
        decoded = records.decode_mask(mask)
        planning = functools.partial(_planned, **settings)
        return [decoded, *tf.numpy_function(planning, [image, decoded, draws, places], kinds[1:], stateful=False)]

    found, planned, window = tf.cond(tf.size(found) > 0, lambda: [found, planned, window], by_libpng)
    planned, window = tf.ensure_shape(planned, [5]), tf.ensure_shape(window, [4])
    return read(image, window, tf.shape(found)), window, found, planned


def read(image: tf.Tensor, window: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """The pixels of an encoded image in `window_of` it, uint8 [h, w, 3]; InvalidArgumentError unless it has `size`."""

    def whole() -> tf.Tensor:
        pixels = records.decode_image(image)
        with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(pixels)[:2], size)]):
            return tf.identity(pixels)

    return tf.cond(window[2] > 0, lambda: tf.io.decode_and_crop_jpeg(image, window, channels=3), whole)


def _plain(image: bytes, mask: bytes, draws: np.ndarray, places: np.ndarray, **settings) -> tuple:
    """Mask, plan and window; of a mask that is not plain nothing."""
    check_kind(mask)
    pixels = plain_mask(mask)
    if not pixels.size:
        return NOTHING, np.zeros(5, np.int64), np.zeros(4, np.int32)
    return pixels, *_planned(image, pixels, draws, places, **settings)


def _planned(image: bytes, mask: np.ndarray, draws, places, *, num_classes: int, base_size: int, crop_size: int):
    """Plan int64 [5] and window int32 [4]."""
    check_classes(mask, num_classes)
    planned = plan(mask, draws, places, base_size=base_size, crop_size=crop_size)
    numbers = planned.tolist()
    return planned, window_of(
        image, mask.shape, *resample.source_window(mask.shape, numbers[:2], numbers[2:4], crop_size)
    )


def window_of(image: bytes, size: tuple[int, int], start: tuple[int, int], end: tuple[int, int]) -> np.ndarray:
    """What to decode of an image for the pixels from start to end: int32 [4], row, column, height, width; or all: 0s.

    Args:
        image: encoded.
        size: that it should have, height and width, pixels.
        start, end: rows and columns.

    Raises:
        ValueError: for a JPEG of another size.
    """
    found = _jpeg_size(image)
    if found == NO_FRAME:
        return np.zeros(4, np.int32)
    check_size(found, size)
    (top, left), (bottom, right), (height, width) = start, end, size
    low = max(top - MARGIN, 0), max(left - MARGIN, 0)
    return np.array([*low, min(bottom + MARGIN, height) - low[0], min(right + MARGIN, width) - low[1]], np.int32)


def _jpeg_size(image: bytes) -> tuple[int, int]:
    """Height and width of a whole JPEG, 0 and 0 of all else: the decoder is to look at that from end to end.

    tf.io.extract_jpeg_shape with the ops around it takes 0.1 ms, this 0.005.
    """
    # One that lacks its end is decoded whole, which refuses it wherever the crop lies.
    if not (image.startswith(JPEG) and image.endswith(JPEG_END)):
        return NO_FRAME
    place = 2
    while place + 9 <= len(image) and image[place] == 0xFF:
        marker, content = image[place + 1], image[place + 2 : place + 9]
        if marker in FRAMES:  # length, bits of a sample, height, width
            return int.from_bytes(content[3:5], "big"), int.from_bytes(content[5:7], "big")
        if marker in BEFORE:
            place += 2 + int.from_bytes(content[:2], "big")
        else:  # a byte that fills up, as it may; a frame that does not come first; garbage
            break
    return NO_FRAME


def check_kind(mask: bytes) -> None:
    """Raises ValueError unless an encoded mask's header says 8 bits and grey."""
    if mask[records.PNG_KIND] != records.GREY_8_BIT:
        raise ValueError("the mask is not an 8-bit grey PNG")


def check_classes(mask: np.ndarray, num_classes: int) -> None:
    """Raises ValueError unless a mask, uint8 [H, W], holds numbers below num_classes and IGNORE alone."""
    highest = int((mask + np.uint8(1)).max(initial=0))  # IGNORE, 255, plus 1 is 0 in uint8
    if highest > num_classes:
        raise ValueError(f"the mask holds the value {highest - 1}, and there are {num_classes} classes")


def check_size(image: tuple[int, int], mask: tuple[int, int]) -> None:
    """Raises ValueError unless an image has its mask's height and width."""
    if image != mask:
        raise ValueError(f"the image has {image[1]} x {image[0]} pixels, its mask {mask[1]} x {mask[0]}")


def checked(encoded: tf.Tensor, mask: tf.Tensor, image_size: tf.Tensor, num_classes: int) -> tf.Tensor:
    """A mask, uint8 [H, W], given its PNG and its image's height and width; InvalidArgumentError unless it is sound.

    By the functions that training checks with: the same words and the same kind of error. Without it a mask of another
    size gives shifted labels, and a value that is no class a NaN on a GPU. `kseg.data.damage.named` says what is wrong.
    """

    def check(encoded: bytes, mask: np.ndarray, image_size: np.ndarray) -> np.ndarray:
        check_kind(encoded)
        check_classes(mask, num_classes)
        check_size(tuple(image_size.tolist()), mask.shape)
        return mask

    found = tf.numpy_function(check, [encoded, mask, image_size], tf.uint8, stateful=False)
    return tf.ensure_shape(found, [None, None])
