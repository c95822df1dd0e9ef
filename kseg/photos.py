"""Pictures as a viewer shows them, upright, first frame, in 8-bit colours: for conversion and prediction alike.

Needs Pillow alone, so that worker processes start fast.
"""

import io
import struct
import zlib

from PIL import Image, ImageChops, TiffImagePlugin, features

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")  # of names in any case
ORIENTATION_TAG = 0x0112
JPEG_FORMATS = ("JPEG", "MPO")  # MPO: a JPEG with further pictures behind it, from stereo and some phone cameras
ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
DEPTH_HINT = "; expected 8. Convert it first: which of its levels matter depends on the camera"
TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
PILLOW_MAGIC = (b"GIF8", b"RIFF", *TIFF_MAGIC)
PHOTOMETRIC_TAG, BITS_TAG, SAMPLE_FORMAT_TAG = 262, 258, 339  # TIFF 6.0, section 8 and page 80
UNSIGNED, SAMPLE_FORMATS = {1, 4}, {2: "signed ", 3: "floating-point ", 5: "complex ", 6: "complex "}
LAB_SPACES = (8, 9, 10)
# What Pillow raises for damaged files: 900 000 pictures with flipped, lost or doubled bytes gave OSError, SyntaxError,
# ValueError and, of TIFF, TypeError; its plugins' code for EXIF blocks and text chunks can raise the others.
UNREADABLE = (
    *(OSError, SyntaxError, ValueError, TypeError, EOFError, IndexError, KeyError, OverflowError),
    *(struct.error, zlib.error),
)
UPRIGHT = {  # EXIF orientation -> what turns the stored picture upright (Exif 2.32, table 6)
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8; 1 where there is none or its block is damaged, as viewers do."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except UNREADABLE:
        return 1
    return value if value in range(1, 9) else 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """A stored picture turned by its orientation, 1 to 8. Equivalent: PIL.ImageOps.exif_transpose."""
    return image.transpose(UPRIGHT[turn]) if turn in UPRIGHT else image


def fault(data: bytes) -> str | None:
    """Why a WebP or TIFF file cannot become an 8-bit picture without a loss; None where it can, or is another file.

    Looks at a TIFF's own tags, since Pillow would read 16-bit RGB as 8 bits in silence, and say of most floating-point
    files no more than that it cannot identify them.
    """
    is_tiff = data.startswith(TIFF_MAGIC)
    codec = "libtiff" if is_tiff else "webp" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None
    if codec and not features.check(codec):
        return (
            f"a {'TIFF' if is_tiff else 'WebP'} file, which this Pillow was built without {codec} to read: install its "
            "wheel (pip install --only-binary :all: pillow), or convert the file to PNG"
        )
    if not is_tiff:
        return None
    try:
        tags = _tiff_tags(data)
        bits, kinds = max(tags.get(BITS_TAG, (1,))), set(tags.get(SAMPLE_FORMAT_TAG, (1,)))
        if bits > 8 or not kinds <= UNSIGNED:
            kind = next((SAMPLE_FORMATS.get(kind, "unknown ") for kind in sorted(kinds - UNSIGNED)), "")
            return f"{bits} {kind}bits a channel{DEPTH_HINT}"
        if tags.get(PHOTOMETRIC_TAG) in LAB_SPACES:
            return "CIE L*a*b* colours; expected grey, palette, RGB or CMYK: convert it first"
    except UNREADABLE:  # reading the picture will tell what is wrong
        return None
    return None


def _tiff_tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2:
    tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])  # 43: BigTIFF
    file = io.BytesIO(data)
    file.seek(tags.next)
    tags.load(file)
    return tags


def first_frame(image: Image.Image) -> tuple[Image.Image, bool]:
    """An opened picture of at most 8 bits a channel -> its pixels as tf.io.decode_image(channels=3) gives them.

    Alpha is dropped and the colours below it show, as in PNG; of GIF the transparent pixels, and those of the canvas
    that the first frame does not cover, are black. Only the first of several frames is read. Not turned upright.

    Returns:
        the pixels, mode "L" or "RGB", and whether a pixel was not opaque.

    Raises:
        one of UNREADABLE.
    """
    box = image.tile[0].extents if image.format == "GIF" and image.tile else (0, 0, *image.size)
    image.load()
    if image.format == "GIF":
        frame = image.crop(box).convert("RGBA")
        hidden = frame.size != image.size or frame.getextrema()[3][0] < 255
        if hidden:
            image = Image.new("RGB", image.size)
            image.paste(frame, box, frame)
    else:
        hidden = _lowest_alpha(image) < 255
    if image.mode == "CMYK" and image.format in JPEG_FORMATS and "adobe" not in image.info:
        image = ImageChops.invert(image)  # without Adobe's mark the inks are not stored inverted; Pillow thinks so
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    return image if image.mode == mode else image.convert(mode), hidden


def _lowest_alpha(image: Image.Image) -> int:
    if image.mode in ALPHA_MODES:
        return image.getchannel(image.mode[-1]).getextrema()[0]
    if "transparency" in image.info:  # a tRNS chunk of PNG
        return image.convert("RGBA").getextrema()[3][0]
    return 255
