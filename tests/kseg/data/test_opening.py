import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from test_plain_png import png

from kseg import records
from kseg.data import opening, resample
from kseg.data.plain_png import plain_rows
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
def crops(images, masks, draws=None):
    """Of several pictures; by draws of their own if none are given."""
    draws = [(0.3 + 0.1 * k, 0.4, 0.6, 0.2 * k) for k in range(len(images))] if draws is None else [draws]
    return opening.crops(tf.stack(images), tf.stack(masks), tf.constant(draws), **SIZES)


def expected(image, mask, plan):
    """The crop of a picture that was decoded whole, and its labels."""
    return resample.crop(records.decode_image(image).numpy(), mask, np.array(plan), side=24)


def assert_near(found, wanted):
    """Images: the grid of a window is off by up to 1/256 pixel."""
    assert np.abs(np.asarray(found, int) - wanted).max() <= 2


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
        window = np.array(opening.window_of(content, size, tuple(start.tolist()), tuple(end.tolist())), np.int32)
        part = opening.read(tf.constant([content]), tf.constant(window[None]))[0].numpy()
        top, left = start - window[:2]
        bottom, right = end - window[:2]
        np.testing.assert_array_equal(part[top:bottom, left:right], whole[start[0] : end[0], start[1] : end[1]])
        if kind != "png":
            assert part.shape == (*window[2:], 3)
            assert (np.array(part.shape[:2]) <= end - start + 2 * opening.MARGIN).all()


def test_segments_before_the_frame_are_skipped():
    content = encoded(exif=b"Exif\0\0" + bytes(3000), comment=b"\xff\xc0\0\x11\x08\0\1\0\1")
    assert records.decode_image(content).shape == (75, 93, 3)
    assert opening.window_of(content, (75, 93), (20, 30), (40, 50)) == (18, 28, 24, 24)


def test_what_has_no_frame_or_no_end_is_decoded_whole():
    content = encoded()
    scan = content.index(b"\xff\xc0")
    filled = content[:2] + b"\xff\xff" + content[2:]  # a marker may be preceded by any number of 0xFF
    for image in (b"", filled, b"\xff\xd8\xff\xd9", content[:-200], content[:scan] + b"\xff\xd9", encoded("png")):
        assert opening.window_of(image, (75, 93), (20, 30), (40, 50)) == opening.UNCUT


@pytest.mark.parametrize("kind", ["4:2:0", "png"])
@pytest.mark.parametrize("write", [png, png_bytes], ids=["plain", "filtered"])
def test_one_picture(kind, write):
    content = encoded(kind)
    assert (plain_rows(write(MASK)).size > 0) == (write is png)
    images, labels, plans = crops([content], [write(MASK)], draws=(0.3, 0.4, 0.6, 0.25))
    assert plans.numpy().tolist() == [[77, 95, 21, 43, 1]]  # 100 x 0.95; 75 / 93 of it; 54 x 0.4 and 72 x 0.6
    image, mask = expected(content, MASK, plans[0])
    assert_near(images[0], image)
    np.testing.assert_array_equal(labels[0], mask)


PAIRS = [
    (encoded("4:2:0"), png(MASK)),
    (encoded("4:4:4", picture=photo(50, 61)), png_bytes(MASK[:50, :61])),
    (encoded("grey"), png(MASK[::-1])),
    (encoded("png", picture=photo(40, 93)), png(MASK[:40])),
]


def test_several_pictures():
    images, masks = zip(*PAIRS, strict=True)
    together = crops(images, masks)
    assert [part.shape for part in together] == [(4, 24, 24, 3), (4, 24, 24), (4, 5)]
    assert len({tuple(plan) for plan in together[2].numpy()}) == 4
    for k, found in enumerate(zip(*together, strict=True)):
        image, mask = expected(images[k], records.decode_mask(masks[k]).numpy(), found[2])
        assert_near(found[0], image)
        np.testing.assert_array_equal(found[1], mask)
        alone = crops([images[k]], [masks[k]], draws=(0.3 + 0.1 * k, 0.4, 0.6, 0.2 * k))
        for part, one in zip(found, alone, strict=True):
            np.testing.assert_array_equal(part, one[0])


def test_only_windows_of_whole_jpegs_are_decoded():
    images, masks = (np.array(part, object) for part in zip(*PAIRS, strict=True))
    labels, _, views = opening._opened(images, masks, np.full((4, 4), 0.5, np.float32), **SIZES)
    assert views[:3, opening.WINDOW].all(axis=1).tolist() == [True] * 3
    assert (views[:3, 2:4] < views[:3, opening.SIZE]).any(axis=1).all()
    assert tuple(views[3, opening.WINDOW]) == opening.UNCUT
    assert labels.ctypes.data % resample.ALIGNMENT == 0  # else TensorFlow copies it


FAULTY_IMAGES = {"has 92 x 75 pixels": encoded(picture=photo(75, 92)), "Unknown image file": b"GIF?"}
FAULTY_IMAGES["has 93 x 74 pixels"] = encoded("png", picture=photo(74, 93))


@pytest.mark.parametrize("count", [3, 4], ids=["all JPEG", "a PNG among them"])
@pytest.mark.parametrize("place", [0, 2])
def test_one_fault_among_several_is_found(count, place):
    images, masks = map(list, zip(*PAIRS[:count], strict=True))

    def with_one(content, other):
        return [*content[:place], other, *content[place + 1 :]]

    for said, wrong in FAULTY_IMAGES.items():
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            crops(with_one(images, wrong), masks)
    faulty_masks = [(f"the value {value}", write(with_value(value))) for value, write in ((11, png), (254, png_bytes))]
    for said, wrong in [*faulty_masks, ("Invalid PNG", png(MASK)[:-30])]:
        with pytest.raises(tf.errors.InvalidArgumentError, match=said):
            crops(images, with_one(masks, wrong))


def with_value(value):
    mask = MASK.copy()
    mask[3, 5] = value
    return mask


@pytest.mark.parametrize("write", [png, png_bytes], ids=["plain", "filtered"])
def test_classes_and_ignore_are_all_that_a_mask_may_hold(write):
    for value in (10, 255):
        _, labels, plans = crops([encoded()], [write(with_value(value))])
        np.testing.assert_array_equal(labels[0], expected(encoded(), with_value(value), plans[0])[1])
    for value in (11, 254):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"holds the value {value}, and there are 11 classes"):
            crops([encoded()], [write(with_value(value))])


def palette(mask):
    picture, buffer = Image.fromarray(mask), io.BytesIO()
    picture.putpalette(range(256))
    picture.save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = {
    "a JPEG of another size": (encoded(picture=photo(75, 92)), "the image has 92 x 75 pixels, its mask 93 x 75"),
    "a PNG of another size": (encoded("png", picture=photo(74, 93)), "the image has 93 x 74 pixels, its mask 93 x 75"),
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
        crops([image], [write(MASK)])


@pytest.mark.parametrize(("mask", "said"), MASKS.values(), ids=MASKS)
def test_faulty_masks_are_refused(mask, said):
    with pytest.raises(tf.errors.InvalidArgumentError, match=said):
        crops([encoded()], [mask])
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
