import dataclasses

import pytest

from data_tools.colors import read_colors
from data_tools.encoding import UNMAPPED, make_encoding
from data_tools.inspection.facts import PictureFacts
from data_tools.inspection.meaning import classified, interpret
from kseg.labels import LabelMap


def masks(*sets_of_values, split="train") -> list[PictureFacts]:
    """A picture for each set of values, 10 pixels a value."""
    return [
        PictureFacts(split, f"p{index}", mask_kind="8-bit grey", values=dict.fromkeys(sorted(values), 10))
        for index, values in enumerate(sets_of_values)
    ]


def inferred(*pictures):
    return interpret(pictures, None, {picture.split: None for picture in pictures})


def test_classes_are_the_values_without_255():
    meaning = inferred(*masks({0, 1}, {0, 2, 255}, {1, 2}))
    assert (meaning.labels, meaning.known, meaning.maps) == (LabelMap.numbered(3), False, {})


def test_a_class_of_one_mask_counts_if_it_leaves_no_gap():
    assert inferred(*masks({0, 1}, {0, 1}, {0, 2})).labels.num_classes == 3
    assert inferred(*masks({0, 1}, {0, 1}, {0, 9})).labels.num_classes == 2


def test_in_many_masks_a_value_of_one_is_stray():
    many = masks(*[{0, 1}] * 99, {0, 2})
    meaning = inferred(*many)
    assert meaning.labels.num_classes == 2
    assert classified(many[0], meaning, None).classes[:3] == (10, 10, 0)
    assert classified(many[99], meaning, None).classes is None
    assert inferred(*masks(*[{0, 1}] * 98, {0, 2}, {2})).labels.num_classes == 3


def test_smoothed_masks_have_no_say():
    sharp, smoothed = masks({0, 1}, {0, 1}), masks({0, 1, 2, 3}, {0, 1, 2, 3})
    smoothed = [dataclasses.replace(picture, ramps=0.3) for picture in smoothed]
    assert inferred(*sharp, *smoothed).labels.num_classes == 2


def test_scaled_values_of_one_split_of_two():
    pictures = masks({0, 1, 2}, {0, 1, 2}) + masks({0, 128, 255}, {0, 128}, split="validation")
    meaning = inferred(*pictures)
    assert meaning.causes == {"validation": "scaled_masks"}
    assert meaning.maps == {"validation": {0: 0, 128: 1, 255: 2}}
    assert meaning.labels.num_classes == 3
    assert classified(pictures[2], meaning, None).classes[:3] == (10, 10, 10)
    assert meaning.table("validation", None)[[128, 200, 255]].tolist() == [1, UNMAPPED, 2]


@pytest.mark.parametrize("num_classes", [None, 3])
def test_counted_from_one(num_classes):
    pictures = masks({1, 2, 3}, {1, 3, 255})
    labels = num_classes and LabelMap.numbered(num_classes)
    meaning = interpret(pictures, labels, {"train": num_classes and make_encoding(num_classes)})
    assert meaning.causes == {"train": "off_by_one"}
    assert meaning.labels.num_classes == 3
    counts = classified(pictures[1], meaning, None).classes
    assert (counts[0], counts[1], counts[2], counts[255]) == (10, 0, 10, 10)


def test_numbers_with_gaps():
    meaning = inferred(*masks({7, 11, 26}, {7, 26, 33}, {11, 33}))
    assert meaning.causes == {"train": "sparse_values"}
    assert meaning.maps["train"] == {7: 0, 11: 1, 26: 2, 33: 3}


def test_a_label_map_of_the_user_is_not_questioned():
    encoding = make_encoding(3, label_map={"map": {"0": 0, "1": 128, "2": 255}})
    meaning = interpret(masks({0, 128, 255}), LabelMap.numbered(3), {"train": encoding})
    assert (meaning.maps, meaning.known) == ({}, True)


def colored(colors: dict, split="train") -> PictureFacts:
    return PictureFacts(split, "p", mask_kind="RGB", colors=colors)


def test_colors_most_pixels_first_and_smoothed_ones_left_out():
    pictures = [colored({(0, 0, 9): 5000, (9, 0, 0): 7000, (4, 0, 4): 3}), colored({(9, 0, 0): 2000, (9, 9, 9): 500})]
    meaning = interpret(pictures, None, {"train": None})
    assert meaning.colors.colors == ((9, 0, 0), (0, 0, 9), (9, 9, 9))
    assert meaning.left_out == 1
    assert classified(pictures[1], meaning, None).classes[:3] == (2000, 0, 500)


def test_colors_of_a_built_in_table():
    voc = read_colors("voc")
    meaning = interpret([colored(dict.fromkeys(voc.colors[:4], 50))], None, {"train": None})
    assert (meaning.built_in, meaning.labels.names) == ("voc", voc.names)


