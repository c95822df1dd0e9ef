"""The form in which a mask goes into the record, whatever its file is."""

import zlib

import numpy as np
import pytest
from drawn import adam7_rows, encoded, png, split_pixels

from data_tools.encoding import make_encoding
from data_tools.masks import check_mask
from kseg.data.plain_png import plain_rows

SMALL = np.array([[1, 2, 2], [0, 255, 2]], np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        encoded(SMALL),  # rows filtered by Pillow
        encoded(SMALL, mode="P"),
        png(3, 2, 8, 0, adam7_rows(SMALL), interlaced=True),
        split_pixels(encoded(SMALL, mode="P")),
        encoded(np.dstack([SMALL, np.full_like(SMALL, 255)])),
        encoded(np.kron(SMALL, np.ones((2, 2), np.uint8))),  # shrunk
    ],
    ids=["grey", "palette", "interlaced", "two-idat", "alpha", "large"],
)
def test_the_record_has_the_form_that_training_reads_fastest(data):
    # One chunk, and in it rows of filter 0: 1 2 2 and 0 255 2.
    mask = check_mask(data, make_encoding(3), max_side=3)
    length = int.from_bytes(mask.encoded[33:37], "big")
    assert (mask.encoded[37:41], len(mask.encoded)) == (b"IDAT", 41 + length + 4 + 12)
    assert zlib.decompress(mask.encoded[41:-16]) == b"\0\1\2\2" + b"\0\0\xff\2"
    np.testing.assert_array_equal(plain_rows(mask.encoded)[:, 1:], SMALL)
    assert {value: count for value, count in enumerate(mask.histogram) if count} == {0: 1, 1: 1, 2: 3, 255: 1}
    assert len(mask.histogram) == 256


def test_a_mask_of_one_value():
    for classes, count in ((np.full((4, 5), 2, np.uint8), 20), (np.array([[2]], np.uint8), 1)):
        mask = check_mask(encoded(classes), make_encoding(3))
        assert mask.histogram == (0, 0, count, *[0] * 253)
        np.testing.assert_array_equal(plain_rows(mask.encoded)[:, 1:], classes)
