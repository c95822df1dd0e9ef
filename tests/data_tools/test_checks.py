import dataclasses

from data_tools.inspection import checks
from data_tools.inspection.facts import Fault, Finding, PictureFacts
from data_tools.inspection.meaning import Meaning
from data_tools.pairs import Problem
from kseg.labels import LabelMap

MEANING = Meaning(LabelMap.numbered(2), True)


def picture(name: str, split: str = "train", **more) -> PictureFacts:
    """In order, and like no other."""
    values = {
        "image": f"{split}/{name}.jpg",
        "mask": f"{split}/{name}.png",
        "size": (30, 40),
        "mask_size": (30, 40),
        "digest": name,
        "mask_kind": "8-bit grey",
        "mask_digest": f"mask of {name}",
        "values": {0: 600, 1: 600},
        "classes": (600, 600, *[0] * 254),
    }
    return PictureFacts(split, name, **values | more)


def found(*pictures, problems=(), faults=()) -> list[tuple]:
    splits = {split: [one for one in pictures if one.split == split] for split in ("train", "validation")}
    findings = checks.find_all(splits, MEANING, dict.fromkeys(splits), problems, faults)
    return [(finding.level, finding.kind, finding.files) for finding in findings]


def test_nothing():
    assert found(picture("a"), picture("b"), picture("c", "validation")) == []


def test_kinds_of_pairing_problems():
    problems = [
        Problem("train/a.jpg", "no mask of that name in x (.png)", "a"),
        Problem("train/c.jpg", "no mask named c_L in x (.png)", "c"),
        Problem("m/b.png", "no image of that name in y (.jpg)", "b"),
        Problem("train/d.jpg", "has the stem of d.jpeg; expected one image a stem", "d"),
        Problem("train/e", "a symbolic link to z, which is not there"),
    ]
    assert found(problems=problems) == [
        ("error", "image_without_mask", ("train/a.jpg", "train/c.jpg")),
        ("error", "mask_without_image", ("m/b.png",)),
        ("error", "repeated_stem", ("train/d.jpg",)),
        ("error", "unusable_file", ("train/e",)),
    ]


def test_faults_of_pictures_and_of_shards():
    broken = picture("a", faults=(Fault("unreadable_image", "train/a.jpg", "an empty file"),))
    shard = Fault("missing_shard", "train-00000-of-00001.tfrecord", "not there")
    assert found(broken, faults=[shard]) == [
        ("error", "unreadable_image", ("train/a.jpg",)),
        ("error", "missing_shard", ("train-00000-of-00001.tfrecord",)),
    ]


def test_the_same_file_within_and_across_splits():
    within = [picture("a", digest="x", mask_digest="m"), picture("b", digest="x", mask_digest="m")]
    assert found(*within) == [("warning", "duplicate_in_split", ("train/a.jpg", "train/b.jpg"))]
    other = dataclasses.replace(within[1], mask_digest="n")
    assert found(within[0], other) == [("error", "duplicate_with_other_mask", ("train/a.jpg", "train/b.jpg"))]
    across = picture("c", "validation", digest="x")
    assert found(within[0], across) == [("error", "duplicate_across_splits", ("train/a.jpg", "validation/c.jpg"))]


def test_one_mask_for_two_images():
    pictures = [picture(name, mask_digest="m") for name in "ab"]
    assert found(*pictures) == [("error", "repeated_mask", ("train/a.png", "train/b.png"))]
    flat = [dataclasses.replace(one, values={0: 1200}, classes=(1200, *[0] * 255)) for one in pictures]
    assert "repeated_mask" not in {kind for _, kind, _ in found(*flat)}
    still = [picture(name, mask_digest="m") for name in "abc"]  # a camera that does not move
    assert [(level, kind) for level, kind, _ in found(*still)] == [("warning", "repeated_mask")]


def test_errors_come_first_and_messages_name_a_few_groups():
    pictures = [picture(f"{group}{number}", digest=group, mask_digest=group) for group in "abcde" for number in "12"]
    finding = next(iter(checks.duplicate_findings(pictures)))
    assert "10 images are the same file" in finding.message
    assert "train/a1.jpg = train/a2.jpg, " in finding.message
    assert "and 2 more" in finding.message
    warning, error = Finding("warning", "a", ""), Finding("error", "b", "")
    assert checks.in_order([warning, error]) == (error, warning)
