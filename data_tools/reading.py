"""Bytes -> Pillow picture, with all the ways in which a file can be no picture told as one error."""

import contextlib
import io
import os
import re
import stat
import warnings
import zlib
from collections.abc import Iterator

from PIL import Image

from kseg.photos import JPEG_FORMATS, TIFF_MAGIC, UNREADABLE

# Any marker but stuffed zeros and restarts, which stand inside a scan.
JPEG_MARKER, JPEG_SCAN, JPEG_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]"), 0xDA, 0xD9
SIGNATURES = {  # what a file of each format starts with
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "GIF": (b"GIF87a", b"GIF89a"),
    "WEBP": (b"RIFF",),
    "TIFF": TIFF_MAGIC,
    "BMP": (b"BM",),
}
CRITICAL = (b"IHDR", b"PLTE", b"IDAT")
GREY, RGB, PALETTE = 0, 2, 3  # PNG colour types
PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # allowed by colour type
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, and steps, of the passes of an interlaced PNG.
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
INFLATED_AT_ONCE = 2**16  # bytes
LARGEST = 2**30  # bytes a file; the most pixels that are decoded, 178 956 970, take 0.7 GB even uncompressed with alpha
LONGEST = 1_000_000  # pixels a side; libpng in TensorFlow decodes no longer ones (PNG_USER_WIDTH_MAX)


class PictureError(ValueError):
    """A picture cannot go into a data set; the message says what was found and what is expected, not the file."""


def read_file(path: str) -> bytes:
    """The content of a file, local or remote.

    Raises:
        PictureError: if it cannot be read or is empty.
    """
    if "://" in path:
        # Importing kseg.storage brings TensorFlow, 3 s and 400 MB a worker process: only remote paths pay that.
        from kseg import storage
        from kseg.errors import RunError

        try:
            data = storage.read_bytes(path)
        except RunError as error:
            raise PictureError(str(error).removeprefix(f"{path}: ")) from None
    else:
        data = _read_local(path)
    if not data:
        raise PictureError("an empty file; expected a picture")
    return data


def _read_local(path: str) -> bytes:
    try:
        # Without O_NONBLOCK, opening a named pipe waits for somebody to write into it.
        with open(path, "rb", opener=lambda name, mode: os.open(name, mode | os.O_NONBLOCK)) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PictureError("not a regular file (a pipe, socket or device); expected a picture")
            if status.st_size > LARGEST:
                raise PictureError(f"{status.st_size} bytes; expected at most {LARGEST}: cut the picture into tiles")
            return file.read()
    except PictureError:
        raise
    except OSError as error:
        raise PictureError(f"cannot be read ({error.strerror})") from None
    except ValueError as error:  # a name, of a manifest, that no file can have: a null character, half a surrogate pair
        raise PictureError(f"cannot be read ({error})") from None


@contextlib.contextmanager
def decoding(expected: str) -> Iterator[None]:
    """Turns what Pillow raises inside the block into a PictureError; `expected` names the formats allowed."""
    try:
        with warnings.catch_warnings():
            # Of damaged EXIF blocks, which change no pixel, and of more than 89 million pixels: aerial pictures have
            # them. Twice as many are an error, see below.
            warnings.simplefilter("ignore")
            yield
    except PictureError:
        raise
    except Image.DecompressionBombError:
        limit = 2 * Image.MAX_IMAGE_PIXELS
        raise PictureError(
            f"its header claims more than {limit} pixels, the most that is decoded; cut the picture into tiles"
        ) from None
    except Image.UnidentifiedImageError:
        raise PictureError(f"not a readable picture; expected {expected}") from None
    except UNREADABLE as error:
        what = " ".join(str(error).split())  # on one line
        raise PictureError(f"truncated or damaged ({what}); expected a whole {expected}") from None


