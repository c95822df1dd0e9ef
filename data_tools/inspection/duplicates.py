"""Images that are there twice: copies that were compressed anew, resized, brightened or mirrored."""

import functools
import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageChops

# What `alike` compares. Frames of a standing camera are the hard case: in CamVid a car waits at a light, and frames a
# second apart correlate as well as a copy of quality 75 does. What tells them apart is the strongest difference left
# at one place once brightness and contrast are matched, in grey levels at 64 x 64:
#   CamVid's closest frames (701, all pairs)   12.9, 13.9, 16.1
#   a copy of JPEG quality 75 / 50              1.2 / 2.1     (101 of CamVid's frames, the worst of each)
#   resized to 75 % / to 50 % and quality 75    2.0 / 3.1
#   brightened by 10 % / 20 % and quality 75    1.6 / 2.2
#   contrast + 15 %, gamma 0.8                  7, 9          (91 and 27 of the 101 are found)
#   cropped by 4 of 480 pixels                 96 (not found, nor are copies resized without smoothing: 29)
SIDE = 64
COARSE = 16
SATURATED = 250  # a pixel with a channel from here on may have been clipped: its cell is not compared
ALIKE = 0.98  # correlation at 16 x 16 below which nothing is compared more closely; the copies above have 0.989
# Grey levels, by cells a side. Of images below DETAILED pixels the cells of 64 x 64 are hardly more than pixels, and
# a copy resized to 75 % differs by 9 (made-up scenes of 136 x 152). They are compared at 32 x 32, where it differs by
# 1.4, one of 50 % by 2.4, and CamVid's closest frames by 5.0, 7.8, 9.7; below half of DETAILED at 16 x 16.
DIFFERENCE = {64: 6.0, 32: 3.5, 16: 3.0}
DETAILED = 224
RELATIVE_DIFFERENCE, LEAST_DIFFERENCE = 0.15, 2.5  # of the contrast, for dull images; what compression does at least
FLAT = 1.5  # grey levels of standard deviation: an image below has nothing to compare
CLEAR_SHARE = 0.25  # of the cells that must be comparable
NEIGHBOURS = 16  # of an image that are compared closely, the most alike: a film of a wall must not take n^2 steps
BLOCK = 1024  # rows of the table of correlations at a time: 80 MB for 20,000 images
Box = tuple[float, float, float, float]  # left, top, right, bottom


def opened(encoded: bytes, side: int) -> tuple[Image.Image, Box]:
    """A picture that TensorFlow would decode -> RGB, a JPEG at a fraction of its size of no less than `side` pixels.

    Returns:
        the image and the part of it that is the picture: half of 575 rows are 287.5, and half a row of shift makes a
        copy another picture.
    """
    image = Image.open(io.BytesIO(encoded))
    drafted = image.draft("RGB", (side, side))
    return image.convert("RGB"), drafted[1] if drafted else (0, 0, *image.size)


def thumbnail(image: Image.Image, box: Box) -> bytes:
    """What `alike` compares of an RGB image, of which the picture is `box`.

    Returns:
        Grey uint8 [64, 64], a bit a cell that is set where a pixel is saturated, and a byte: cells a side to compare.
    """
    size = (SIDE, SIDE)
    grey = image.convert("L").resize(size, Image.Resampling.BILINEAR, box)
    brightest = functools.reduce(ImageChops.lighter, image.split())  # in numpy three times as slow
    clipped = brightest.point([255 * (level <= 1 or level >= SATURATED) for level in range(256)])
    share = clipped.resize(size, Image.Resampling.BILINEAR, box)
    shorter = min(image.size)
    cells = SIDE if shorter >= DETAILED else SIDE // 2 if shorter >= DETAILED // 2 else SIDE // 4
    return grey.tobytes() + np.packbits(np.asarray(share) > 0).tobytes() + bytes([cells])


