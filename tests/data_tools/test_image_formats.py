"""GIF, WebP, TIFF and BMP as images: the pixels that come out, and what is refused by name."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from drawn import encoded, photo
from PIL import Image, features

from data_tools.images import ALPHA_NOTE, FRAMES_NOTE, check_image
from data_tools.reading import PictureError

PHOTO = photo(24, 40)
GREY = PHOTO[..., 0]
INKS = Image.fromarray(PHOTO).convert("CMYK")


def decoded(data: bytes) -> np.ndarray:
    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


def saved(image: Image.Image, image_format: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def quantized(**options) -> bytes:
    return saved(Image.fromarray(PHOTO).quantize(16), "GIF", **options)


def tiff(tags: dict[int, tuple[int, ...]], pixels: bytes) -> bytes:
    """A little-endian TIFF of one strip: tag -> values, all of 16 bits but the strip's place and length."""
    tags = {256: (4,), 257: (2,), 259: (1,), 273: (0,), 277: (1,), 278: (2,), 279: (len(pixels),)} | tags
    extra_at = 8 + 2 + 12 * len(tags) + 4
    extra = b""
    entries = b""
    for tag, values in sorted(tags.items()):
        kind, form = (4, "I") if tag in (273, 279) else (3, "H")
        if tag == 273:
            values = (4096,)
        content = struct.pack(f"<{len(values)}{form}", *values)
        if len(content) > 4:
            place, extra = extra_at + len(extra), extra + content
            content = place.to_bytes(4, "little")
        entries += struct.pack("<HHI", tag, kind, len(values)) + content.ljust(4, b"\0")
    head = b"II*\0" + (8).to_bytes(4, "little") + struct.pack("<H", len(tags)) + entries + bytes(4) + extra
    return head.ljust(4096, b"\0") + pixels


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO, "TIFF"),
        encoded(PHOTO, "TIFF", compression="tiff_lzw"),
        encoded(PHOTO, "TIFF", compression="tiff_deflate"),
        encoded(PHOTO, "TIFF", compression="jpeg", quality=95),
        encoded(PHOTO, "TIFF", big_tiff=True),
        encoded(GREY, "TIFF", compression="packbits"),
        encoded(GREY, "TIFF", mode="P"),
        encoded(PHOTO, "TIFF", mode="1", compression="group4"),
        encoded(PHOTO, "TIFF", mode="RGBA"),
        encoded(PHOTO, "TIFF", mode="LA"),
        saved(INKS, "TIFF"),
        encoded(PHOTO, "WEBP", quality=80),
        encoded(PHOTO, "WEBP", lossless=True),
        encoded(GREY, "WEBP", lossless=True),
        encoded(PHOTO, "WEBP", mode="RGBA", lossless=True),
        quantized(),
        quantized(interlace=0),
        encoded(GREY, "GIF"),
        encoded(PHOTO, "BMP"),
        encoded(PHOTO, "BMP", mode="RGBA"),
    ],
    ids=lambda data: "",
)
def test_pixels_are_those_that_pillow_reads(data):
    image = check_image(data)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image.format, image.height, image.width, image.full_size, image.notes) == ("png", 24, 40, (24, 40), ())
    np.testing.assert_array_equal(decoded(image.encoded), expected)


def test_lossless_formats_keep_every_pixel():
    for data in (encoded(PHOTO, "TIFF"), encoded(PHOTO, "WEBP", lossless=True, exact=True), encoded(PHOTO, "BMP")):
        np.testing.assert_array_equal(decoded(check_image(data).encoded), PHOTO)


def test_cmyk_tiff_is_not_inverted():
    inks = np.zeros((2, 3, 4), np.uint8)
    inks[0, :, 0], inks[1, :, 3] = 255, 51  # cyan, and black at a fifth
    image = check_image(saved(Image.frombytes("CMYK", (3, 2), inks.tobytes()), "TIFF"))
    np.testing.assert_array_equal(decoded(image.encoded)[:, 0], [[0, 255, 255], [204, 204, 204]])


def test_grey_stays_one_channel():
    for data in (encoded(GREY, "TIFF"), encoded(GREY, "GIF"), encoded(GREY, "BMP")):
        assert Image.open(io.BytesIO(check_image(data).encoded)).mode in ("L", "RGB")
        np.testing.assert_array_equal(decoded(check_image(data).encoded), np.repeat(GREY[..., None], 3, axis=2))
    assert Image.open(io.BytesIO(check_image(encoded(GREY, "TIFF")).encoded)).mode == "L"


