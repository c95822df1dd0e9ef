"""Checks an image file and gives the bytes that go into the record: upright, 8-bit, JPEG or PNG.

All formats are read through Pillow, whose wheels bring WebP and libtiff on every stack: tensorflow-io would read TIFF
on one stack alone, and TensorFlow costs a worker process 3 s and 400 MB.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from data_tools.reading import GREY, RGB, PictureError, decoding, open_picture, png_layout
from kseg.photos import DEPTH_HINT, JPEG_FORMATS, fault, first_frame, orientation, upright

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF")
EXPECTED = "JPEG, PNG, BMP, GIF, WebP or TIFF"
# Quality of JPEG files that must be encoded again (rotated, CMYK or shrunk). At 95 with full colour resolution CamVid's
# frames come back at 50 dB PSNR and 1.14 times their size; as PNG they would be lossless, but 3.8 times as large and
# as much slower to read in every epoch.
JPEG_QUALITY = 95
JPEG_LONGEST = 65500  # pixels a side, of libjpeg
# On CamVid's frames of 480 x 360 level 3 takes 16 ms and 207 kB, level 1 12 ms and 219 kB, Pillow's 6 42 ms and 201 kB.
PNG_LEVEL = 3
ALPHA_NOTE = "transparent pixels: alpha dropped, as serving does"
FRAMES_NOTE = "first of several frames"


@dataclasses.dataclass(frozen=True)
class CheckedImage:
    """An image as it goes into the record.

    Attributes:
        encoded: JPEG or PNG that TensorFlow decodes to uint8 [height, width, 3].
        format: "jpeg" or "png".
        height: pixels, upright, in the record.
        width: pixels, upright, in the record.
        full_size: height and width, upright, before shrinking.
        orientation: the file's EXIF orientation, 1 to 8; 1 = it was stored upright.
        notes: what of the content is not in the record, in constant sentences.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    full_size: tuple[int, int]
    orientation: int
    notes: tuple[str, ...] = ()


def check_image(data: bytes, *, max_side: int | None = None, jpeg_quality: int | None = None) -> CheckedImage:
    """Decodes an image file fully, to find damage, and keeps its bytes wherever TensorFlow reads them the same.

    Kept: upright RGB and grey JPEG; upright 8-bit RGB and grey PNG without transparency; unless they are shrunk.
    Encoded again: other JPEG (rotated, CMYK) as JPEG, all else losslessly as PNG.

    Args:
        data: the file's content.
        max_side: pixels; a longer picture is shrunk to it by area averages.
        jpeg_quality: 1 to 100; everything that is encoded again becomes a JPEG of it, None = as above.

    Raises:
        PictureError: unreadable or truncated; more than 8 bits a channel; too many pixels.
    """
    with decoding(EXPECTED):
        if reason := fault(data):
            raise PictureError(reason)
        image = open_picture(data, FORMATS)
        if image.format in JPEG_FORMATS:
            return _check_jpeg(image, data, max_side, jpeg_quality or JPEG_QUALITY)
        return _check_lossless(image, data, max_side, jpeg_quality)


