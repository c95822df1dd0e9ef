"""Turning photographs upright, against Pillow's own."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from kseg import photos


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_is_turned_as_pillow_does(turn):
    stored = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
    stored.getexif()[photos.ORIENTATION_TAG] = turn
    assert photos.orientation(stored) == turn
    turned = photos.upright(stored, turn)
    np.testing.assert_array_equal(np.asarray(turned), np.asarray(ImageOps.exif_transpose(stored)))


@pytest.mark.parametrize("value", [0, 9, "north"])
def test_an_orientation_that_is_none_leaves_the_picture(value):
    stored = Image.fromarray(np.zeros((2, 3), np.uint8))
    stored.getexif()[photos.ORIENTATION_TAG] = value
    assert photos.orientation(stored) == 1