@pytest.mark.parametrize("image_format", ["WEBP", "TIFF"])
def test_alpha_is_dropped_and_noted(image_format):
    see_through = np.dstack([PHOTO, np.full((24, 40), 255, np.uint8)])
    see_through[3:9, 4:20, 3] = 128
    see_through[10, :, 3] = 0
    options = {"lossless": True, "exact": True} if image_format == "WEBP" else {}
    image = check_image(encoded(see_through, image_format, **options))
    assert image.notes == (ALPHA_NOTE,)
    np.testing.assert_array_equal(decoded(image.encoded), PHOTO)


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF"])
def test_the_first_of_several_frames(image_format):
    frames = [Image.fromarray(array).quantize(16).convert("RGB") for array in (PHOTO, PHOTO[::-1])]
    options = {"lossless": True} if image_format == "WEBP" else {}
    data = saved(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
    image = check_image(data)
    assert image.notes == (FRAMES_NOTE,)
    np.testing.assert_array_equal(decoded(image.encoded), np.asarray(frames[0]))


def test_transparent_pixels_of_a_gif_are_black_as_tensorflow_reads_them():
    data = quantized(transparency=3)
    hidden = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))[..., 3] == 0
    image = check_image(data)
    assert image.notes == (ALPHA_NOTE,)
    assert 0 < hidden.sum() < hidden.size
    assert not decoded(image.encoded)[hidden].any()
    np.testing.assert_array_equal(decoded(image.encoded), decoded(data))


def test_a_first_frame_smaller_than_the_canvas_lies_where_a_viewer_shows_it():
    """Canvas of 50 x 30, the frame of 40 x 24 at column 7, row 5; TensorFlow would give the frame alone."""
    data = quantized()
    at = data.index(b"\x2c")
    size = struct.pack("<HH", 50, 30)
    moved = data[:6] + size + data[10 : at + 1] + struct.pack("<HH", 7, 5) + data[at + 5 :]
    image = check_image(moved)
    assert (image.height, image.width, image.notes) == (30, 50, (ALPHA_NOTE,))
    pixels = decoded(image.encoded)
    np.testing.assert_array_equal(pixels[5:29, 7:47], decoded(data))
    pixels[5:29, 7:47] = 0
    assert not pixels.any()


@pytest.mark.parametrize(
    ("tags", "pixels", "message"),
    [
        ({258: (16,), 262: (1,)}, bytes(16), "16 bits a channel; expected 8"),
        ({258: (16, 16, 16), 262: (2,), 277: (3,)}, bytes(48), "16 bits a channel; expected 8"),
        ({258: (12,), 262: (1,)}, bytes(12), "12 bits a channel; expected 8"),
        ({258: (32,), 262: (1,), 339: (3,)}, bytes(32), "32 floating-point bits a channel; expected 8"),
        ({258: (32, 32, 32), 262: (2,), 277: (3,), 339: (3, 3, 3)}, bytes(96), "32 floating-point bits a channel"),
        ({258: (64,), 262: (1,), 339: (3,)}, bytes(64), "64 floating-point bits a channel"),
        ({258: (8,), 262: (1,), 339: (2,)}, bytes(8), "8 signed bits a channel; expected 8"),
        ({258: (8, 8, 8), 262: (8,), 277: (3,)}, bytes(24), r"CIE L\*a\*b\* colours; expected grey"),
        ({258: (8,) * 12, 262: (1,), 277: (12,)}, bytes(96), "TIFF header cannot be read.*of a kind that is not read"),
    ],
    ids=["16", "16-rgb", "12", "float", "float-rgb", "double", "signed", "lab", "12-channels"],
)
def test_tiff_that_loses_something_in_8_bits_is_refused_by_name(tags, pixels, message):
    with pytest.raises(PictureError, match=message):
        check_image(tiff(tags, pixels))


def test_the_hand_made_tiff_is_read_where_nothing_is_wrong_with_it():
    image = check_image(tiff({258: (8,), 262: (1,), 339: (1,)}, bytes(range(8))))
    np.testing.assert_array_equal(decoded(image.encoded)[..., 0], [[0, 1, 2, 3], [4, 5, 6, 7]])


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_refuses_truncated_pictures(image_format, kept):
    noise = np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8)
    data = encoded(noise, image_format)
    with pytest.raises(PictureError, match="truncated or damaged"):
        check_image(data[: int(len(data) * kept)])


@pytest.mark.parametrize(("image_format", "codec"), [("WEBP", "webp"), ("TIFF", "libtiff")])
def test_a_pillow_built_without_a_codec_is_told(monkeypatch, image_format, codec):
    check = features.check
    monkeypatch.setattr(features, "check", lambda name: name != codec and check(name))
    with pytest.raises(PictureError, match=rf"this Pillow was built without {codec} to read: install its wheel"):
        check_image(encoded(PHOTO, image_format))
