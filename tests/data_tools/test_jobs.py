"""Flags to jobs: which classes, which encoding, which splits; and the flags' own checks."""

import dataclasses
import shutil

import numpy as np
import pytest
from drawn import class_mask, encoded, photo, write_pairs

from data_tools.flags import MaskFlags, SourceFlags
from data_tools.jobs import find_jobs, find_splits
from kseg.errors import RunError, UsageError
from kseg.knobs import check


@dataclasses.dataclass(frozen=True)
class Config(MaskFlags, SourceFlags):
    def __post_init__(self):
        check(self)
        self._check_source()
        self._check_masks()


@pytest.fixture
def root(tmp_path):
    """The four-directory layout, with its label maps."""
    for split, count in (("train", 6), ("validation", 2)):
        for index in range(count):
            for folder, data in ((split, photo(8, 8)), (f"{split}_annotation", class_mask(8, 8))):
                path = tmp_path / folder / f"{index}.png"
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(encoded(data))
    (tmp_path / "label_map").mkdir()
    (tmp_path / "label_map" / "train_label_map.json").write_text('{"map": {"0": 5, "1": 0, "2": 2}}')
    (tmp_path / "label_map" / "validation_label_map.json").write_text('{"scale": 2}')
    return tmp_path


def test_a_layout_is_seen_and_its_label_maps_are_each_splits_own(root):
    jobs = find_jobs(Config(input=str(root), num_classes=3))
    assert {name: len(job.found.pairs) for name, job in jobs.splits.items()} == {"train": 6, "validation": 2}
    assert jobs.splits["train"].encoding.original() == {"values": [5, 0, 2]}
    assert jobs.splits["validation"].encoding.scale == 2
    assert jobs.labels.names == ("class_0", "class_1", "class_2")


def test_a_label_map_given_by_hand_wins_for_all_splits(root):
    (root / "mine.json").write_text('{"scale": "3"}')
    jobs = find_jobs(Config(input=str(root), num_classes=3, label_map=str(root / "mine.json")))
    assert [job.encoding.scale for job in jobs.splits.values()] == [3, 3]


def test_a_folder_of_label_maps_has_one_a_split(root):
    (root / "label_map").rename(root / "maps")
    (root / "maps" / "validation_label_map.json").unlink()
    config = Config(input=str(root), num_classes=3, label_map=str(root / "maps"))
    with pytest.raises(UsageError, match=r"maps: no validation_label_map\.json there"):
        find_jobs(config)
    (root / "maps" / "validation_label_map.json").write_text('{"scale": 2}')
    jobs = find_jobs(config)
    assert [job.encoding.scale for job in jobs.splits.values()] == [None, 2]


def test_a_label_map_for_some_splits_only_is_refused(root):
    (root / "label_map" / "validation_label_map.json").unlink()
    with pytest.raises(RunError, match=r"validation has none; expected validation_label_map\.json too"):
        find_jobs(Config(input=str(root), num_classes=3))
    assert find_jobs(Config(input=str(root), num_classes=3, split="train")).splits["train"].encoding.mapping


def test_a_split_that_is_split_keeps_its_label_map(root):
    config = Config(input=str(root), num_classes=3, split="train")
    offered = find_splits(config)
    for folder in ("validation", "validation_annotation"):
        shutil.rmtree(root / folder)
    (root / "label_map" / "validation_label_map.json").unlink()
    jobs = find_jobs(Config(input=str(root), num_classes=3, split_ratio="0.5,0.5"))
    assert sum(len(job.found.pairs) for job in jobs.splits.values()) == len(offered.splits["train"].pairs)
    assert [job.encoding.original() for job in jobs.splits.values()] == [{"values": [5, 0, 2]}] * 2


def test_an_ids_layout_keeps_its_map_whatever_is_said_of_zero(tmp_path):
    for part in ("leftImg8bit/train/c/a_leftImg8bit.png", "gtFine/train/c/a_gtFine_labelIds.png"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    jobs = find_jobs(Config(input=str(tmp_path), reduce_zero_label=False, ignore_values="0"))
    assert jobs.splits["train"].encoding.original()["values"][:2] == [7, 8]
    with pytest.raises(UsageError, match="3 classes, but the layout has 19"):
        find_jobs(Config(input=str(tmp_path), num_classes=3))


def test_a_wrong_label_map_is_named(root):
    (root / "label_map" / "train_label_map.json").write_text('{"map": {"3": 0}}')
    with pytest.raises(UsageError, match=r"train_label_map\.json: class 3; allowed: 0 to 2"):
        find_jobs(Config(input=str(root), num_classes=3))


def test_layouts_that_name_their_classes_need_no_flag(tmp_path):
    for part in ("images/training/a.jpg", "annotations/training/a.png", "images/validation/b.jpg"):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / part).touch()
    (tmp_path / "annotations/validation").mkdir()
    (tmp_path / "annotations/validation/b.png").touch()
    jobs = find_jobs(Config(input=str(tmp_path)))
    assert (jobs.labels.num_classes, jobs.labels.names[0]) == (150, "wall")
    assert jobs.splits["train"].encoding.reduce_zero_label
    by_hand = find_jobs(Config(input=str(tmp_path), reduce_zero_label=False))
    assert not by_hand.splits["train"].encoding.reduce_zero_label


