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
    filled = content[:2] + b"\xff\xff" + content[2:]  # a marker may be preceded by any number of 0xFF
    for jpeg in (content, filled):
        assert records.decode_image(jpeg).shape == (75, 93, 3)
        assert opening.window_of(jpeg, (75, 93), (20, 30), (40, 50)).tolist() == [12, 22, 36, 36]


def test_what_has_no_frame_or_no_end_is_decoded_whole():
    content = encoded()
    scan = content.index(b"\xff\xc0")
    for image in (b"", b"\xff\xd8\xff\xd9", content[:-200], content[:scan] + b"\xff\xd9", encoded("png")):
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


FAULTY = {
    "a JPEG of another size": (encoded(picture=photo(75, 92)), png(MASK)),
    "a PNG of another size": (encoded("png", picture=photo(74, 93)), png(MASK)),
    "a JPEG that was cut off": (encoded()[:-200], png(MASK)),
    "no picture": (b"GIF?", png(MASK)),
    "a mask that was cut off": (encoded(), png(MASK)[:-30]),
    "a mask without pixels": (encoded(), png(MASK)[:33]),
    "a mask of two bytes a pixel": (encoded(), png_bytes(MASK.astype(np.uint16))),
    "a mask of colours": (encoded(), png_bytes(photo())),
    "a mask of a palette": (encoded(), palette(MASK)),
    "an empty mask": (encoded(), b""),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_what_is_faulty_is_refused(fault):
    with pytest.raises(tf.errors.InvalidArgumentError):
        opened(*FAULTY[fault])
    if "a mask" not in fault and fault != "an empty mask":
        return
    mask = tf.constant(FAULTY[fault][1])
    with pytest.raises(tf.errors.InvalidArgumentError):
        checked(mask, records.decode_mask({records.MASK: mask}), tf.constant([75, 93]))


@pytest.mark.parametrize(("size", "value"), [((75, 92), 3), ((93, 75), 3), ((75, 93), 11)])
def test_checked(size, value):
    mask = with_value(value)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"height and width|holds the value 11"):
        checked(tf.constant(png_bytes(mask)), tf.constant(mask), tf.constant(size))
    found = checked(tf.constant(png_bytes(MASK)), tf.constant(MASK), tf.constant([75, 93]))
    np.testing.assert_array_equal(found, MASK)
