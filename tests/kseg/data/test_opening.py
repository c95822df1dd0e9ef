import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_plain_png import png

from kseg import records
from kseg.data import opening, resample
from kseg.data.plain_png import plain_mask
from kseg.pictures import png_bytes

SIZES = {"num_classes": 11, "base_size": 100, "crop_size": 24}
MASK = np.random.default_rng(0).integers(0, 11, (75, 93), dtype=np.uint8)


def photo(height=75, width=93):
    """Noise on a slope: JPEG's blocks and colours all differ."""
    generator = np.random.default_rng(height)
    slope = np.add.outer(np.arange(height), np.arange(width))[..., None] % 200
    return (slope + generator.integers(0, 56, (height, width, 3))).astype(np.uint8)


def encoded(kind="4:2:0", picture=None, **options):
    picture, buffer = Image.fromarray(photo() if picture is None else picture), io.BytesIO()
    if kind == "png":
        picture.save(buffer, "PNG")
    elif kind == "grey":
        picture.convert("L").save(buffer, "JPEG", **options)
    else:
        picture.save(buffer, "JPEG", subsampling=kind, **options)
    return buffer.getvalue()


@tf.function
def opened(image, mask, draws=(0.3, 0.5), place=(0.4, 0.6)):
    return opening.opened(tf.constant(image), tf.constant(mask), tf.constant(draws), tf.constant([place]), **SIZES)


@tf.function
def checked(encoded_mask, mask, size):
    return opening.checked(encoded_mask, mask, size, 11)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("kind", ["4:4:4", "4:2:2", "4:2:0", "grey", "png"])
def test_a_window_of_an_image_is_that_of_the_whole(kind, progressive):
    content = encoded(kind, progressive=progressive)
    whole, size = records.decode_image(content).numpy(), (75, 93)
    generator = np.random.default_rng(1)
    for _ in range(20):
        start = generator.integers(0, size)
        end = generator.integers(start + 1, (76, 94))
        window = opening.window_of(content, size, tuple(start.tolist()), tuple(end.tolist()))
        part = opening.read(tf.constant(content), tf.constant(window), tf.constant(size)).numpy()
        top, left = start - window[:2]
        bottom, right = end - window[:2]
        np.testing.assert_array_equal(part[top:bottom, left:right], whole[start[0] : end[0], start[1] : end[1]])
        if kind != "png":
            assert part.shape == (*window[2:], 3)
            assert (np.array(part.shape[:2]) <= end - start + 2 * opening.MARGIN).all()


def test_segments_before_the_frame_are_skipped():
    content = encoded(exif=b"Exif\0\0" + bytes(3000), comment=b"\xff\xc0\0\x11\x08\0\1\0\1")
    assert records.decode_image(content).shape == (75, 93, 3)
    assert opening.window_of(content, (75, 93), (20, 30), (40, 50)).tolist() == [12, 22, 36, 36]


def test_what_has_no_frame_or_no_end_is_decoded_whole():
    content = encoded()
    scan = content.index(b"\xff\xc0")
    filled = content[:2] + b"\xff\xff" + content[2:]  # a marker may be preceded by any number of 0xFF
    for image in (b"", filled, b"\xff\xd8\xff\xd9", content[:-200], content[:scan] + b"\xff\xd9", encoded("png")):
        assert opening.window_of(image, (75, 93), (20, 30), (40, 50)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("kind", ["4:2:0", "png"])
@pytest.mark.parametrize("write", [png, png_bytes], ids=["plain", "filtered"])
def test_opened(kind, write):
    content = encoded(kind)
    assert (plain_mask(write(MASK)).size > 0) == (write is png)
    pixels, place, mask, plan = opened(content, write(MASK), draws=(0.3, 0.25))
    np.testing.assert_array_equal(mask, MASK)
    assert plan.numpy().tolist() == [77, 95, 21, 43, 1]  # 100 x 0.95; 75 / 93 of it; 54 x 0.4 and 72 x 0.6
    whole = records.decode_image(content).numpy()
    expected = resample.crop(whole, np.zeros(2, int), MASK, plan.numpy(), side=24)
    found = resample.crop(pixels.numpy(), place.numpy(), MASK, plan.numpy(), side=24)
    assert np.abs(found[0].astype(int) - expected[0]).max() <= 2  # the grid of a window is off by up to 1/256 pixel
    np.testing.assert_array_equal(found[1], expected[1])


def with_value(value):
    mask = MASK.copy()
    mask[3, 5] = value
    return mask


@pytest.mark.parametrize("write", [png, png_bytes], ids=["plain", "filtered"])
def test_classes_and_ignore_are_all_that_a_mask_may_hold(write):
    for value in (10, 255):
        np.testing.assert_array_equal(opened(encoded(), write(with_value(value)))[2], with_value(value))
    for value in (11, 254):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"holds the value {value}, and there are 11 classes"):
            opened(encoded(), write(with_value(value)))


def palette(mask):
    picture, buffer = Image.fromarray(mask), io.BytesIO()
    picture.putpalette(range(256))
    picture.save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = {
    "a JPEG of another size": (encoded(picture=photo(75, 92)), "the image has 92 x 75 pixels, its mask 93 x 75"),
    "a PNG of another size": (encoded("png", picture=photo(74, 93)), "assertion failed"),
    "a JPEG that was cut off": (encoded()[:-200], "(?i)jpeg"),
    "no picture": (b"GIF?", "Unknown image file format"),
}
NOT_GREY = "the mask is not an 8-bit grey PNG"
MASKS = {
    "cut off": (png(MASK)[:-30], "PNG"),
    "without pixels": (png(MASK)[:33], "PNG"),
    "of two bytes a pixel": (png_bytes(MASK.astype(np.uint16)), NOT_GREY),
    "of colours": (png_bytes(photo()), NOT_GREY),
    "of a palette": (palette(MASK), NOT_GREY),
    "empty": (b"", NOT_GREY),
}


@pytest.mark.parametrize("write", [png, png_bytes], ids=["plain", "filtered"])
@pytest.mark.parametrize(("image", "said"), IMAGES.values(), ids=IMAGES)
def test_faulty_images_are_refused(image, said, write):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        opened(image, write(MASK))


@pytest.mark.parametrize(("mask", "said"), MASKS.values(), ids=MASKS)
def test_faulty_masks_are_refused(mask, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        opened(encoded(), mask)
    if said == NOT_GREY and mask:  # what the decoder makes grey of
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            checked(tf.constant(mask), records.decode_mask(tf.constant(mask)), tf.constant([75, 93]))


@pytest.mark.parametrize(("size", "value"), [((75, 92), 3), ((93, 75), 3), ((75, 93), 11)])
def test_checked(size, value):
    mask = with_value(value)
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"the image has \d+ x \d+ pixels, its mask 93 x 75|holds the value 11"
    ):
        checked(tf.constant(png_bytes(mask)), tf.constant(mask), tf.constant(size))
    found = checked(tf.constant(png_bytes(MASK)), tf.constant(MASK), tf.constant([75, 93]))
    np.testing.assert_array_equal(found, MASK)
