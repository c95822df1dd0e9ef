import pytest

from data_tools.colors import ColorTable
from data_tools.encoding import make_encoding
from data_tools.inspection import value_checks
from data_tools.inspection.facts import Fault, PictureFacts
from data_tools.inspection.meaning import interpret
from kseg.labels import LabelMap

PALETTE = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0)}


def mask(name: str, values=(0, 1, 2), **more) -> PictureFacts:
    kind = {"mask_kind": "palette", "palette": {value: PALETTE.get(value, (value,) * 3) for value in values}}
    return PictureFacts("train", name, mask=f"{name}.png", values=dict.fromkeys(values, 40), **kind | more)


def found(*pictures, encoding=make_encoding(3), labels=LabelMap.numbered(3)) -> list[tuple]:  # noqa: B008
    encodings = {"train": encoding}
    meaning = interpret(pictures, labels, encodings)
    findings = list(value_checks.value_findings(pictures, meaning, encodings))
    return [(finding.level, finding.kind, finding.files) for finding in findings]


GOOD = [mask(name) for name in "abcd"]


def test_values_that_are_no_class():
    assert found(*GOOD) == []
    assert found(*GOOD, mask("x", (0, 1, 77))) == [("error", "unknown_values", ("x.png",))]
    assert found(*GOOD, mask("x", (1, 2, 3))) == [("error", "unknown_values", ("x.png",))]
    ignoring = make_encoding(3, unmapped="ignore")
    assert found(*GOOD, mask("x", (0, 1, 77)), encoding=ignoring) == []


def test_a_shift_is_named():
    encodings = {"train": make_encoding(3)}
    pictures = [*GOOD, mask("x", (1, 2, 3))]
    meaning = interpret(pictures, LabelMap.numbered(3), encodings)
    finding = next(value_checks.value_findings(pictures, meaning, encodings))
    assert "3 (40 pixels)" in finding.message
    assert "is 1 added to every class?" in finding.message


def messages(*pictures, labels=None) -> list[str]:
    encodings = {one.split: labels and make_encoding(labels.num_classes) for one in pictures}
    meaning = interpret(pictures, labels, encodings)
    return [finding.message for finding in value_checks.value_findings(pictures, meaning, encodings)]


def test_a_class_of_one_mask_among_many_is_asked_about():
    many = [mask(str(number), (0, 1)) for number in range(80)]
    (message,) = messages(*many, mask("x", (0, 1, 2)))
    assert "the classes are taken for 0 to 1, 255 = ignore; if 2 is a class, say --num_classes=3; else" in message


@pytest.mark.parametrize("labels", [None, LabelMap.numbered(3)], ids=["inferred", "known"])
def test_another_value_for_what_is_ignored(labels):
    void = [mask(name, (0, 1, 2, 254)) for name in "xy"]
    (message,) = messages(*GOOD, *void, labels=labels)
    assert "2 masks hold 254 (80 pixels), far above the classes 0 to 2" in message
    assert "--ignore_values=254, which is suggested" in message
    assert found(*GOOD, *void, labels=labels, encoding=labels and make_encoding(3)) == [
        ("error", "unknown_values", ("x.png", "y.png"))
    ]


def test_a_numbering_in_doubt_is_told_of_once_for_the_split():
    pictures = [mask(name, (0, 1, 2, 3)) for name in "abc"]
    assert found(*pictures) == [("error", "unknown_values", ("a.png", "b.png", "c.png"))]
    (message,) = messages(*pictures, labels=LabelMap.numbered(3))
    assert "0 is ignored (--reduce_zero_label), or 3 is what is ignored (--ignore_values=3)" in message
    assert "unmapped" not in message


def test_a_label_map_decides_what_is_known():
    encoding = make_encoding(3, label_map={"map": {"0": 0, "1": 128, "2": 200}})
    assert found(mask("a", (0, 128, 200)), mask("b", (0, 200)), encoding=encoding) == []
    assert found(mask("a", (0, 128)), mask("b", (1, 200)), encoding=encoding) == [
        ("error", "unknown_values", ("b.png",))
    ]


