import io

import numpy as np
from drawn import class_mask, encoded, photo
from PIL import Image

from data_tools.colors import ColorTable
from data_tools.encoding import make_encoding
from data_tools.inspection import samples
from data_tools.inspection.facts import PictureFacts
from data_tools.inspection.meaning import Meaning
from kseg.labels import LabelMap

PICTURE = PictureFacts("train", "p")


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


def test_samples_are_spread_over_the_split():
    assert samples.spread(100, 4) == [0, 25, 50, 75]
    assert samples.spread(3, 4) == [0, 1, 2]
    assert samples.spread(0, 4) == []


def test_only_pictures_in_order_are_shown():
    sound = PictureFacts("train", "a", size=(3, 4), mask_size=(3, 4), classes=(12, *[0] * 255))
    others = [
        PictureFacts("train", "b", size=(3, 4), mask_size=(4, 3), classes=(12, *[0] * 255)),
        PictureFacts("train", "c", size=(3, 4), mask_size=(3, 4)),
        PictureFacts("train", "d", mask_size=(3, 4), classes=(12, *[0] * 255)),
    ]
    assert samples.choose([sound, *others], None) == [sound]
    assert samples.choose([sound, *others], {("train", "a"): None}) == [sound]
    assert samples.choose([sound, *others], {("validation", "a"): None}) == []


def test_a_sample_by_an_encoding_and_by_a_suggested_map():
    content = encoded(photo(24, 32)), encoded(class_mask(24, 32))
    known = samples.sample(PICTURE, content, Meaning(LabelMap.numbered(3), True), make_encoding(3))
    np.testing.assert_array_equal(opened(known.image_png), photo(24, 32))
    np.testing.assert_array_equal(opened(known.mask_png), class_mask(24, 32))
    mapped = samples.sample(PICTURE, content, Meaning(LabelMap.numbered(2), False, {"train": {0: 1, 2: 0}}), None)
    expected = np.array([1, 255, 0, *[255] * 253], np.uint8)[class_mask(24, 32)]
    np.testing.assert_array_equal(opened(mapped.mask_png), expected)


def test_a_sample_of_colors():
    colors = np.array([(0, 0, 0), (9, 9, 9), (7, 7, 7)], np.uint8)[class_mask(24, 32) % 3]
    table = ColorTable(("a", "b"), ((9, 9, 9), (0, 0, 0)))
    meaning = Meaning(LabelMap.from_names("ab"), False, colors=table)
    shown = opened(samples.sample(PICTURE, (encoded(photo(24, 32)), encoded(colors)), meaning, None).mask_png)
    np.testing.assert_array_equal(shown, np.array([1, 0, 255], np.uint8)[class_mask(24, 32) % 3])


def test_large_pictures_are_shrunk_alike():
    content = encoded(photo(500, 750), "JPEG"), encoded(class_mask(500, 750))
    shown = samples.sample(PICTURE, content, Meaning(LabelMap.numbered(3), True), make_encoding(3))
    assert opened(shown.image_png).shape == (320, 480, 3)
    assert opened(shown.mask_png).shape == (320, 480)
