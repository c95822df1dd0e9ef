import json

import numpy as np
import pytest
import tensorflow as tf
from drawn import adam7_rows, chunk, class_mask, encoded, paletted, photo, png, rows, split_pixels
from PIL import Image

from data_tools.colors import ColorTable, read_colors
from data_tools.encoding import make_encoding
from data_tools.masks import UNMAPPED_NOTE, check_mask, read_mask
from data_tools.reading import PictureError
from kseg import predictor
from kseg.labels import LabelMap
from kseg.photos import ORIENTATION_TAG

MASK = class_mask(13, 21)
PALETTE = chunk(b"PLTE", np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
TRANSPARENCY = chunk(b"tRNS", bytes(range(256)))
GAMMA = chunk(b"gAMA", (100000).to_bytes(4, "big"))


@pytest.mark.parametrize(
    "data",
    [
        encoded(MASK),
        encoded(MASK, mode="P"),
        encoded(MASK, mode="P", transparency=0),
        png(21, 13, 8, 3, rows(MASK), extra=PALETTE + TRANSPARENCY),
        png(21, 13, 8, 0, rows(MASK), extra=GAMMA),
        png(21, 13, 8, 0, rows(MASK), extra=chunk(b"tRNS", b"\0\2")),
        png(21, 13, 8, 3, adam7_rows(MASK), interlaced=True, extra=PALETTE),
        png(21, 13, 8, 0, adam7_rows(MASK), interlaced=True),
        split_pixels(encoded(MASK, mode="P")),
    ],
    ids=["grey", "palette", "palette-trns", "palette-alpha", "gamma", "grey-trns", "interlaced-palette",
         "interlaced-grey", "two-idat"],
)  # fmt: skip
def test_tensorflow_decodes_the_indices(data):
    mask = check_mask(data, make_encoding(3))
    assert (mask.height, mask.width) == (13, 21)
    np.testing.assert_array_equal(tf.io.decode_png(mask.encoded, channels=1)[..., 0], MASK)
    np.testing.assert_array_equal(tf.io.decode_png(mask.encoded)[..., 0], MASK)  # one channel by itself, too
    assert mask.histogram == tuple(np.bincount(MASK.ravel(), minlength=256))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_indices_of_packed_palettes_are_kept(bits):
    indices = np.arange(15 * 9, dtype=np.uint8).reshape(9, 15) % 2**bits
    mask = check_mask(encoded(indices, mode="P", bits=bits), make_encoding(16))
    np.testing.assert_array_equal(tf.io.decode_png(mask.encoded, channels=1)[..., 0], indices)
    assert sum(mask.histogram[: 2**bits]) == 135


GREY16 = np.array([[0, 300], [65535, 2]], np.uint16)
TABLE = ColorTable(("road", "car", "sky"), ((1, 2, 3), (200, 0, 0), (0, 0, 255)), ((0, 0, 0),))
COLORED = np.array([*TABLE.colors, (0, 0, 0)], np.uint8)[np.where(MASK == 255, 3, MASK)]
COLORS = make_encoding(3, colors=TABLE)


def decoded(mask) -> np.ndarray:
    return tf.io.decode_png(mask.encoded).numpy()[..., 0]


def test_1_bit_grey_is_0_and_1():
    bits = MASK % 2
    mask = check_mask(encoded(bits.astype(bool)), make_encoding(2))
    np.testing.assert_array_equal(decoded(mask), bits)
    assert mask.histogram[:3] == (int((bits == 0).sum()), int(bits.sum()), 0)


@pytest.mark.parametrize("interlaced", [False, True])
def test_16_bit_grey_keeps_its_values(interlaced):
    pixels = adam7_rows(GREY16) if interlaced else rows(GREY16)
    data = png(2, 2, 16, 0, pixels, interlaced=interlaced)
    encoding = make_encoding(3, label_map={"map": {"0": 0, "1": 65535, "2": 300, "255": 2}})
    np.testing.assert_array_equal(decoded(check_mask(data, encoding)), [[0, 2], [1, 255]])
    with pytest.raises(
        PictureError, match=r"values that are no class: 300 \(1 pixels\), 65535 \(1 pixels\); allowed: 0"
    ):
        check_mask(data, make_encoding(3))


def test_grey_with_alpha_counts_if_it_is_opaque():
    opaque = np.stack([MASK, np.full_like(MASK, 255)], axis=-1)
    np.testing.assert_array_equal(decoded(check_mask(encoded(opaque), make_encoding(3))), MASK)
    opaque[2, 3, 1] = 254
    with pytest.raises(PictureError, match="transparent pixels, whose class is unclear"):
        check_mask(encoded(opaque), make_encoding(3))


@pytest.mark.parametrize("alpha", [False, True])
def test_colors_become_their_lines(alpha):
    data = encoded(COLORED, mode="RGBA") if alpha else encoded(COLORED)
    np.testing.assert_array_equal(decoded(check_mask(data, COLORS)), MASK)


def test_a_palette_counts_by_color_or_by_index():
    by_color = make_encoding(3, colors=TABLE, palette="color")
    quantized = Image.fromarray(COLORED).quantize(4)  # as tools do that save few colours small
    mixed = paletted(np.asarray(quantized), np.reshape(quantized.getpalette(), (-1, 3)))
    np.testing.assert_array_equal(decoded(check_mask(mixed, by_color)), MASK)
    with pytest.raises(PictureError, match=r"index \d has the colour \(.*\), .*; --palette=color goes by the colours"):
        check_mask(mixed, COLORS)
    voc = read_colors("voc")
    agreeing = paletted(MASK, [*voc.colors, *[(0, 0, 0)] * 234, *voc.ignored])
    for palette in ("index", "color"):
        mask = check_mask(agreeing, make_encoding(21, colors=voc, palette=palette))
        np.testing.assert_array_equal(decoded(mask), MASK)


def test_transparent_colors_are_refused():
    opaque = np.dstack([COLORED, np.full_like(MASK, 255)])
    opaque[1, 1, 3] = 0
    keyed = png(21, 13, 8, 2, rows(COLORED), extra=chunk(b"tRNS", b"\0\1\0\2\0\3"))
    indexed = paletted(np.zeros((2, 2), np.uint8), [(1, 2, 3)], alpha=b"\0")
    for data in (encoded(opaque), keyed, indexed):
        with pytest.raises(PictureError, match="transparent pixels"):
            check_mask(data, make_encoding(3, colors=TABLE, palette="color"))


def test_strange_colors_are_named_with_their_pixels_and_the_nearest():
    smooth = COLORED.copy()
    smooth[:2, 0], smooth[5, 5] = (199, 0, 1), (0, 9, 255)
    with pytest.raises(PictureError) as error:
        check_mask(encoded(smooth), COLORS)
    assert str(error.value) == (
        "colours that are no class: (199, 0, 1) (2 pixels, nearest: car (200, 0, 0)), (0, 9, 255) (1 pixels, nearest: "
        "sky (0, 0, 255)); JPEG compression, resizing and smoothed borders make colours in between: export the mask as "
        "PNG without them; --unmapped=ignore sets such pixels to 255"
    )
    mask = check_mask(encoded(smooth), make_encoding(3, colors=TABLE, unmapped="ignore"))
    want = MASK.copy()
    want[:2, 0] = want[5, 5] = 255
    np.testing.assert_array_equal(decoded(mask), want)
    assert mask.notes == (UNMAPPED_NOTE,)
    assert mask.histogram == tuple(np.bincount(want.ravel(), minlength=256))
    assert check_mask(encoded(COLORED), make_encoding(3, colors=TABLE, unmapped="ignore")).notes == ()


def test_values_without_a_class_can_be_ignored():
    mask = check_mask(encoded(MASK, mode="P"), make_encoding(2, label_map={"map": {"1": 0, "0": 1}}, unmapped="ignore"))
    np.testing.assert_array_equal(decoded(mask), np.array([1, 0, 255])[np.minimum(MASK, 2)])
    assert mask.notes == (UNMAPPED_NOTE,)


@pytest.mark.parametrize("rule", ["label_map", "reduce_zero_label", "ignore_values", "colors"])
def test_predictions_in_the_users_own_encoding(tmp_path, rule):
    """A mask as a user has it -> its classes -> what kseg-predict --original_labels writes for them -> the same."""
    classes = np.random.default_rng(3).integers(0, 3, (9, 14)).astype(np.uint8)
    theirs, encoding, kind = {
        "label_map": (
            np.array([7, 0, 400], np.uint16)[classes],
            {"label_map": {"map": {"0": 7, "1": 0, "2": 400}}},
            16,
        ),
        "reduce_zero_label": (classes + 1, {"reduce_zero_label": True}, 8),
        "ignore_values": (classes * 80, {"label_map": {"scale": 80}, "ignore_values": (250,)}, 8),
        "colors": (np.array(TABLE.colors, np.uint8)[classes], {"colors": TABLE}, 8),
    }[rule]
    encoding = make_encoding(3, **encoding)
    data = png(14, 9, 16, 0, rows(theirs)) if kind == 16 else encoded(theirs)
    np.testing.assert_array_equal(decoded(check_mask(data, encoding)), classes)
    labels = LabelMap.numbered(3).with_original(json.loads(json.dumps(encoding.to_dict())))
    (tmp_path / "a.png").write_bytes(encoded(photo(9, 14)))
    predictor.predict(
        lambda images: classes[None], [str(tmp_path / "a.png")], str(tmp_path), labels, original_labels=True
    )
    written = (tmp_path / "masks" / "a.png").read_bytes()
    raw = read_mask(written)
    np.testing.assert_array_equal(raw.rgb if rule == "colors" else raw.values, theirs)
    np.testing.assert_array_equal(decoded(check_mask(written, encoding)), classes)


def test_shrinking_takes_the_nearest_pixel():
    big = np.repeat(np.repeat(MASK, 3, axis=0), 3, axis=1)  # the middle of each 3 x 3 is its value
    for data, encoding in (
        (encoded(big, mode="P"), make_encoding(3)),
        (encoded(COLORED.repeat(3, 0).repeat(3, 1)), COLORS),
    ):
        mask = check_mask(data, encoding, max_side=21)
        np.testing.assert_array_equal(decoded(mask), MASK)
        assert (mask.height, mask.width, mask.full_size) == (13, 21, (39, 63))
        assert mask.histogram == tuple(np.bincount(MASK.ravel(), minlength=256))
        assert check_mask(data, encoding, max_side=63).full_size == (39, 63)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(MASK), "8-bit grey"),
        (encoded(MASK % 2 == 1), "1-bit grey"),
        (png(2, 1, 2, 0, b"\0\x10"), "2-bit grey"),
        (png(2, 1, 4, 0, b"\0\x0f"), "4-bit grey"),
        (png(2, 2, 16, 0, rows(GREY16)), "16-bit grey"),
        (encoded(MASK % 4, mode="P", bits=2), "palette"),
        (encoded(COLORED), "RGB"),
        (encoded(COLORED, mode="RGBA"), "RGBA"),
        (encoded(MASK, mode="LA"), "grey with alpha"),
        (png(21, 13, 16, 2, rows(COLORED.astype(np.uint16))), "16-bit RGB"),
        (png(1, 1, 16, 4, b"\0\0\1\xff\xff"), "16-bit grey with alpha"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_masks_as_they_are(data, kind):
    raw = read_mask(data)
    assert raw.kind == kind
    assert raw.alpha_opaque
    values = {
        **{"8-bit grey": MASK, "1-bit grey": MASK % 2, "2-bit grey": [[0, 1]], "4-bit grey": [[0, 15]]},
        **{"16-bit grey": GREY16, "palette": MASK % 4, "grey with alpha": MASK},
    }
    if kind in values:
        np.testing.assert_array_equal(raw.values, values[kind])
        assert raw.values.dtype == (np.uint16 if kind == "16-bit grey" else np.uint8)
        assert raw.values.shape == (raw.height, raw.width)
    assert (raw.values is None) == (kind not in values)
    assert (raw.rgb is None) == (kind not in ("RGB", "RGBA"))
    if raw.rgb is not None:
        np.testing.assert_array_equal(raw.rgb, COLORED)
    assert (raw.palette is None) == (kind != "palette")


def test_a_palette_is_read_as_a_table():
    image = paletted(np.array([[0, 2]], np.uint8), [(1, 2, 3), (4, 5, 6), (7, 8, 9)], alpha=b"\xff\xff\0")
    raw = read_mask(image)
    np.testing.assert_array_equal(raw.palette, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert raw.values.tolist() == [[0, 2]]
    assert not raw.alpha_opaque


@pytest.mark.parametrize("mode", ["L", "P"])
@pytest.mark.parametrize("lost", [1, 6, 20, 60])
def test_refuses_truncated_masks(mode, lost):
    with pytest.raises(PictureError, match=r"truncated or damaged|not a readable picture"):
        check_mask(encoded(MASK, mode=mode)[:-lost], make_encoding(3))


def test_refuses_a_mask_with_a_wrong_checksum():
    data = encoded(MASK, mode="P")
    at = data.index(b"IDAT") + 12
    with pytest.raises(PictureError, match="truncated or damaged"):
        check_mask(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :], make_encoding(3))


def test_names_values_that_are_no_class_and_their_pixels():
    wrong = np.zeros((10, 10), np.uint8)
    wrong[0, :4], wrong[1, 0], wrong[2, :3] = 3, 254, 255
    with pytest.raises(PictureError) as error:
        check_mask(encoded(wrong), make_encoding(3))
    assert str(error.value) == (
        "values that are no class: 3 (4 pixels), 254 (1 pixels); allowed: 0 to 2, 255 = ignore; if they are void, "
        "--ignore_values lists them; --unmapped=ignore makes all such pixels 255"
    )
    assert check_mask(encoded(np.minimum(wrong, 2)), make_encoding(3)).histogram[2] == 8


def test_many_wrong_values_are_counted():
    with pytest.raises(PictureError, match=r"4 \(1 pixels\), 5 .*8 \(1 pixels\) and 246 other values; allowed: 0 to 3"):
        check_mask(encoded(np.arange(256, dtype=np.uint8).reshape(16, 16)), make_encoding(4))


def test_the_highest_class_count_leaves_254_out():
    assert check_mask(encoded(np.full((2, 2), 253, np.uint8)), make_encoding(254)).histogram[253] == 4
    with pytest.raises(PictureError, match="254"):
        check_mask(encoded(np.full((2, 2), 254, np.uint8)), make_encoding(254))


def test_refuses_a_mask_with_an_orientation_of_its_own():
    block = Image.Exif()
    block[ORIENTATION_TAG] = 6
    with pytest.raises(PictureError, match="EXIF orientation 6"):
        check_mask(encoded(MASK, exif=block), make_encoding(3))


def test_refuses_a_decompression_bomb():
    with pytest.raises(PictureError, match="178956970 pixels"):
        check_mask(png(40000, 40000, 8, 0, b""), make_encoding(3))
