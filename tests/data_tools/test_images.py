import io

import numpy as np
import pytest
import tensorflow as tf
from drawn import chunk, encoded, photo, png, rows
from PIL import Image

from data_tools.images import ALPHA_NOTE, check_image, shrunk_size
from data_tools.reading import PictureError, read_file
from kseg.photos import ORIENTATION_TAG

PHOTO = photo(24, 40)
GREY = PHOTO[..., 0]
# Exif 2.32, table 6: which side of the upright picture the stored rows and columns start from.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright[:, ::-1].swapaxes(0, 1),
    7: lambda upright: upright[::-1, ::-1].swapaxes(0, 1),
    8: lambda upright: upright[::-1].swapaxes(0, 1),
}


def decoded(data: bytes) -> np.ndarray:
    return tf.io.decode_image(data, channels=3, expand_animations=False).numpy()


def exif(value: int) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION_TAG] = value
    return block


def multi_picture() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::-1])])
    return buffer.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO, "JPEG", quality=90),
        encoded(PHOTO, "JPEG", progressive=True, subsampling=0),
        encoded(GREY, "JPEG"),
        encoded(PHOTO, "JPEG", exif=exif(1)),
        encoded(PHOTO, "JPEG", exif=exif(9)),  # no such orientation
        encoded(PHOTO, "JPEG", exif=b"Exif\0\0damaged"),
        encoded(PHOTO, "JPEG") + b"trailing bytes of a camera",
        multi_picture(),
    ],
    ids=["rgb", "progressive", "grey", "upright", "orientation-9", "bad-exif", "trailing", "mpo"],
)
def test_jpeg_bytes_pass_through_unchanged(data):
    image = check_image(data)
    assert image.encoded == data
    assert (image.format, image.height, image.width, image.orientation) == ("jpeg", 24, 40, 1)
    assert decoded(image.encoded).shape == (24, 40, 3)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (7, 3), (8, 9)])
def test_tiny_jpegs_pass(height, width):
    image = check_image(encoded(photo(height, width), "JPEG"))
    assert (image.height, image.width) == (height, width)


@pytest.mark.parametrize("value", range(1, 9))
def test_every_exif_orientation_is_turned_upright(value):
    stored = np.ascontiguousarray(STORED[value](PHOTO))
    kinds = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}
    for image_format, options in kinds.items():
        image = check_image(encoded(stored, image_format, exif=exif(value), **options))
        tolerance = 16 if image_format == "JPEG" else 0
        assert (image.format, image.height, image.width) == ("jpeg" if tolerance else "png", 24, 40)
        assert image.full_size == (24, 40)
        assert image.orientation == value
        difference = np.abs(decoded(image.encoded).astype(int) - PHOTO)
        assert difference.max() <= tolerance
        # Nothing that a reader would turn once more.
        assert Image.open(io.BytesIO(image.encoded)).getexif().get(ORIENTATION_TAG, 1) == 1


def test_a_rotated_grey_jpeg_stays_grey_and_near_lossless():
    stored = np.ascontiguousarray(STORED[6](GREY))
    image = check_image(encoded(stored, "JPEG", quality=100, exif=exif(6)))
    assert Image.open(io.BytesIO(image.encoded)).mode == "L"
    assert np.abs(decoded(image.encoded)[..., 0].astype(int) - GREY).max() <= 4


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO),
        encoded(GREY),
        png(40, 24, 8, 2, rows(PHOTO), extra=chunk(b"gAMA", (100000).to_bytes(4, "big"))),
        encoded(PHOTO, icc_profile=b"not a colour profile"),
    ],
    ids=["rgb", "grey", "gamma", "icc"],
)
def test_png_that_tensorflow_reads_the_same_passes_through(data):
    image = check_image(data)
    assert image.encoded == data
    assert (image.format, image.height, image.width) == ("png", 24, 40)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_array_equal(decoded(data), expected)


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO, "BMP"),
        encoded(GREY, "BMP"),
        encoded(PHOTO, "BMP", mode="1"),
        encoded(GREY, mode="P"),
        encoded(GREY // 16, mode="P", bits=4),
        encoded(PHOTO, mode="1"),
        encoded(PHOTO, mode="RGBA"),
        encoded(PHOTO, mode="LA"),
        png(40, 24, 8, 2, rows(PHOTO), extra=chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3]))),  # a colour that is not there
        png(2, 1, 4, 0, b"\0\x3c"),
    ],
    ids=["bmp", "bmp-grey", "bmp-1bit", "palette", "palette-4bit", "1bit", "rgba", "la", "trns", "grey-4bit"],
)
def test_other_pictures_become_png_of_the_same_pixels(data):
    image = check_image(data)
    assert image.format == "png"
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (image.height, image.width) == expected.shape[:2]
    np.testing.assert_array_equal(decoded(image.encoded), expected)


