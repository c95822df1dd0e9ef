"""Checks a mask file and gives the grey PNG that goes into the record: pixel value = class, 255 = ignore."""

import dataclasses
import struct
import zlib

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_tools import mask_faults
from data_tools.encoding import COLOR, REFUSE, UNMAPPED, Encoding, color_classes, value_classes
from data_tools.images import shrunk_size
from data_tools.mask_faults import ALPHA_TYPES, EXPECTED, RGB_TYPES
from data_tools.reading import GREY, PALETTE, PictureError, decoding, open_picture, png_layout
from kseg.labels import IGNORE
from kseg.photos import orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LEVEL = 3  # of zlib
PIXELS_AT_ONCE = 65536  # colours looked up; 1.6 ms for 2048 x 1024 where all at once take 4.9 and 16 MB more
UNMAPPED_NOTE = "values or colours of no class: set to 255"


@dataclasses.dataclass(frozen=True)
class RawMask:
    """A mask file as it is, before any meaning is given to its values.

    Attributes:
        kind: "8-bit grey", "palette" (of any depth), "RGB", "RGBA", "grey with alpha", "1-bit grey", "2-bit grey",
            "4-bit grey", "16-bit grey", "16-bit RGB", "16-bit RGBA" or "16-bit grey with alpha".
        height: pixels.
        width: pixels.
        values: uint8 or (16-bit grey) uint16 [H, W]: grey values as stored, 0 and 1 if of 1 bit, or palette indices;
            None for colours and for 16-bit grey with alpha.
        rgb: uint8 [H, W, 3] for RGB and RGBA, else None.
        palette: uint8 [n, 3], n <= 256, for a palette, else None.
        alpha_opaque: whether no pixel is transparent; always True for grey without alpha.
    """

    kind: str
    height: int
    width: int
    values: np.ndarray | None
    rgb: np.ndarray | None
    palette: np.ndarray | None
    alpha_opaque: bool


@dataclasses.dataclass(frozen=True)
class CheckedMask:
    """A mask as it goes into the record.

    Attributes:
        encoded: 8-bit grey PNG of class numbers.
        height: pixels, in the record.
        width: pixels, in the record.
        full_size: height and width before shrinking.
        histogram: pixels of each of the 256 values, in the record.
        notes: what of the content was changed beyond the encoding's rules, in constant sentences.
    """

    encoded: bytes
    height: int
    width: int
    full_size: tuple[int, int]
    histogram: tuple[int, ...]
    notes: tuple[str, ...] = ()


def read_mask(data: bytes) -> RawMask:
    """Decodes a mask file of any kind of PNG fully.

    Raises:
        PictureError: unreadable or truncated, or no PNG.
    """
    with decoding(EXPECTED):
        image, bits, color_type = _opened(data)
        image.load()
        rgb = np.asarray(image.convert("RGB")) if bits == 8 and color_type in RGB_TYPES else None
        kind = mask_faults.kind_of(bits, color_type)
        opaque = _is_opaque(image, color_type)
        return RawMask(
            kind, image.height, image.width, _values(image, bits, color_type), rgb, _palette(image, color_type), opaque
        )


def check_mask(data: bytes, encoding: Encoding, *, max_side: int | None = None) -> CheckedMask:
    """Decodes a mask fully, gives every pixel its class and refuses what has none.

    Read are grey of 8, 16 and 1 bits (0 and 1), palettes of any depth (an index is the same number however packed), and
    if nothing is transparent grey with alpha and, by the encoding's colours, RGB(A). Not grey of 2 and 4 bits: viewers
    and Pillow scale it (2-bit 1 shows as 85), so which number was meant is unclear.

    Args:
        data: the file's content.
        encoding: which value or colour is which class.
        max_side: pixels; a longer mask is shrunk to it, each pixel taking the value of the nearest; None = none is.

    Raises:
        PictureError: unreadable or truncated; no PNG, or of a kind that the encoding cannot read; a value or colour
            that is no class, unless encoding.unmapped is "ignore".
    """
    with decoding(EXPECTED):
        image, bits, color_type = _opened(data)
        image.load()
        _refuse_picture(image, bits, color_type, encoding)
    full_size = (image.height, image.width)
    height, width = shrunk_size(*full_size, max_side)
    if color_type in RGB_TYPES:
        classes = _colors_to_classes(image, encoding)
    else:
        table = _index_classes(image, encoding) if color_type == PALETTE else value_classes(encoding)
        values = _values(image, bits, color_type)
        if bits == 8 and color_type in (GREY, PALETTE) and (height, width) == full_size:
            histogram = _histogram(values)
            used = np.flatnonzero(histogram)
            if np.array_equal(table[used], used) and UNMAPPED not in used:
                return CheckedMask(_encoded(values), height, width, full_size, histogram)
        classes = table[values]
    classes, notes = _settled(classes, image, bits, color_type, encoding)
    if (height, width) != full_size:
        classes = np.asarray(Image.fromarray(classes).resize((width, height), Image.Resampling.NEAREST))
    return CheckedMask(_encoded(classes), height, width, full_size, _histogram(classes), notes)


def _refuse_picture(image: Image.Image, bits: int, color_type: int, encoding: Encoding) -> None:
    """Raises PictureError for a loaded picture that says no classes, whatever its values are."""
    mask_faults.refuse_kind(image, bits, color_type, encoding)
    if orientation(image) != 1:
        raise PictureError(
            f"it carries EXIF orientation {orientation(image)}, which only some viewers obey; save it upright"
        )
    if (color_type in ALPHA_TYPES or encoding.colors is not None) and not _is_opaque(image, color_type):
        raise PictureError("it has transparent pixels, whose class is unclear; save it without transparency")