def shrunk_size(height: int, width: int, max_side: int | None) -> tuple[int, int]:
    """The height and width of a picture of which no side is longer than `max_side`, None = any, in pixels.

    The long side becomes max_side, the other is rounded (half up) and at least 1.
    """
    longest = max(height, width)
    if max_side is None or longest <= max_side:
        return height, width
    return tuple(max(1, (2 * side * max_side + longest) // (2 * longest)) for side in (height, width))


def _check_jpeg(image: Image.Image, data: bytes, max_side: int | None, quality: int) -> CheckedImage:
    turn = orientation(image)
    width, height = image.size
    whole = shrunk_size(height, width, max_side) == (height, width)
    if whole and turn == 1 and image.mode in ("RGB", "L"):
        # At an eighth of the size every coded bit is still read, so damage shows, in half the time: 0.44 ms instead of
        # 0.87 for a frame of 480 x 360.
        image.draft(None, (max(width // 8, 1), max(height // 8, 1)))
        image.load()
        return CheckedImage(data, "jpeg", height, width, (height, width), turn)
    return _encoded_again(first_frame(image)[0], turn, max_side, quality)


def _check_lossless(image: Image.Image, data: bytes, max_side: int | None, quality: int | None) -> CheckedImage:
    layout = png_layout(data) if image.format == "PNG" else None
    if layout and layout[0] == 16:
        raise PictureError(f"16 bits a channel{DEPTH_HINT}")
    # Pillow turns TIFF upright as it loads it; of PNG it knows the orientation only then.
    stored_turn = orientation(image) if image.format == "TIFF" else 1
    frames = FRAMES_NOTE if getattr(image, "is_animated", False) and image.format != "PNG" else None
    pixels, hidden = first_frame(image)
    turn = orientation(image)
    width, height = image.size
    whole = shrunk_size(height, width, max_side) == (height, width)
    if whole and layout in ((8, GREY), (8, RGB)) and turn == 1 and "transparency" not in image.info:
        return CheckedImage(data, "png", height, width, (height, width), turn)
    checked = _encoded_again(pixels, turn, max_side, quality)
    notes = tuple(note for note in (frames, ALPHA_NOTE if hidden else None) if note)
    return dataclasses.replace(checked, orientation=max(turn, stored_turn), notes=notes)


def _encoded_again(image: Image.Image, turn: int, max_side: int | None, quality: int | None) -> CheckedImage:
    """Mode "L" or "RGB", as stored -> upright, shrunk, without metadata; JPEG of a quality, or PNG."""
    image = upright(image, turn)
    full_size = (image.height, image.width)
    size = shrunk_size(*full_size, max_side)
    if size != full_size:
        image = Image.fromarray(_area_averages(np.asarray(image), *size))
    image.info = {}  # else saved along: ICC profile, transparent colour, comment
    if quality is not None and max(size) > JPEG_LONGEST:
        raise PictureError(
            f"{size[1]} x {size[0]} pixels, but a JPEG's longest side is {JPEG_LONGEST}; leave --jpeg_quality out, or "
            "give --max_side"
        )
    image_format, options = "PNG", {"compress_level": PNG_LEVEL}
    if quality is not None:
        image_format, options = "JPEG", {"quality": quality, "subsampling": 0}
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return CheckedImage(buffer.getvalue(), image_format.lower(), *size, full_size, turn)


def _area_averages(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """uint8 [H, W] or [H, W, 3] -> uint8 [height, width] or [height, width, 3], smaller, rounded half up.

    Every pixel counts by the share of it that an output pixel covers, as in tf.image.resize's "area" and OpenCV's
    INTER_AREA. Pillow's BOX counts pixels whole or not at all: from 480 to 256 columns single values differ by 56.
    """
    area = pixels.shape[0] * pixels.shape[1]
    by_row = np.ascontiguousarray(_covered(pixels, height).swapaxes(0, 1))
    return np.floor(_covered(by_row, width).swapaxes(0, 1) / area + 0.5).astype(np.uint8)


def _covered(values: np.ndarray, count: int) -> np.ndarray:
    """[N, ...] -> [count, ...]: sums over what every count-th part of axis 0 covers, in units of 1 / count.

    Sums of whole numbers, exact in floating point whatever their order: the bytes of a shard must not depend on the
    number of threads. 255 x 65793 still fits float32; beyond, and for the second axis, float64.
    """
    size = len(values)
    exact = np.float32 if values.dtype == np.uint8 and 255 * size < 2**24 else np.float64
    lines = values.reshape(size, -1)
    sums = np.empty((count, lines.shape[1]), exact)
    for index in range(count):
        start, end = index * size, (index + 1) * size
        first, last = start // count, -(-end // count)
        shares = np.full(last - first, count, exact)
        shares[0] = min(end, (first + 1) * count) - start
        if last - first > 1:
            shares[-1] = end - (last - 1) * count
        np.dot(shares, lines[first:last].astype(exact), out=sums[index])
    return sums.reshape(count, *values.shape[1:])