def contrast(packed: bytes) -> float:
    """Standard deviation of a thumbnail, grey levels."""
    return float(_cells(packed)[0].std())


def alike(thumbnails: Sequence[bytes]) -> list[tuple[int, int, bool]]:
    """Pairs of images that are copies of each other.

    20,000 mixtures of CamVid's frames take 12 s on one core, 300 MB with the thumbnails; 65 s if all were alike.

    Returns:
        (first, second, whether mirrored), sorted; flat images are in none. Of each image the 16 most alike of those
        that follow are looked at.
    """
    pairs = set()
    coarse = _coarse(thumbnails)
    mirrored = coarse.reshape(-1, COARSE, COARSE)[:, :, ::-1].reshape(coarse.shape)
    for is_mirrored, other in ((False, coarse), (True, mirrored)):
        for first, second in _candidates(coarse, other):
            if (first, second, False) not in pairs and _is_copy(thumbnails[first], thumbnails[second], is_mirrored):
                pairs.add((first, second, is_mirrored))
    return sorted(pairs)


def _coarse(thumbnails: Sequence[bytes]) -> np.ndarray:
    """Float32 [N, 256] of mean 0 and length 1, so that a product is a correlation; 0 for flat images."""
    coarse = np.zeros((len(thumbnails), COARSE * COARSE), np.float32)
    for index, packed in enumerate(thumbnails):
        cells = _cells(packed)[0]
        if cells.std() < FLAT:
            continue
        small = _averaged(cells, COARSE).ravel()
        small -= small.mean()
        coarse[index] = small / max(np.linalg.norm(small), 1e-6)
    return coarse


def _candidates(coarse: np.ndarray, other: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs (first, second), first < second, that correlate well."""
    for start in range(0, len(coarse), BLOCK):
        table = coarse[start : start + BLOCK] @ other[start:].T
        rows, columns = np.nonzero(table >= ALIKE)
        later = columns > rows
        rows, columns = rows[later], columns[later]
        bounds = np.searchsorted(rows, np.arange(len(table) + 1))
        for row in np.unique(rows).tolist():
            near = columns[bounds[row] : bounds[row + 1]]
            best = near[np.argsort(-table[row, near], kind="stable")[:NEIGHBOURS]]
            yield from ((start + row, start + column) for column in best.tolist())


def _cells(packed: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Grey float32 [64, 64], and which cells are comparable, bool [64, 64]."""
    data = np.frombuffer(packed, np.uint8)
    clear = np.unpackbits(data[SIDE * SIDE : -1]).reshape(SIDE, SIDE) == 0
    return data[: SIDE * SIDE].reshape(SIDE, SIDE).astype(np.float32), clear


def _averaged(cells: np.ndarray, count: int) -> np.ndarray:
    """[64, 64] -> means, [count, count]."""
    return cells.reshape(count, SIDE // count, count, SIDE // count).mean((1, 3))


def _is_copy(first: bytes, second: bytes, mirrored: bool) -> bool:
    """Whether a cubic from one's brightness to the other's leaves no strong difference anywhere."""
    (one, clear_one), (two, clear_two) = _cells(first), _cells(second)
    if mirrored:
        two, clear_two = two[:, ::-1], clear_two[:, ::-1]
    count = min(first[-1], second[-1])
    one, two, clear = _averaged(one, count), _averaged(two, count), _averaged(clear_one & clear_two, count) == 1
    if clear.mean() < CLEAR_SHARE:
        return False
    x, y = one[clear].astype(np.float64) / 255, two[clear].astype(np.float64)
    powers = np.stack([np.ones_like(x), x, x * x, x**3])
    curve = np.linalg.lstsq(powers @ powers.T, powers @ y, rcond=None)[0]
    limit = min(DIFFERENCE[count], max(LEAST_DIFFERENCE, RELATIVE_DIFFERENCE * float(y.std())))
    return float(np.abs(y - curve @ powers).max()) <= limit
