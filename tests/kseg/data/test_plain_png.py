import io
import itertools
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kseg.data import plain_png


def labels(height, width):
    return np.random.default_rng(0).integers(0, 12, (height, width), dtype=np.uint8)


def chunk(kind, content):
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(mask, row_filter=0, chunks=1, interlace=0, data=None):
    """A grey PNG of one byte a pixel; filters beyond 0 are named, not applied; `data` stands for the pixels."""
    height, width = mask.shape
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, interlace])
    rows = np.concatenate([np.full((height, 1), row_filter, np.uint8), mask], axis=1)
    data = zlib.compress(rows.tobytes()) if data is None else data
    cuts = np.linspace(0, len(data), chunks + 1).astype(int)
    pieces = b"".join(chunk(b"IDAT", data[low:high]) for low, high in itertools.pairwise(cuts))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pieces + chunk(b"IEND", b"")


class TestPlainRows:
    @pytest.mark.parametrize("size", [(1, 1), (7, 13), (360, 480)])
    def test_equals_libpng(self, size):
        encoded = png(labels(*size))
        rows = plain_png.plain_rows(encoded)
        np.testing.assert_array_equal(rows[:, 1:], tf.io.decode_png(encoded)[..., 0])
        assert not rows[:, 0].any()

    def test_what_is_not_plain_is_left_to_libpng(self):
        mask, buffer = labels(20, 30), io.BytesIO()
        Image.fromarray(np.repeat(mask[..., None], 3, axis=2)).save(buffer, "PNG")
        mixed = np.concatenate([np.zeros((20, 1), np.uint8), mask], axis=1)
        mixed[11, 0] = 2
        mixed = png(mask, data=zlib.compress(mixed.tobytes()))
        for encoded in (buffer.getvalue(), png(mask, row_filter=1), png(mask, chunks=2), png(mask, interlace=1), mixed):
            assert plain_png.plain_rows(encoded).size == 0

    # Rows of 10 bytes: of 7 rows one at a time, then 3, 3 and 1, then 7, then 7 with room for more.
    @pytest.mark.parametrize("at_once", [1, 30, 70, 1000])
    @pytest.mark.parametrize("level", [0, 1, 3, 9])
    def test_piece_by_piece(self, monkeypatch, at_once, level):
        monkeypatch.setattr(plain_png, "INFLATED_AT_ONCE", at_once)
        mask = labels(7, 9)
        rows = np.concatenate([np.zeros((7, 1), np.uint8), mask], axis=1).tobytes()
        np.testing.assert_array_equal(plain_png.plain_rows(png(mask, data=zlib.compress(rows, level)))[:, 1:], mask)
        faulty = {
            "a row of filter 2": rows[:60] + b"\2" + rows[61:],
            "a byte missing": rows[:-1],
            "a row missing": rows[:-10],
            "a byte too many": rows + b"\0",
        }
        for name, content in faulty.items():
            assert plain_png.plain_rows(png(mask, data=zlib.compress(content, level))).size == 0, name

    def test_streams_that_zlib_refuses_are_left_to_libpng(self):
        # Their chunk's checksum is right: no damage but a faulty writer.
        mask = labels(6, 9)
        stream = zlib.compress(bytes(60))
        faulty = [b"", stream[:1], stream[:-4], stream[:-1], b"\x79" + stream[1:], stream + b"\0", b"\x78\xbb" + stream]
        for data in faulty:
            assert plain_png.plain_rows(png(mask, data=data)).size == 0, data
        assert plain_png.plain_rows(png(mask, data=stream)).shape == (6, 10)

    def test_every_damage_is_left_to_libpng(self):
        # Whatever byte is changed or missing, libpng is to find it: no wrong pixels, no exception.
        encoded = png(labels(6, 9))
        for place in range(len(encoded)):
            changed = encoded[:place] + bytes([encoded[place] ^ 0x41]) + encoded[place + 1 :]
            assert plain_png.plain_rows(changed).size == 0, place
            assert plain_png.plain_rows(encoded[:place]).size == 0, place

    @pytest.mark.parametrize("side", [0, 2**16, 2**16 + 1, 2**32 - 1])
    def test_sides_that_no_mask_has_are_left_to_libpng(self, side):
        encoded = png(labels(6, 9))
        kind = b"IHDR" + side.to_bytes(4, "big") * 2 + encoded[24:29]
        claimed = encoded[:12] + kind + zlib.crc32(kind).to_bytes(4, "big") + encoded[33:]
        assert plain_png.plain_rows(claimed).size == 0
