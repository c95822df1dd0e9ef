"""Training crops of records: their masks are opened whole, of their images the windows that the crops show.

Several pictures at a time, by two calls of Python for all of them, since each such call, and each op of a graph, takes
processor time of its own, and threads that call Python wait for each other: by four pictures a call two cores of an AMD
Zen 5 made a fifth more crops of 240 pixels than one by one.
"""

import functools
import threading

import numpy as np
import tensorflow as tf

from kseg import records
from kseg.data import resample
from kseg.data.plain_png import plain_rows
from kseg.data.planning import plan

JPEG, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# Markers of a JPEG (ITU T.81, table B.1): of frames, and of what may stand before (tables, intervals, APPn, comments).
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
BEFORE = frozenset([0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)])
NO_FRAME = (0, 0)
MARGIN = 2  # pixels decoded around a window; 1 is enough (4:4:4, 4:2:2, 4:2:0, grey, progressive or not)
UNCUT = (0, 0, 0, 0)  # the window that stands for all of an image
# Of the numbers that `_opened` gives for each image, integers: what to decode, the image's size, what the crop needs.
WINDOW, SIZE, START, END = slice(4), slice(4, 6), slice(6, 8), slice(8, 10)
# Around what holds Python's lock most of the time. Calls of OpenCV of some microseconds give that up, and two threads
# that hand it to one another so often make 2 (crop 240) to 5 % (480) fewer pictures a second than one after the other
# (two cores). Taking turns ends at some 10,000 pictures a second.
NUMBERS = threading.Lock()


def crops(
    images: tf.Tensor, masks: tf.Tensor, draws: tf.Tensor, num_classes: int, **sizes: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The crops of n pictures before augmentation; for a graph, as in Dataset.map, which knows n.

    Args:
        images, masks: as records hold them, encoded, string [n].
        draws: of `plan` for each, float32 [n, 2 + 2m].
        num_classes: of the data set.
        sizes: base_size and crop_size, c below.

    Returns:
        uint8 [n, c, c, 3], uint8 [n, c, c], and the plans, int64 [n, 5].
        Raises InvalidArgumentError unless images and masks are sound, of one size, and masks hold classes and IGNORE.
    """
    count, side = images.shape[0], sizes["crop_size"]
    opening = functools.partial(_opened, num_classes=num_classes, **sizes)
    # stateful=False: the functions depend on nothing else, and stateful ones would be kept in order.
    labels, plans, views = tf.numpy_function(
        opening, [images, masks, draws], [tf.uint8, tf.int64, tf.int32], stateful=False
    )
    parts = read(images, tf.ensure_shape(views, [count, 10])[:, WINDOW])
    squares = tf.numpy_function(
        functools.partial(_resampled, side=side), [plans, views, *parts], tf.uint8, stateful=False
    )
    shape = [count, side, side]
    return tf.ensure_shape(squares, [*shape, 3]), tf.ensure_shape(labels, shape), tf.ensure_shape(plans, [count, 5])


def read(images: tf.Tensor, windows: tf.Tensor) -> list[tf.Tensor]:
    """The pixels of encoded images, string [n], in windows of them, int32 [n, 4]: uint8 [h, w, 3] of each.

    They are the very ones of records.decode_image. Of a JPEG only the window is transformed and made RGB: of 2048 x
    1024 pixels a quarter takes 2 ms, all of them 9. What has the window `UNCUT` is decoded whole.
    """

    def pixels(image: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
        part = functools.partial(tf.io.decode_and_crop_jpeg, image, window, channels=3)
        return tf.cond(window[2] > 0, part, functools.partial(records.decode_image, image))

    return [pixels(*pair) for pair in zip(tf.unstack(images), tf.unstack(windows), strict=True)]


def _opened(
    images: np.ndarray, masks: np.ndarray, draws: np.ndarray, *, num_classes: int, **sizes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks' crops, uint8 [n, c, c]; plans, int64 [n, 5]; and of each image int32 [10], see `WINDOW`."""
    side, views = sizes["crop_size"], []
    labels, whole = resample.aligned((len(images), side, side)), [_mask(mask, num_classes) for mask in masks.tolist()]
    # Not in turns: class-balanced crops count pixels for milliseconds, without Python's lock.
    plans = np.stack([plan(*pair, **sizes) for pair in zip(whole, draws, strict=True)])
    with NUMBERS:
        for square, image, mask, numbers in zip(labels, images.tolist(), whole, plans.tolist(), strict=True):
            resample.fill_labels(square, mask, numbers)
            start, end = resample.source_window(mask.shape, numbers[:2], numbers[2:4], side)
            views.append([*window_of(image, mask.shape, start, end), *mask.shape, *start, *end])
    return labels, plans, np.array(views, np.int32)


def _mask(encoded: bytes, num_classes: int) -> np.ndarray:
    """A mask's pixels, uint8 [H, W]; ValueError unless it is an 8-bit grey PNG of classes and IGNORE."""
    check_kind(encoded)
    rows = plain_rows(encoded)
    if not rows.size:
        mask = _by_libpng(encoded)
        check_classes(mask, num_classes)
        return mask
    # Of whole rows, whose filters are a class too: 5 microseconds for 480 x 360 pixels, and 14 without them.
    check_classes(rows, num_classes)
    return rows[:, 1:]


def _by_libpng(mask: bytes) -> np.ndarray:
    """A mask's pixels, uint8 [H, W], as TensorFlow decodes them; ValueError if it cannot."""
    try:
        with tf.device("CPU:0"):
            return records.decode_mask(tf.constant(mask)).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(error.message) from None


def _resampled(plans: np.ndarray, views: np.ndarray, *parts: np.ndarray, side: int) -> np.ndarray:
    """The images' crops, uint8 [n, c, c, 3], given what `_opened` returns and the parts that were decoded."""
    squares = resample.aligned((len(parts), side, side, 3))
    for square, part, planned, view in zip(squares, parts, plans.tolist(), views.tolist(), strict=True):
        window, size = tuple(view[WINDOW]), tuple(view[SIZE])
        if window == UNCUT:  # nobody knew its size
            check_size(part.shape[:2], size)
        resample.fill_image(square, part, window[:2], size, planned, (view[START], view[END]))
    return squares


def window_of(image: bytes, size: tuple[int, int], start: tuple[int, int], end: tuple[int, int]) -> tuple[int, ...]:
    """What to decode of an image for the pixels from start to end: row, column, height, width; or `UNCUT`.

    Args:
        image: encoded.
        size: that it should have, height and width, pixels.
        start, end: rows and columns.

    Raises:
        ValueError: for a JPEG of another size.
    """
    found = _jpeg_size(image)
    if found == NO_FRAME:
        return UNCUT
    check_size(found, size)
    (top, left), (bottom, right), (height, width) = start, end, size
    low = max(top - MARGIN, 0), max(left - MARGIN, 0)
    return *low, min(bottom + MARGIN, height) - low[0], min(right + MARGIN, width) - low[1]


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
