"""The pixels of a crop, by OpenCV and NumPy: called from the input's graph through tf.numpy_function.

Importing this makes OpenCV run on the calling thread alone, in the whole process: the input has its own threads, and
OpenCV's beside them would only take turns with them.
"""

import functools
import math

import cv2
import numpy as np

from kseg.labels import IGNORE

cv2.setNumThreads(1)

# Scales below 1/4 are halved first, up to this often: down to 1/256.
HALVINGS = 6
# How far the grid of a resized window may lie from that of the resized picture: 1/256 of a pixel of the crop.
OFF_GRID = 256
# tf.numpy_function takes an array over without a copy if it begins at a multiple of this (EIGEN_MAX_ALIGN_BYTES).
ALIGNMENT = 64


def halvings(size: int, scaled: int) -> int:
    """How often a side of `size` pixels is halved before it is scaled to `scaled`: 0 from a scale of 1/4 on."""
    return min(max(((size - 1) // (2 * scaled)).bit_length() - 1, 0), HALVINGS)


def span(size: int, scaled: int, origin: int, side: int) -> tuple[int, int]:
    """The source pixels, from start to end, that `side` pixels of a scaled picture from `origin` on depend on."""
    fold = halvings(size, scaled)
    unit = 1 << fold
    last = min(origin + side, scaled)
    # Pixel x lies at (x + 1/2) / scale - 1/2 of the halved picture, between two; the prefilter sees more of them.
    reach = len(_prefilter(size, scaled, fold)) // 2
    first = (2 * origin + 1) * size // (2 * scaled * unit) - 1 - reach
    end = (2 * last - 1) * size // (2 * scaled * unit) + 2 + reach
    return max(first, 0) * unit, min(end * unit, size)


def source_window(
    size: tuple[int, int], scaled: tuple[int, int], origin: tuple[int, int], side: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """`span` of height and of width: where the window starts and where it ends, (row, column) each."""
    (top, bottom), (left, right) = (span(*axis, side) for axis in zip(size, scaled, origin, strict=True))
    return (top, left), (bottom, right)


def crop(image: np.ndarray, mask: np.ndarray, plan: np.ndarray, *, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A square of a picture and of its mask, both scaled; black and IGNORE beyond their edges.

    Equivalent: PIL's Image.resize, BILINEAR (which antialiases) for the image and NEAREST for the mask, then crop.
    From scale 1 on, images differ from it by at most 2, since PIL rounds between the two axes and the pixels' places
    are exact to 1/256; below 1 the filter has PIL's variance, and its form at 1/2. Masks are equal but for pixels that
    lie exactly between two.

    Args:
        image, mask: uint8 [H, W, 3] and [H, W], whole.
        plan: int64 [5]: height and width of the scaled picture, top and left of the square in it (0 to them - 1), and
            1 to mirror the square left to right, padding included.
        side: of the square, pixels.

    Returns:
        uint8 [side, side, 3] and uint8 [side, side].
    """
    numbers, square, labels = plan.tolist(), aligned((side, side, 3)), aligned((side, side))
    fill_image(square, image, [0, 0], mask.shape, numbers, source_window(mask.shape, numbers[:2], numbers[2:4], side))
    fill_labels(labels, mask, numbers)
    return square, labels


def fill_image(
    image: np.ndarray, pixels: np.ndarray, place: list[int], size: tuple[int, int], plan: list[int], window: tuple
) -> None:
    """Fills the image of a `crop`, uint8 [side, side, 3], from a part of the picture.

    Args:
        image: to be filled.
        pixels: uint8 [h, w, 3], a part that holds the window.
        place: where that part begins, row and column.
        size: of the picture, height and width.
        plan: of `crop`, five numbers.
        window: the `source_window`, (top, left) and (bottom, right).
    """
    *numbers, flip = plan
    scaled, origin, (start, end), side = numbers[:2], numbers[2:], window, len(image)
    pixels = pixels[start[0] - place[0] : end[0] - place[0], start[1] - place[1] : end[1] - place[1]]
    shown = tuple(min(side, extent - first) for extent, first in zip(scaled, origin, strict=True))
    if min(shown) < side:
        image[...] = 0
    axes = list(zip(size, scaled, origin, strict=True))
    _resample(pixels, start, axes, shown, flip, _showing(image, shown, flip))


def fill_labels(labels: np.ndarray, mask: np.ndarray, plan: list[int]) -> None:
    """Fills the labels of a `crop`, uint8 [side, side], of a mask, uint8 [H, W], whole; plan: five numbers."""
    *numbers, flip = plan
    side = len(labels)
    visible = visible_mask(mask, numbers[:2], numbers[2:], side, flip)
    width, height = visible.shape
    if min(width, height) < side:
        labels[...] = IGNORE
    cv2.transpose(visible, _showing(labels, (height, width), flip))


def _showing(square: np.ndarray, shown: tuple[int, int], flip: int) -> np.ndarray:
    """The part of a square that shows the picture, height and width `shown`: at its right if it is mirrored."""
    height, width = shown
    return square[:height, -width:] if flip else square[:height, :width]


def _resample(window: np.ndarray, start: tuple, axes: list, shown: tuple, flip: int, out: np.ndarray) -> None:
    """Fills `out`, uint8 [h, w, 3], with the image's part of a crop.

    PIL's filter is a triangle that reaches 1 / scale source pixels to either side. From scale 1 on that is bilinear
    interpolation. Below 1 it is here a prefilter and then bilinear interpolation: of the triangle's variance, and
    exactly the triangle where 1 / scale is whole.
    """
    folds = [halvings(size, scaled) for size, scaled, _ in axes]
    if any(folds):
        window = _halved(window, folds)
    kernels = [_prefilter(size, scaled, fold) for (size, scaled, _), fold in zip(axes, folds, strict=True)]
    if any(len(kernel) > 1 for kernel in kernels):
        # Mirrored about the edge pixel at the picture's edges: nearest to PIL, which leaves out what lies beyond.
        across, down = (np.array(kernel, np.float32) / 256 for kernel in reversed(kernels))
        window = cv2.sepFilter2D(window, -1, across, down, borderType=cv2.BORDER_REFLECT_101)

    grids = [_grid(first >> fold, *axis, fold) for first, axis, fold in zip(start, axes, folds, strict=True)]
    margin = [(first >> fold) - begin for first, fold, (begin, _, _) in zip(start, folds, grids, strict=True)]
    if any(margin):
        # What stands before the window is resized too and not used: nobody needs to fill it.
        canvas = np.empty((window.shape[0] + margin[0], window.shape[1] + margin[1], 3), np.uint8)
        canvas[margin[0] :, margin[1] :] = window
        window = canvas
    (_, scale_y, top), (_, scale_x, left) = grids
    window = _that_is_resized(window, axes, (scale_y, scale_x))
    resized = cv2.resize(window, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_LINEAR)
    part = resized[top : top + shown[0], left : left + shown[1]]
    if flip:
        cv2.flip(part.reshape(out.shape), 1, out)  # of another shape OpenCV would fill an array of its own
    else:
        out[...] = part


def _that_is_resized(window: np.ndarray, axes: list, scales: tuple[float, float]) -> np.ndarray:
    """The window, larger if need be: cv2.resize copies where the rounded size is the input's, whatever the scale."""
    extents = window.shape[:2]
    if scales == (1.0, 1.0) or any(
        round(extent * scale) != extent for extent, scale in zip(extents, scales, strict=True)
    ):
        return window
    # `size` pixels become another number, as |scaled - size| >= 1; only scales near 1 come here, so no halved axes.
    more = [size if scale != 1 else 0 for (size, _, _), scale in zip(axes, scales, strict=True)]
    return cv2.copyMakeBorder(window, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)


def _halved(window: np.ndarray, folds: list[int]) -> np.ndarray:
    """Means of 2^folds pixels along each axis; the edge pixel is repeated where the picture ends between."""
    missing = [-extent % (1 << fold) for extent, fold in zip(window.shape, folds, strict=False)]
    if any(missing):
        window = cv2.copyMakeBorder(window, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    return cv2.resize(window, None, fx=0.5 ** folds[1], fy=0.5 ** folds[0], interpolation=cv2.INTER_AREA)


@functools.lru_cache(512)  # a crop's window and, some 64 crops later, the crop ask for the same
def _prefilter(size: int, scaled: int, fold: int) -> tuple[int, ...]:
    """What to filter a side with before interpolating: an odd number of 256ths, in pixels after halving.

    Interpolating after a discrete triangle of whole half-width n is PIL's triangle of half-width n (B-spline
    refinement); the discrete one has the variance (n^2 - 1) / 6. Between two whole numbers it is the mixture of the two
    triangles that has the variance between: for scales from 1/2 to 1 [a, 1 - 2a, a] with a = (1 / scale^2 - 1) / 12.
    Numbers, since a side has few: 4 microseconds where NumPy takes 50.
    """
    # The means of `fold` halvings have the variance (1 - 1 / 4^fold) / 12 already.
    square = max((size / (scaled << fold)) ** 2 - (1 - 0.25**fold) / 2, 1.0)
    whole = math.isqrt(int(square))
    share = (square - whole**2) / (2 * whole + 1)
    # OpenCV filters bytes with 256ths; rounded here, so that they sum to 1.
    half = [
        round(256 * ((1 - share) * max(whole - place, 0) / whole**2 + share * (whole + 1 - place) / (whole + 1) ** 2))
        for place in range(whole, 0, -1)
    ]
    if half[0] == 0:
        half = half[1:]
    return *half, 256 - 2 * sum(half), *reversed(half)


def _grid(start: int, size: int, scaled: int, origin: int, fold: int) -> tuple[int, float, int]:
    """Where resizing has to begin for its pixels to be those of the whole picture resized.

    cv2.resize puts its first pixel half a pixel from where it begins, so that beginning at source pixel w only gives
    the whole picture's pixels if w x scale is a whole number. It is at 0; the last w before `start` for which it is,
    to 1/256, has less to resize.

    Args:
        start: of the window, pixels after halving.
        size, scaled, origin: of the picture, the scaled picture and the crop.
        fold: halvings.

    Returns:
        (w, scale, where the crop begins in the resized pixels)
    """
    step = scaled << fold  # w x step / size is the pixel of the scaled picture at which w begins
    off = size // OFF_GRID  # w x step may lie so far from a multiple of size
    begin = start - _first_within(-step, size, -off - start * step, 2 * off)
    return begin, step / size, origin - (2 * begin * step + size) // (2 * size)


def _first_within(factor: int, modulus: int, low: int, extent: int) -> int:
    """The smallest x >= 0 for which (factor * x - low) % modulus <= extent; there has to be one.

    Euclid's algorithm: of the x at which factor * x has gone round once more, which one it is has the same form.
    """
    factor, low = factor % modulus, low % modulus
    if low == 0 or low + extent >= modulus:
        return 0
    if 2 * factor > modulus:  # the other way round, which goes round less often
        return _first_within(-factor, modulus, -low - extent, extent)
    x = -(-low // factor)
    if factor * x <= low + extent:
        return x
    rounds = _first_within(-modulus, factor, low, extent)
    return -(-(low + modulus * rounds) // factor)


def visible_mask(
    mask: np.ndarray, scaled: tuple[int, int], origin: tuple[int, int], side: int, flip: int = 0
) -> np.ndarray:
    """What a crop shows of the scaled mask, `nearest` pixels, transposed and without padding.

    Args:
        mask: uint8 [H, W], whole.
        scaled, origin, side: height and width of the scaled mask, top and left of the crop in it, and its side, pixels.
        flip: 1 to mirror it left to right.

    Returns:
        uint8 [w, h], w and h up to side.
    """
    rows, columns = (
        nearest(size, extent, first, min(side, extent - first))
        for size, extent, first in zip(mask.shape, scaled, origin, strict=True)
    )
    # Columns as rows of the transpose, since whole rows are copied at once: 0.09 ms against 0.24 ms at 480 pixels.
    low, high = int(columns[0]), int(columns[-1]) + 1
    taken = cv2.transpose(mask[rows[0] : rows[-1] + 1, low:high].take(rows - rows[0], axis=0))
    return taken.take((columns[::-1] if flip else columns) - low, axis=0)


def nearest(size: int, scaled: int, origin: int, count: int) -> np.ndarray:
    """The source pixels nearest to `count` pixels of a scaled side from `origin` on, int64 [count]."""
    # Integers, since (x + 0.5) / scale in floats falls on either side of a whole number at scales such as 1.5.
    return (2 * np.arange(origin, origin + count, dtype=np.int64) + 1) * size // (2 * scaled)


def aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An unfilled uint8 array that tf.numpy_function hands on without a copy."""
    count = math.prod(shape)
    buffer = np.empty(count + ALIGNMENT, np.uint8)
    offset = -buffer.ctypes.data % ALIGNMENT
    return buffer[offset : offset + count].reshape(shape)
