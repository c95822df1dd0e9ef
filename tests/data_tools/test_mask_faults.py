import json

import numpy as np
import pytest
from drawn import class_mask, encoded, paletted, photo, png, rows

from data_tools.colors import ColorTable, read_colors
from data_tools.encoding import make_encoding
from data_tools.masks import check_mask, read_mask
from data_tools.reading import PictureError

MASK = class_mask(13, 21)
TABLE = ColorTable(("road", "car"), ((1, 2, 3), (200, 0, 0)), ((0, 0, 0),))
COLORS = make_encoding(2, colors=TABLE, palette="color")


def refusal(data: bytes, encoding) -> str:
    with pytest.raises(PictureError) as error:
        check_mask(data, encoding)
    return str(error.value)


def of(*values) -> bytes:
    """A grey mask with a pixel of each value."""
    return encoded(np.array([values], np.uint8))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (png(2, 1, 2, 0, b"\0\x10"), "a 2-bit grey PNG; .*whether 1 or the 85 that viewers show"),
        (png(2, 1, 4, 0, b"\0\x01"), "a 4-bit grey PNG; .*whether 1 or the 17 that viewers show"),
        (encoded(photo(13, 21)), "an 8-bit RGB PNG; .*; colours are no class numbers; --colors says which is which"),
        (encoded(photo(13, 21), mode="RGBA"), "an 8-bit RGBA PNG; .*--colors"),
        (encoded(MASK, mode="RGB"), "an 8-bit RGB PNG; .*all its pixels are grey .*: save it with one channel"),
        (png(21, 13, 16, 2, rows(photo(13, 21).astype(np.uint16))), "a 16-bit RGB PNG"),
        (png(1, 1, 16, 4, b"\0\0\1\xff\xff"), "a 16-bit grey with alpha PNG"),
    ],
    ids=["2bit", "4bit", "rgb", "rgba", "grey-rgb", "rgb16", "la16"],
)
def test_kinds_that_say_no_class(data, found):
    with pytest.raises(PictureError, match=found) as error:
        check_mask(data, make_encoding(254))
    assert "expected an 8-bit single-channel PNG (palette or grey)" in str(error.value)


@pytest.mark.parametrize(
    "data",
    [encoded(MASK), encoded(MASK % 2 == 1), encoded(MASK, mode="LA"), png(21, 13, 16, 0, rows(MASK.astype(np.uint16)))],
)
def test_grey_masks_have_no_colors(data):
    assert "which has no colours; expected RGB or a palette" in refusal(data, COLORS)


def test_16_bit_colors_are_refused():
    data = png(21, 13, 16, 2, rows(photo(13, 21).astype(np.uint16)))
    assert refusal(data, COLORS).startswith("a 16-bit RGB PNG; expected an 8-bit")


@pytest.mark.parametrize(("image_format", "hint"), [("JPEG", "compression invents values"), ("BMP", "save it as PNG"),
                                                    ("TIFF", "save it as PNG"), ("GIF", "save it as PNG")])  # fmt: skip
def test_other_formats_are_named(image_format, hint):
    data = encoded(MASK, image_format)
    for read in (read_mask, lambda data: check_mask(data, make_encoding(3))):
        with pytest.raises(PictureError, match=f"^a {image_format} file; expected an 8-bit single-channel PNG.*{hint}"):
            read(data)
    with pytest.raises(PictureError, match="not a readable picture; expected 8-bit single-channel PNG"):
        read_mask(b"GIF89a, or so it says")


def test_wrong_values_under_rules_name_what_is_allowed():
    listed = make_encoding(3, label_map={"map": {"0": 4, "1": [0, 1], "2": 2}})
    assert refusal(of(0, 4, 3, 3, 7), listed) == (
        "values that are no class: 3 (2 pixels), 7 (1 pixels); allowed: 0 to 2, 4 by the label map, 255 = ignore; "
        "if they are void, --ignore_values lists them; --unmapped=ignore makes all such pixels 255"
    )
    assert "allowed: 0 to 8, as value // 3 is the class, 255 = ignore" in refusal(
        of(9), make_encoding(3, label_map={"scale": 3})
    )
    assert "4 (1 pixels); allowed: 1 to 3, as value - 1 is the class, 0 = ignore, 7 or 255 = ignore" in refusal(
        of(0, 3, 4, 7), make_encoding(3, reduce_zero_label=True, ignore_values=(7,))
    )


@pytest.mark.parametrize(
    ("values", "num_classes", "hint"),
    [
        ((0, 100, 50), 3, 'all are multiples of 50: a label map, {"scale": 50}, undoes it if they are scaled'),
        ((0, 128, 255), 3, 'a label map, {"map": {"0": 0, "1": 128, "2": 255}}, undoes it'),
        ((0, 127, 255), 3, '{"0": 0, "1": 127, "2": 255}'),
        ((0, 51, 102, 255), 6, '{"0": 0, "1": 51, "2": 102, "5": 255}'),
        ((0, 128, 255), 2, 'all are multiples of 128: a label map, {"scale": 128}'),  # 255 stays what it means: ignore
        ((0, 1, 2, 3), 3, ""),
        ((0, 90, 91, 255), 3, ""),
        ((0, 40, 80), 2, ""),
    ],
)
def test_scaled_values_get_a_label_map_that_undoes_it(values, num_classes, hint):
    message = refusal(of(*values), make_encoding(num_classes))
    assert hint in message
    assert bool(hint) == ("label map" in message)


def test_colors_of_two_classes_and_of_none_of_these():
    shared = encoded(np.full((2, 3, 3), 140, np.uint8))
    message = refusal(shared, make_encoding(150, colors=read_colors("ade20k")))
    assert message == (
        "colours that are no class: (140, 140, 140) (6 pixels, of both road and skyscraper); "
        "--unmapped=ignore sets such pixels to 255"
    )
    car = encoded(np.full((1, 2, 3), (200, 0, 0), np.uint8))
    assert "(200, 0, 0) (2 pixels, car (1); allowed: 0 by the label map" in refusal(
        car, make_encoding(2, colors=TABLE, label_map={"map": {"0": 0}})
    )


def test_many_strange_colors_are_counted():
    message = refusal(encoded(photo(20, 20)), COLORS)  # 400 colours, of which black is known
    assert " and 394 other colours; JPEG compression" in message


def test_palette_indices_without_a_class():
    raw = np.array([[0, 1, 2, 2]], np.uint8)
    data = paletted(raw, [(1, 2, 3), (200, 0, 0), (9, 9, 9)])
    assert "colours that are no class: (9, 9, 9) (2 pixels, nearest: road (1, 2, 3))" in refusal(data, COLORS)
    beyond = paletted(raw, [(1, 2, 3), (200, 0, 0)])
    by_index = make_encoding(2, colors=TABLE)
    for encoding in (COLORS, by_index):
        assert refusal(beyond, encoding) == "index 2 is not in its palette of 2 colours"
    assert "index 1 has the colour (1, 2, 3), that of road (0); --palette=color" in refusal(
        paletted(raw[:, :2], [(1, 2, 3), (1, 2, 3)]), by_index
    )
    assert "index 2 has the colour (9, 9, 9), which no class has; --palette=color" in refusal(data, by_index)


def test_a_scaling_by_both_roundings_gives_a_map_that_can_be_read():
    message = refusal(of(0, 127, 128, 255), make_encoding(3))
    listed = message[message.index('{"map"') : message.rindex("}") + 1]
    assert make_encoding(3, label_map=json.loads(listed)).original() == {"values": [0, 127, 255]}