def test_the_content_counts_not_the_extension(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(PHOTO))
    assert check_image(read_file(str(path))).format == "png"


def test_cmyk_jpeg_becomes_the_rgb_that_tensorflow_reads():
    """With Adobe's mark the inks are stored inverted, without it they are not; mark 2 says YCCK."""
    adobe = encoded(PHOTO, "JPEG", mode="CMYK", quality=100)
    at = adobe.index(b"\xff\xee")
    plain = adobe[:at] + adobe[at + 16 :]
    ycck = adobe[: at + 15] + b"\2" + adobe[at + 16 :]
    for data in (adobe, plain, ycck):
        assert Image.open(io.BytesIO(data)).mode == "CMYK"
        image = check_image(data)
        assert (image.format, Image.open(io.BytesIO(image.encoded)).mode) == ("jpeg", "RGB")
        assert np.abs(decoded(image.encoded).astype(int) - decoded(data)).mean() <= 3
    assert np.abs(decoded(check_image(adobe).encoded).astype(int) - PHOTO).max() <= 8


JPEG, PNG, BMP = encoded(PHOTO, "JPEG"), encoded(PHOTO), encoded(PHOTO, "BMP")
PROGRESSIVE = encoded(PHOTO, "JPEG", progressive=True)


@pytest.mark.parametrize("data", [JPEG, PROGRESSIVE, PNG, BMP], ids=["jpeg", "progressive", "png", "bmp"])
@pytest.mark.parametrize("lost", [1, 2, 7, 100, 0.5])
def test_refuses_truncated_pictures(data, lost):
    count = lost if isinstance(lost, int) else int(len(data) * lost)
    with pytest.raises(PictureError, match="truncated or damaged"):
        check_image(data[:-count])


def test_refuses_a_jpeg_whose_tail_is_zeros_as_a_broken_download_leaves_it():
    for kept in (len(JPEG) - 2, len(JPEG) // 2):
        with pytest.raises(PictureError, match="truncated or damaged"):
            check_image(JPEG[:kept] + bytes(len(JPEG) - kept))


def test_refuses_a_png_with_a_flipped_bit_in_its_pixels():
    at = PNG.index(b"IDAT") + 20
    with pytest.raises(PictureError, match="truncated or damaged"):
        check_image(PNG[:at] + bytes([PNG[at] ^ 1]) + PNG[at + 1 :])


@pytest.mark.parametrize("data", [b"hello", encoded(PHOTO, "PPM"), encoded(PHOTO, "ICO")], ids=["text", "ppm", "ico"])
def test_refuses_what_is_no_picture_of_these_formats(data):
    with pytest.raises(PictureError, match="expected JPEG, PNG, BMP, GIF, WebP or TIFF"):
        check_image(data)


def test_refuses_sixteen_bits():
    deep = PHOTO.astype(np.uint16) * 257
    for data in (png(40, 24, 16, 2, rows(deep)), png(40, 24, 16, 0, rows(deep[..., 0]))):
        with pytest.raises(PictureError, match="16 bits a channel; expected 8"):
            check_image(data)


def test_the_colours_below_alpha_stay_as_in_serving():
    alpha = np.random.default_rng(0).integers(0, 256, (24, 40, 1), np.uint8)
    alpha[0] = 0
    see_through = encoded(np.dstack([PHOTO, alpha]))
    grey = encoded(np.dstack([GREY, alpha]))
    one_colour = encoded(PHOTO, transparency=tuple(PHOTO[0, 0].tolist()))
    palette = encoded(GREY, mode="P", transparency=int(GREY[3, 3]))
    for data in (see_through, grey, one_colour, palette):
        image = check_image(data)
        assert image.notes == (ALPHA_NOTE,)
        assert Image.open(io.BytesIO(image.encoded)).mode in ("L", "RGB")
        np.testing.assert_array_equal(decoded(image.encoded), decoded(data))
    np.testing.assert_array_equal(decoded(check_image(see_through).encoded), PHOTO)


def test_alpha_that_hides_nothing_is_not_noted():
    assert check_image(encoded(PHOTO, mode="RGBA")).notes == ()


def test_refuses_a_decompression_bomb():
    with pytest.raises(PictureError, match=r"claims more than 178956970 pixels.*tiles"):
        check_image(png(40000, 40000, 8, 2, b""))


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        ((360, 480), None, (360, 480)),
        ((360, 480), 480, (360, 480)),
        ((360, 480), 240, (180, 240)),
        ((480, 360), 256, (256, 192)),
        ((5, 10), 3, (2, 3)),  # 1.5 is rounded up
        ((1, 5000), 512, (1, 512)),
    ],
)
def test_shrunk_size(size, max_side, expected):
    assert shrunk_size(*size, max_side) == expected