def test_a_few_rgb_masks_among_others_name_no_classes():
    meaning = inferred(*masks({0, 1}, {0, 1}), colored({(0, 0, 0): 5, (9, 9, 9): 5}))
    assert (meaning.colors, meaning.labels.num_classes) == (None, 2)


def test_classes_take_the_colors_of_the_palette():
    palette = {0: (0, 0, 0), 1: (128, 0, 0)}
    pictures = [dataclasses.replace(one, palette=palette) for one in masks({0, 1}, {0, 1})]
    assert inferred(*pictures).labels.colors == ((0, 0, 0), (128, 0, 0))


def test_rare_classes_of_a_small_set_of_many():
    """14 masks of 8 of 40 classes each, 0 in a single one: a row with room for all, not one counted from 1."""
    sets = [{(3 * index + 5 * step) % 39 + 1 for step in range(8)} for index in range(14)]
    sets[13] |= {0}
    meaning = inferred(*masks(*sets[:10]), *masks(*sets[10:], split="validation"))
    assert (meaning.maps, meaning.labels.num_classes) == ({}, 40)
    assert inferred(*masks(*[{1, 2, 3}] * 300, {0, 1})).causes == {}  # 0 once in 301 masks


def test_numbers_without_0_and_with_gaps_are_not_counted_from_1():
    assert inferred(*masks({1, 2, 4}, {1, 2, 4})).causes == {}


@pytest.mark.parametrize("num_classes", [None, 3])
def test_a_second_void_value(num_classes):
    pictures = masks({0, 1, 2, 254}, {0, 254}, {0, 1, 2, 255})
    labels = num_classes and LabelMap.numbered(num_classes)
    meaning = interpret(pictures, labels, {"train": num_classes and make_encoding(num_classes)})
    assert (meaning.ignored, meaning.labels.num_classes) == ((254,), 3)
    counts = classified(pictures[0], meaning, None).classes
    assert (counts[:3], counts[254], counts[255]) == ((10, 10, 10), 0, 10)


def test_values_that_the_user_has_ignored_are_not_questioned():
    encodings = {"train": make_encoding(3, unmapped="ignore")}
    for pictures in (masks({0, 1, 2, 254}, {0, 1, 2, 254}), shares(40, 20, 30, 10)):
        meaning = interpret(pictures, LabelMap.numbered(3), encodings)
        assert (meaning.ignored, meaning.doubts, meaning.maps) == ((), {}, {})


def shares(void: int, *others: int, split="train") -> list[PictureFacts]:
    """Three masks with so many pixels of 0, 1, …; the last value is not in the third."""
    values = dict(enumerate((void, *others)))
    fewer = {value: pixels for value, pixels in values.items() if value < len(others)}
    return [
        PictureFacts(split, f"p{at}", mask_kind="8-bit grey", values=fewer if at == 2 else values) for at in range(3)
    ]


def test_one_value_more_than_classes_and_no_255():
    labels, encodings = LabelMap.numbered(3), {"train": make_encoding(3)}
    meaning = interpret(shares(40, 20, 30, 10), labels, encodings)
    assert (meaning.doubts, meaning.maps) == ({"train": 3}, {})
    assert classified(shares(40, 20, 30, 10)[2], meaning, encodings["train"]).classes is None
    meaning = interpret(shares(4, 50, 30, 16), labels, encodings)  # 0 is a little of every mask: what is ignored
    assert (meaning.doubts, meaning.causes) == ({}, {"train": "off_by_one"})
    assert meaning.maps == {"train": {0: 255, 1: 0, 2: 1, 3: 2}}


def test_one_value_more_in_one_split_alone():
    usual = masks({0, 1, 2, 255}, {0, 1, 2, 255}, {0, 1, 2, 255})
    meaning = inferred(*usual, *shares(40, 20, 30, 10, split="validation"))
    assert (meaning.doubts, meaning.labels.num_classes) == ({"validation": 3}, 3)
    without = masks({0, 1, 2}, {0, 1, 2}, {0, 1, 2})  # nothing is ignored in either: 3 may be a class
    meaning = inferred(*without, *shares(40, 20, 30, 10, split="validation"))
    assert (meaning.doubts, meaning.labels.num_classes) == ({}, 4)


def test_palettes_in_another_order_have_no_say():
    palette = dict(enumerate([(0, 0, 0), (9, 0, 0), (0, 9, 0)]))
    usual = [dataclasses.replace(one, palette=palette) for one in masks({0, 1, 2}, {0, 1, 2})]
    order = {0: (9, 0, 0), 1: (0, 9, 0), 2: (0, 0, 0), 3: (1, 1, 1)}
    odd = [dataclasses.replace(one, palette=order) for one in masks({0, 1, 2, 3}, {0, 1, 2, 3}, split="validation")]
    meaning = inferred(*usual, *odd)
    assert meaning.labels.num_classes == 3
    assert meaning.misread == {("validation", "p0"), ("validation", "p1")}
    assert classified(odd[0], meaning, None).classes is None