def test_classes_come_from_the_colours_and_must_not_be_called_otherwise(tmp_path):
    write_pairs(tmp_path, ["a"])
    (tmp_path / "colors.txt").write_text("sky 0 0 255\nvoid 0 0 0\nroad 128 64 128\nwall 1 2 3\n")
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "split": "train"}
    colors = str(tmp_path / "colors.txt")
    jobs = find_jobs(Config(**folders, colors=colors))
    assert jobs.labels.names == ("sky", "road", "wall")
    assert jobs.labels.colors == ((0, 0, 255), (128, 64, 128), (1, 2, 3))
    classes = tmp_path / "classes.txt"
    with pytest.raises(UsageError, match=r"--classes=.*, --colors=.*: class 0 is 'ground', but 'sky' in the table"):
        find_jobs(Config(**folders, colors=colors, classes=str(classes)))
    classes.write_text("sky\nwall\nroad\n")  # the same names, but which is class 1?
    with pytest.raises(UsageError, match="class 1 is 'wall', but 'road' in the table"):
        find_jobs(Config(**folders, colors=colors, classes=str(classes)))
    classes.write_text("sky\nroad\n")
    with pytest.raises(UsageError, match="2 classes, but 3 in the table"):
        find_jobs(Config(**folders, colors=colors, classes=str(classes)))
    classes.write_text("sky\nroad\nwall\n")
    assert find_jobs(Config(**folders, colors=colors, classes=str(classes))).labels == jobs.labels


def test_rules_without_a_number_of_classes_are_refused(root):
    (root / "train_annotation" / "0.png").write_bytes(encoded(np.zeros((8, 8), np.uint8)))
    with pytest.raises(UsageError, match="--classes or --num_classes is required with"):
        find_jobs(Config(input=str(root)))
    shutil.rmtree(root / "label_map")
    jobs = find_jobs(Config(input=str(root)))
    assert (jobs.labels, jobs.splits["train"].encoding) == (None, None)


def test_pictures_without_splits_are_named_or_split(tmp_path):
    write_pairs(tmp_path, [f"{index}" for index in range(20)], height=4, width=4)
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks"), "num_classes": 3}
    with pytest.raises(UsageError, match="--split is required"):
        find_jobs(Config(**folders))
    assert set(find_jobs(Config(**folders), unnamed="all").splits) == {"all"}
    splits = find_jobs(Config(**folders, split_ratio="0.5,0.5")).splits
    assert set(splits) == {"train", "validation"}
    assert sum(len(job.found.pairs) for job in splits.values()) == 20


def test_a_layout_with_splits_of_its_own_is_not_split_again(root):
    with pytest.raises(UsageError, match=r"--split_ratio=0\.8,0\.2: the layout has its own splits"):
        find_jobs(Config(input=str(root), num_classes=3, split_ratio="0.8,0.2"))


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    with pytest.raises(RunError, match="sagemaker"):
        find_jobs(Config(input=str(tmp_path), num_classes=3))
    with pytest.raises(UsageError, match="--input, --images or --masks: both given"):
        find_jobs(Config(input=str(tmp_path), images="x", num_classes=3))
    with pytest.raises(UsageError, match="--input is required, or --images and --masks"):
        find_jobs(Config(num_classes=3))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"split": "a/b"}, "--split=a/b: allowed"),
        ({"split": "a", "split_ratio": "0.5,0.5"}, "--split, --split_ratio: both given"),
        ({"split_ratio": "0.5,0.4"}, "--split_ratio=0.5,0.4"),
        ({"num_classes": 3, "classes": "x"}, "--classes, --num_classes: both given"),
        ({"palette": "color"}, "--palette=color: allowed: with --colors"),
        ({"reduce_zero_label": True, "label_map": "x"}, "--label_map, --reduce_zero_label: both given"),
        ({"ignore_values": "1,x"}, "--ignore_values=1,x: allowed: integers, 0 <= x <= 65535, joined by commas"),
        ({"ignore_values": "65536"}, "--ignore_values=65536: allowed"),
        ({"source": "vco"}, "did you mean voc?"),
    ],
)
def test_flags_that_cannot_be(flags, message):
    with pytest.raises(UsageError) as error:
        Config(**flags)
    assert message in str(error.value)


def test_ignored_values():
    assert Config(ignore_values="0, 254").ignored_values == (0, 254)
    assert Config().ignored_values == ()


def test_a_label_map_by_hand_makes_those_of_the_layout_count_no_more(root):
    (root / "label_map" / "validation_label_map.json").unlink()
    (root / "label_map" / "of_no_split.json").write_text("{}")
    (root / "mine.json").write_text('{"scale": 3}')
    jobs = find_jobs(Config(input=str(root), num_classes=3, label_map=str(root / "mine.json")))
    assert [job.encoding.scale for job in jobs.splits.values()] == [3, 3]


def test_a_split_by_a_name_that_no_file_may_have_is_refused(root):
    for folder in ("train", "train_annotation"):
        (root / folder).rename(root / folder.replace("train", "train.v2"))
    shutil.rmtree(root / "label_map")
    with pytest.raises(RunError, match=r"a split named 'train\.v2'; allowed: letters, digits, _ and -"):
        find_jobs(Config(input=str(root), num_classes=3))