def test_smoothed_masks_are_told_as_such_alone():
    assert found(*GOOD, mask("x", ramps=0.3)) == [("error", "blurred_masks", ("x.png",))]
    assert found(*GOOD, mask("x", range(20), ramps=0.06)) == [("error", "blurred_masks", ("x.png",))]
    assert found(*GOOD, mask("x", range(20))) == [("error", "unknown_values", ("x.png",))]  # without slopes


def test_one_scaled_mask_or_all():
    assert found(*GOOD, mask("x", (0, 128, 255))) == [("error", "scaled_masks", ("x.png",))]
    assert found(*GOOD, mask("x", (0, 128))) == [("error", "unknown_values", ("x.png",))]  # two levels may be anything
    scaled = [mask(name, (0, 128, 255)) for name in "abcd"]
    assert found(*scaled) == [("error", "scaled_masks", ("a.png", "b.png", "c.png", "d.png"))]


def test_palettes_that_put_colors_elsewhere():
    swapped = mask("x", palette={0: (0, 0, 0), 1: (0, 128, 0), 2: (128, 0, 0)})
    assert found(*GOOD, swapped) == [("error", "palette_order", ("x.png",))]
    beyond = mask("x", (0, 1, 2, 3), palette={0: (0, 128, 0), 1: (0, 0, 0), 2: (128, 0, 0), 3: (128, 0, 0)})
    assert found(*GOOD, beyond) == [("error", "palette_order", ("x.png",))]  # 3 is no class, but that is all one fault
    recolored = mask("x", palette={0: (9, 9, 9), 1: (8, 8, 8), 2: (7, 7, 7)})
    assert found(*GOOD, recolored) == []  # the colours of an index mean nothing


def test_kinds_that_are_mixed():
    single = mask("x", (0, 1), mask_kind="1-bit grey", palette={})
    assert found(*GOOD, single) == [("error", "one_bit_masks", ("x.png",))]
    binary = [mask(name, (0, 1)) for name in "abc"]
    assert found(*binary, single) == [("warning", "mixed_mask_kinds", ("x.png",))]
    grey = mask("x", mask_kind="8-bit grey", palette={})
    assert found(*GOOD, grey) == [("warning", "mixed_mask_kinds", ("x.png",))]


def colored(name: str, colors: dict, *faults: str) -> PictureFacts:
    made = tuple(Fault(kind, f"{name}.png", "why") for kind in faults)
    return PictureFacts("train", name, mask=f"{name}.png", mask_kind="RGB", colors=colors, faults=made)


def test_rgb_masks():
    rgb = colored("x", {(0, 0, 0): 400, (9, 0, 0): 400}, "rgb_masks")
    assert found(*GOOD, rgb) == [("error", "rgb_masks", ("x.png",))]
    smoothed = colored("x", {(0, 0, 0): 9000} | {(level, 0, 0): 3 for level in range(1, 30)}, "rgb_masks")
    assert found(*GOOD, smoothed) == [("error", "blurred_masks", ("x.png",))]
    assert found(*GOOD, colored("x", {(0, 0, 0): 4}, "unusable_mask")) == []  # told by its own kind


def test_colors_of_a_table():
    table = ColorTable(("a", "b", "c"), ((0, 0, 0), (9, 0, 0), (0, 9, 0)))
    encoding = make_encoding(3, colors=table)
    good = colored("a", {(0, 0, 0): 400, (9, 0, 0): 400})
    bad = colored("b", {(0, 0, 0): 400, (9, 9, 9): 4}, "unknown_colors")
    assert found(good, bad, encoding=encoding) == [("error", "unknown_colors", ("b.png",))]


def test_faults_by_kind():
    faults = [Fault("lossy_mask", f"{name}.png", f"why {name}") for name in "ba"] + [Fault("rgb_masks", "c.png", "")]
    (finding,) = value_checks.fault_findings(faults)
    assert (finding.level, finding.kind, finding.files) == ("error", "lossy_mask", ("a.png", "b.png"))
    assert finding.message.endswith("the first: why a")
