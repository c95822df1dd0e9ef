"""Which part of a picture a crop shows: numbers, worked out before anything is resampled."""

import cv2
import numpy as np

from kseg.data import resample
from kseg.labels import IGNORE

# The long side is scaled to base_size times a number between these.
SCALES = (np.float32(0.5), np.float32(2.0))


def plan(mask: np.ndarray, draws: np.ndarray, *, base_size: int, crop_size: int) -> np.ndarray:
    """The scale and the place of a training crop, for `resample.crop`; see `transforms.training_crop`.

    Args:
        mask: uint8 [H, W].
        draws: float32 [2 + 2n], U(0, 1) below 1: of scale, top, left and mirroring, then of more tops and lefts; of
            several places the first that is balanced, see `balanced_origin`.
        base_size, crop_size: pixels.

    Returns:
        int64 [5]: height and width of the scaled picture, top and left of the square in it, 1 to mirror it.
    """
    low, high = SCALES
    # In float32, as the draws are: the same crops wherever, and as those of a graph of TensorFlow's.
    long_side = int(np.float32(base_size) * (low + (high - low) * draws[0]) + np.float32(0.5))
    scaled = tuple(_scaled(extent, max(mask.shape), long_side) for extent in mask.shape)
    # Draws are multiples of 2^-23 below 1, so that draw x room, rounded to float32, is still below room.
    room = np.array([max(extent - crop_size, 0) + 1 for extent in scaled], np.float32)
    places = np.concatenate([draws[1:3], draws[4:]]).reshape(-1, 2)
    origins = (places * room).astype(np.int64).tolist()
    origin = origins[0] if len(origins) == 1 else balanced_origin(mask, scaled, origins, crop_size)
    return np.array([*scaled, *origin, draws[3] < 0.5], np.int64)


def central_plan(mask: np.ndarray, *, crop_size: int) -> np.ndarray:
    """The scale and the place of `transforms.evaluation_crop`: uint8 [H, W] -> as `plan`."""
    scaled = [_scaled(extent, min(mask.shape), crop_size) for extent in mask.shape]
    return np.array([*scaled, *((extent - crop_size) // 2 for extent in scaled), 0], np.int64)


def _scaled(extent: int, side: int, target: int) -> int:
    """`extent` x target / side, rounded half up, at least 1 pixel."""
    return max((2 * extent * target + side) // (2 * side), 1)


def balanced_origin(mask: np.ndarray, scaled: tuple[int, int], origins: list[list[int]], crop_size: int) -> list[int]:
    """The first place at which at most 75 % of a crop's labelled pixels are one class; the last place if none is.

    A crop without labelled pixels is not balanced. Equivalent: RandomCrop of mmsegmentation with cat_max_ratio 0.75,
    save that it wants less than 75 % and draws up to eleven times.

    Args:
        mask: uint8 [H, W].
        scaled: height and width of the scaled picture, pixels.
        origins: [top, left] in the scaled picture, in the order to try, pixels.
        crop_size: pixels.

    Returns:
        One of `origins`.
    """
    *first, last = origins
    # A picture that fits into the crop has one place: nothing to look for.
    if all(origin == last for origin in first):
        return last
    return next((origin for origin in first if _is_balanced(mask, scaled, origin, crop_size)), last)


def _is_balanced(mask: np.ndarray, scaled: tuple[int, int], origin: list[int], crop_size: int) -> bool:
    # By OpenCV, which counts without Python's lock and in floats (exact to 2^24): 480 x 480 pixels on two threads in
    # 0.4 ms, where np.bincount takes 1.1 on any number of them.
    counts = cv2.calcHist([resample.visible_mask(mask, scaled, origin, crop_size)], [0], None, [256], [0, 256])
    labelled = counts.ravel()[:IGNORE].astype(np.int64)
    return 0 < 4 * int(labelled.max()) <= 3 * int(labelled.sum())
