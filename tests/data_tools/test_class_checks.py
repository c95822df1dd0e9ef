import dataclasses

from data_tools.inspection import class_checks
from data_tools.inspection.facts import PictureFacts
from kseg.labels import LabelMap

LABELS = LabelMap.from_names(["sky", "road", "car"])


def picture(*pixels: int, ignored: int = 0, name: str = "p", **more) -> PictureFacts:
    classes = (*pixels, *[0] * (255 - len(pixels)), ignored)
    return PictureFacts("train", name, mask=f"{name}.png", image=f"{name}.jpg", classes=classes, **more)


def classes_of(**splits) -> list[tuple[str, str]]:
    return [(finding.level, finding.kind) for finding in class_checks.class_findings(splits, LABELS)]


def pictures(*ones) -> list[tuple[str, str, tuple]]:
    return [(finding.level, finding.kind, finding.files) for finding in class_checks.picture_findings(ones)]


def test_classes_that_splits_lack():
    every, no_car = picture(5, 5, 5), picture(5, 5, 0)
    assert classes_of(train=[every], validation=[every]) == []
    assert classes_of(train=[every], validation=[no_car]) == [("warning", "class_missing")]
    assert classes_of(train=[no_car], validation=[every]) == [("error", "class_missing")]
    assert classes_of(train=[no_car], validation=[no_car]) == [("warning", "class_unused")]
    assert classes_of(first=[no_car], second=[every]) == [("error", "class_missing")]  # none is called train
    named = next(class_checks.class_findings({"train": [no_car], "test": [every]}, LABELS)).message
    assert "no mask of train shows 'car', but those of test do" in named


def test_a_split_of_unreadable_masks_lacks_nothing():
    unknown = dataclasses.replace(picture(1, 1, 1), classes=None)
    assert classes_of(train=[picture(5, 5, 5)], validation=[unknown, unknown, picture(5, 0, 0)]) == []


def test_masks_that_are_ignored():
    every, ignored = picture(5, 5, 5), picture(0, 0, 0, ignored=9, name="void")
    assert classes_of(train=[every, ignored]) == [("warning", "all_ignored")]
    assert classes_of(train=[ignored, ignored]) == [("warning", "class_unused"), ("error", "all_ignored")]
    assert classes_of(train=[picture(5, 5, 5, ignored=16)]) == [("warning", "mostly_ignored")]
    assert classes_of(train=[picture(5, 5, 5, ignored=15)]) == []


def test_masks_of_one_class():
    many = [picture(5, 5, 5)] * 4
    assert classes_of(train=[*many, picture(9)]) == [("warning", "constant_mask")]
    assert classes_of(train=[*many, picture(9), picture(9, ignored=2)]) == []  # a third: so the data set is


def test_sizes():
    lying = picture(9, size=(40, 30), mask_size=(30, 40), turn=6, name="a")
    larger = picture(9, size=(40, 30), mask_size=(40, 31), name="b")
    assert pictures(lying, larger) == [("error", "size_mismatch", ("a.png", "b.png"))]
    message = next(class_checks.picture_findings([lying])).message
    assert "40 x 30 pixels for 30 x 40; it fits the image as stored, but its EXIF orientation 6 turns it" in message
    assert pictures(picture(9, size=(16, 30), mask_size=(16, 30))) == [("warning", "tiny_image", ("p.jpg",))]
    assert pictures(picture(9, size=(17, 30), mask_size=(17, 30))) == []


def lying(*fits: float, name: str, classes: int = 3) -> PictureFacts:
    values = dict.fromkeys([*range(classes), 255], 9)
    return picture(9, name=name, fits=fits, mask_digest=name, values=values)


def test_turned_masks():
    right = [lying(1.6, 1.0, 1.1, 0.9, name=str(number)) for number in range(4)]
    mirrored = lying(1.1, 1.4, 1.0, 0.9, name="m")
    assert pictures(*right, mirrored) == [("error", "turned_mask", ("m.png",))]
    assert pictures(*right, dataclasses.replace(mirrored, fits=(1.3, 1.4, 1.0, 0.9))) == []  # not by enough
    assert pictures(*right, dataclasses.replace(mirrored, fits=(0.9, 1.1, 1.0, 0.9))) == []  # far worse than the others
    assert pictures(mirrored, mirrored, right[0]) == []  # where nothing fits well, turning means nothing


def test_turned_masks_of_few_classes_or_where_all_fit_either_way():
    """Road against the rest: a right mask of CamVid fits 1.6 times as well upside down. Lines of text fit others."""
    binary = [lying(1.6, 1.0, 1.1, 0.9, name=str(number), classes=2) for number in range(4)]
    assert pictures(*binary, lying(0.9, 1.0, 1.5, 0.9, name="b", classes=2)) == []
    spread = [lying(1.4, 1.4 * times, 1.0, 0.9, name=str(times)) for times in (0.85, 0.92, 0.98, 1.02, 1.08)]
    assert pictures(*spread, lying(1.25, 1.25 * 1.18, 1.0, 0.9, name="p")) == []
    assert pictures(*spread, lying(1.0, 1.6, 1.0, 0.9, name="p")) == [("error", "turned_mask", ("p.png",))]
