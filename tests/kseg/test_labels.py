"""Class names and colours."""

import dataclasses
import json

import numpy as np
import pytest

from kseg.errors import UsageError
from kseg.labels import IGNORE, IGNORE_COLOR, LabelMap, default_colors


def test_colors_are_distinct_up_to_the_most_classes():
    colors = default_colors(254)
    assert len(set(colors)) == 254
    assert IGNORE_COLOR not in colors


def test_names_text():
    labels = LabelMap.from_names_text("sky\n road \r\ncar\n\n", "--classes=FILE")
    assert labels.names == ("sky", "road", "car")
    assert LabelMap.from_dict(labels.to_dict()) == labels


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("one\n", "1 names; allowed: 2 to 254"),
        ("".join(f"c{i}\n" for i in range(255)), "255 names; allowed: 2 to 254"),
        ("a\n\nb\n", "line 2 is empty"),
        ("a\nb\na\n", "line 3 repeats 'a'"),
    ],
)
def test_refused_names_texts(content, message):
    with pytest.raises(UsageError, match=f"^--classes=FILE: .*{message}"):
        LabelMap.from_names_text(content, "--classes=FILE")


def test_colorize_and_overlay():
    labels = LabelMap(("a", "b"), ((0, 0, 0), (200, 100, 50)))
    mask = np.array([[0, 1, IGNORE]], np.uint8)
    assert labels.colorize(mask).tolist() == [[[0, 0, 0], [200, 100, 50], list(IGNORE_COLOR)]]
    image = np.full((1, 3, 3), 100, np.uint8)
    assert labels.overlay(image, mask, alpha=0.25).tolist() == [[[75] * 3, [125, 100, 88], [131] * 3]]


COLORED = LabelMap(("a", "b"), ((0, 0, 0), (200, 100, 50)))


def test_the_users_own_encoding_goes_along():
    assert "original" not in COLORED.to_dict()
    for record, want in (
        ({"values": [7, None]}, (7, None)),
        ({"values": [65535, 0]}, (65535, 0)),
        ({"colors": [[1, 2, 3], None]}, ((1, 2, 3), None)),
    ):
        labels = COLORED.with_original({"scale": 3, "original": record})
        assert labels.original == want
        assert LabelMap.from_dict(json.loads(labels.to_json())) == labels
    for nothing in (None, {"unmapped": "ignore", "original": None}):
        assert COLORED.with_original(nothing) == COLORED


@pytest.mark.parametrize(
    "original",
    [
        *(
            {"values": [1]},
            {"values": [1, -1]},
            {"values": [1, 65536]},
            {"values": [1, 2.5]},
            {"values": [1, [1, 2, 3]]},
        ),
        *({"colors": [[1, 2, 3], [1, 2]]}, {"colors": [[1, 2, 3], 4]}, {"colors": [[1, 2, 3], [0, 0, 256]]}),
        *({"names": ["a", "b"]}, {}, [1, 2], 3),
    ],
)
def test_a_damaged_encoding_is_no_label_map(original):
    with pytest.raises((ValueError, KeyError, TypeError)):
        LabelMap.from_dict(COLORED.to_dict() | {"original": original})


def test_classes_as_the_users_files_call_them():
    mask = np.array([[0, 1], [1, 1]], np.uint8)
    for original, want, kind in (
        (None, [[0, 1], [1, 1]], np.uint8),
        ((9, 0), [[9, 0], [0, 0]], np.uint8),
        ((256, 3), [[256, 3], [3, 3]], np.uint16),
        (((1, 2, 3), (4, 5, 6)), [[[1, 2, 3], [4, 5, 6]], [[4, 5, 6], [4, 5, 6]]], np.uint8),
    ):
        found = dataclasses.replace(COLORED, original=original).in_original(mask)
        assert (found.tolist(), found.dtype) == (want, kind)