def _opened(data: bytes) -> tuple[Image.Image, int, int]:
    """The picture, its bits a channel and its PNG colour type; call inside `decoding`."""
    try:
        image = open_picture(data, ("PNG",))
    except UnidentifiedImageError:
        mask_faults.refuse_format(data)
        raise
    return image, *png_layout(data)


def _values(image: Image.Image, bits: int, color_type: int) -> np.ndarray | None:
    """What RawMask.values says, of a loaded picture."""
    if color_type in RGB_TYPES or (color_type in ALPHA_TYPES and bits == 16):
        return None
    if color_type in ALPHA_TYPES:
        return np.asarray(image.getchannel("L"))
    values = np.asarray(image)
    if color_type == GREY and bits in (2, 4):  # which Pillow spreads over 0 to 255
        return values // (255 // (2**bits - 1))
    return values.astype(np.uint8) if bits == 1 else values


def _palette(image: Image.Image, color_type: int) -> np.ndarray | None:
    """The colours of a palette, uint8 [n, 3]."""
    return np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3) if color_type == PALETTE else None


def _is_opaque(image: Image.Image, color_type: int) -> bool:
    """Whether no pixel of a loaded picture is transparent; a grey value declared so (tRNS) still counts as a value."""
    if color_type in ALPHA_TYPES:
        return image.getchannel("A").getextrema()[0] == 255
    if color_type == GREY or "transparency" not in image.info:
        return True
    return image.convert("RGBA").getchannel("A").getextrema()[0] == 255


def _index_classes(image: Image.Image, encoding: Encoding) -> np.ndarray:
    """The class of each palette index, uint8 [256]; raises PictureError where index and colour say two things."""
    classes = value_classes(encoding)
    if encoding.colors is None:
        return classes[:256]
    palette = [tuple(color) for color in _palette(image, PALETTE).tolist()]
    if encoding.palette != COLOR:
        mask_faults.refuse_contradiction(palette, image.histogram(), encoding.colors)
        return classes[:256]
    table = np.full(256, UNMAPPED, np.uint8)
    for index, color in enumerate(palette):
        value = encoding.colors.values.get(color)
        table[index] = UNMAPPED if value is None else classes[value]
    return table


def _colors_to_classes(image: Image.Image, encoding: Encoding) -> np.ndarray:
    """RGB or RGBA -> classes and UNMAPPED, uint8 [H, W]."""
    table, packed = color_classes(encoding), _packed(image)
    classes = np.empty(packed.shape, np.uint8)
    for start in range(0, len(packed), PIXELS_AT_ONCE):
        part = slice(start, start + PIXELS_AT_ONCE)
        np.take(table, packed[part] & 0xFFFFFF, out=classes[part], mode="clip")
    return classes.reshape(image.height, image.width)


def _packed(image: Image.Image) -> np.ndarray:
    """RGB or RGBA -> red + 256 green + 65536 blue and, above them, 8 bits to be left out: uint32 [H W]."""
    return np.frombuffer(image.tobytes("raw", "RGBX" if image.mode == "RGB" else "RGBA"), "<u4")


def _settled(
    classes: np.ndarray, image: Image.Image, bits: int, color_type: int, encoding: Encoding
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Classes without UNMAPPED, and the notes; raises PictureError where the encoding refuses."""
    wrong = classes == UNMAPPED
    if not wrong.any():
        return classes, ()
    if encoding.unmapped != REFUSE:
        return np.where(wrong, np.uint8(IGNORE), classes), (UNMAPPED_NOTE,)
    if color_type in RGB_TYPES:
        numbers, pixels = np.unique(_packed(image)[wrong.ravel()] & 0xFFFFFF, return_counts=True)
        colors = [(number & 255, number >> 8 & 255, number >> 16) for number in numbers.tolist()]
        raise mask_faults.wrong_colors(dict(zip(colors, pixels.tolist(), strict=True)), encoding)
    values = _values(image, bits, color_type)
    numbers, pixels = np.unique(values[wrong], return_counts=True)
    counts = dict(zip(numbers.tolist(), pixels.tolist(), strict=True))
    if color_type == PALETTE and encoding.palette == COLOR:
        raise mask_faults.wrong_indices(counts, _palette(image, color_type).tolist(), encoding)
    raise mask_faults.wrong_values(counts, np.unique(values).tolist(), encoding)


def _histogram(classes: np.ndarray) -> tuple[int, ...]:
    """Pixels of each value of uint8 [H, W], by its runs: 1.5 ms for 2048 x 1024, where Pillow's takes 6.3."""
    pixels = classes.ravel()
    last = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]), pixels.size - 1)
    return tuple(np.bincount(pixels[last], np.diff(last, prepend=-1), 256).astype(int).tolist())


def _encoded(classes: np.ndarray) -> bytes:
    """uint8 [H, W] -> grey PNG of rows as they are (filter 0) in one chunk, the form that training reads fastest.

    Level 3 inflates fastest: above, zlib repeats the pixel before, and each byte waits for the last. Milliseconds to
    write, to read in training, and kB, of CamVid's 480 x 360 pixels and of 2048 x 1024: level 3 0.8, 0.2, 6.7 and 6.5,
    1.4, 32; level 9 19, 0.2, 3.9 and 53, 3.1, 12. Filtered rows by Pillow: 2.0, 1.6, 4.9 and 13, 10, 10. (Read by zlib
    and libpng, on an AMD Zen 1.)
    """
    height, width = classes.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = classes
    header = struct.pack(">IIBBBBB", width, height, 8, GREY, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows, LEVEL), b"IEND": b""}
    return SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks.items())


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