def test_shrinking_averages_areas():
    """3 columns to 2: each takes a whole column and half of the middle one."""
    picture = np.array([[[0, 10, 100], [30, 40, 200], [90, 250, 255]]], np.uint8)
    image = check_image(encoded(picture), max_side=2)
    assert (image.height, image.width, image.full_size, image.format) == (1, 2, (1, 3), "png")
    # (0 + 30/2) / 1.5, (30/2 + 90) / 1.5 and so on; .33 goes down, .67 up.
    np.testing.assert_array_equal(decoded(image.encoded), [[[10, 20, 133], [70, 180, 237]]])


@pytest.mark.parametrize("max_side", [39, 32, 20, 7, 1])
def test_shrinking_agrees_with_tensorflow(max_side):
    noise = np.random.default_rng(1).integers(0, 256, (24, 40, 3), np.uint8)
    height, width = shrunk_size(24, 40, max_side)
    expected = tf.image.resize(noise[None], (height, width), "area")[0].numpy()
    image = check_image(encoded(noise), max_side=max_side)
    assert np.abs(decoded(image.encoded) - expected).max() <= 0.502
    grey = check_image(encoded(noise[..., 0]), max_side=max_side)
    np.testing.assert_array_equal(decoded(grey.encoded)[..., 0], decoded(image.encoded)[..., 0])


def test_a_shrunk_jpeg_is_a_jpeg_of_the_turned_picture():
    image = check_image(encoded(np.ascontiguousarray(STORED[6](PHOTO)), "JPEG", quality=95, exif=exif(6)), max_side=20)
    assert (image.format, image.height, image.width, image.full_size) == ("jpeg", 12, 20, (24, 40))
    expected = PHOTO.reshape(12, 2, 20, 2, 3).mean((1, 3))
    assert np.abs(decoded(image.encoded) - expected).max() <= 12


def test_jpeg_quality_is_for_what_must_be_encoded_again_only():
    for data in (encoded(PHOTO), encoded(PHOTO, "JPEG")):
        assert check_image(data, jpeg_quality=50).encoded == data
    sizes = []
    for quality in (50, 95, None):
        image = check_image(encoded(PHOTO, "BMP"), jpeg_quality=quality)
        assert image.format == ("png" if quality is None else "jpeg")
        assert np.abs(decoded(image.encoded).astype(int) - PHOTO).max() <= (24 if quality == 50 else 8)
        sizes.append(len(image.encoded))
    assert sizes[0] < sizes[1]
    stored = encoded(PHOTO, "JPEG", quality=95, exif=exif(3))
    assert len(check_image(stored, jpeg_quality=50).encoded) < len(check_image(stored).encoded)


def test_a_picture_too_long_for_jpeg_or_for_tensorflow_is_refused():
    with pytest.raises(PictureError, match=r"70000 x 1 pixels, but a JPEG's longest side is 65500; leave --jpeg_q"):
        check_image(encoded(np.zeros((1, 70000), np.uint8), "BMP"), jpeg_quality=90)
    with pytest.raises(PictureError, match="1000001 x 1 pixels; expected at most 1000000 a side"):
        check_image(encoded(np.zeros((1, 1_000_001), np.uint8)))
    limit = check_image(encoded(np.zeros((1, 1_000_000), np.uint8)))
    assert decoded(limit.encoded).shape == (1, 1_000_000, 3)


def test_what_is_encoded_again_carries_no_metadata():
    options = {"icc_profile": b"profile", "comment": b"remark", "exif": exif(3)}
    jpeg = check_image(encoded(PHOTO, "JPEG", **options)).encoded
    palette = check_image(encoded(GREY, mode="P", transparency=3, icc_profile=b"profile")).encoded
    for data in (jpeg, palette, check_image(encoded(PHOTO, "TIFF", icc_profile=b"profile")).encoded):
        assert set(Image.open(io.BytesIO(data)).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