def open_picture(data: bytes, formats: tuple[str, ...]) -> Image.Image:
    """Reads the header, whatever the file's extension says. Call inside `decoding`, and `load()` the result.

    Checks here what Pillow's load() does not and TensorFlow does, or a record would fail in the middle of a training:
    a PNG's chunks, their checksums and rows, and that a JPEG has its end marker.

    Raises:
        PictureError: for one of these; a side too long; a header that cannot be read; else as Pillow.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
    except Image.UnidentifiedImageError:
        claimed = next((name for name in formats if data.startswith(SIGNATURES.get(name, ()))), None)
        if claimed is None:
            raise
        known = " or of a kind that is not read (expected 1, 3 or 4 channels of 8 bits)" if claimed == "TIFF" else ""
        raise PictureError(f"truncated or damaged (its {claimed} header cannot be read){known}") from None
    fault = None
    if image.format == "PNG":
        fault = _png_fault(data)
    elif image.format in JPEG_FORMATS and not _jpeg_ends(data):
        fault = "no end marker"
    if max(image.size) > LONGEST:
        raise PictureError(f"{image.width} x {image.height} pixels; expected at most {LONGEST} a side")
    if image.format == "PNG" and not fault:
        image.load()
        fault = "rows are missing" if _png_lacks_rows(image, data) else None
    if fault:
        raise PictureError(f"truncated or damaged ({fault}); expected a whole {image.format}")
    return image


def _png_fault(data: bytes) -> str | None:
    """What is wrong with the chunks of a PNG (RFC 2083, 3 and 4), None if nothing.

    Finds what libpng in TensorFlow refuses and Pillow reads in some way: it does without a palette or the last
    checksum, takes the last of two headers, and passes over chunks that must be understood.
    """
    if data[12:16] != b"IHDR" or int.from_bytes(data[8:12], "big") != 13:
        return "no header"
    bits, color_type = png_layout(data)
    if bits not in PNG_BITS.get(color_type, ()) or data[26:28] != b"\0\0" or data[28] > 1:
        return f"a header of {bits} bits, colour type {color_type}, methods {', '.join(map(str, data[26:29]))}"
    seen, before = set(), None
    for kind, at, end in _png_chunks(data):
        if zlib.crc32(data[at - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"a wrong checksum of its chunk {kind!r}"
        if kind == b"IEND":
            needed = {b"IDAT", b"PLTE"} if color_type == PALETTE else {b"IDAT"}
            return None if needed <= seen else "no palette or no pixels"
        if kind == b"PLTE" and ((end - at) % 3 or not 0 < end - at <= 768 or {b"PLTE", b"IDAT"} & seen):
            return "a palette of a wrong size or in a wrong place"
        if kind == b"fcTL" and b"IDAT" not in seen and data[at + 4 : at + 20] != data[16:24] + bytes(8):
            return "an animation's first frame of another size"
        if kind == b"IDAT" and kind in seen and before != kind:
            return "pixels in two places"
        if not kind.isalpha() or (kind[0] < ord("a") and (kind not in CRITICAL or (kind == b"IHDR") == bool(seen))):
            return f"a chunk {kind!r} that does not belong there"
        seen.add(kind)
        before = kind
    return "no end marker"


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each chunk."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at + 8, end
        at = end + 4


def _png_lacks_rows(image: Image.Image, data: bytes) -> bool:
    """Whether the compressed pixels of a PNG, of sound chunks, end before the picture does.

    Pillow leaves such rows zero, which in a mask is a class. To inflate a mask of 480 x 360 a second time costs 0.25 ms
    of 1.1, so that is done only where the last row is all zeros.
    """
    width, height = image.size
    if not data[28] and image.crop((0, height - 1, width, height)).tobytes().strip(b"\0"):
        return False
    bits, color_type = png_layout(data)
    depth = bits * PNG_CHANNELS[color_type]
    passes = ADAM7 if data[28] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - left) // right), -(-(height - top) // down)) for left, top, right, down in passes)
    lacking = sum(rows * (1 + -(-columns * depth // 8)) for columns, rows in sizes if columns > 0 and rows > 0)
    stream = zlib.decompressobj()
    for kind, at, end in _png_chunks(data):
        part = data[at:end] if kind == b"IDAT" else b""
        while part and lacking > 0 and not stream.eof:
            lacking -= len(stream.decompress(part, INFLATED_AT_ONCE))
            part = stream.unconsumed_tail
    return lacking > 0


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG has a scan and behind it the end marker (ITU-T T.81, B.1.1).

    Walks from marker to marker: thumbnails inside the header have scans and ends of their own, and behind the end may
    stand anything (a phone's short film, a maker's data). Of a file whose first picture has lost its scan, Pillow would
    read the next.
    """
    at, scanned = 2, False
    while found := JPEG_MARKER.search(data, at):
        marker = data[found.end() - 1]
        if marker == JPEG_END:
            return scanned
        scanned |= marker == JPEG_SCAN
        at = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return False


def png_layout(data: bytes) -> tuple[int, int]:
    """Bits a channel and colour type from the header of a PNG (RFC 2083, 4.1.1): Pillow's modes hide both."""
    return data[24], data[25]
