import pytest
from trees import lines, make_tree, stems

from data_tools.pairs import Pair, Place
from data_tools.sources.sagemaker import find_sagemaker, fits
from kseg.errors import RunError, UsageError

TRAIN = ("train/a.jpg", "train/b.jpg", "train_annotation/a.png", "train_annotation/b.png")
VALIDATION = ("validation/a.jpg", "validation_annotation/a.png")


def test_splits_and_their_label_maps(tmp_path):
    root = make_tree(
        *(
            tmp_path,
            *TRAIN,
            *VALIDATION,
            "extra/e.jpg",
            "extra_annotation/e.png",
            "docs/readme.txt",
            "notes_annotation",
        ),
        *(f"label_map/{split}_label_map.json" for split in ("train", "validation", "extra")),
        "label_map/README.md",
    )
    offered = find_sagemaker(Place(root))
    assert list(offered.splits) == ["train", "validation", "extra"]
    assert offered.splits["train"].pairs == (
        Pair("a", "a.jpg", f"{root}/train/a.jpg", f"{root}/train_annotation/a.png"),
        Pair("b", "b.jpg", f"{root}/train/b.jpg", f"{root}/train_annotation/b.png"),
    )
    assert stems(offered.splits["validation"]) == ["a"]
    assert offered.label_maps == {
        split: f"{root}/label_map/{split}_label_map.json" for split in ("train", "validation", "extra")
    }
    assert (offered.labels, dict(offered.encoding)) == (None, {})


def test_one_split_alone(tmp_path):
    root = make_tree(
        tmp_path, *TRAIN, *VALIDATION, "label_map/train_label_map.json", "label_map/validation_label_map.json"
    )
    offered = find_sagemaker(Place(root, split="validation"))
    assert list(offered.splits) == ["validation"]
    assert list(offered.label_maps) == ["validation"]
    with pytest.raises(RunError, match="no test/ with test_annotation/; there: train, validation"):
        find_sagemaker(Place(root, split="test"))


def test_masks_with_a_suffix(tmp_path):
    root = make_tree(tmp_path, "train/a.jpg", "train/b.jpg", "train_annotation/a_L.png", "train_annotation/b.png")
    found = find_sagemaker(Place(root, mask_suffix="_L")).splits["train"]
    assert [pair.mask for pair in found.pairs] == [f"{root}/train_annotation/a_L.png"]
    assert lines(found.problems) == [f"{root}/train/b.jpg: no mask named b_L in {root}/train_annotation (.png)"]


def test_folders_without_their_partner_are_named(tmp_path):
    root = make_tree(tmp_path, "train/a.jpg", "validation_annotation/a.png", "test_annotation/a.png", "other/a.jpg")
    with pytest.raises(RunError) as error:
        find_sagemaker(Place(root))
    assert str(error.value).splitlines() == [
        f"{root}/test: no such folder; expected it beside {root}/test_annotation",
        f"{root}/train_annotation: no such folder; expected it beside {root}/train",
        f"{root}/validation: no such folder; expected it beside {root}/validation_annotation",
    ]


def test_refuses_a_label_map_of_no_split(tmp_path):
    root = make_tree(tmp_path, *TRAIN, "label_map/label_map.json")
    with pytest.raises(RunError, match=r"label_map.json: belongs to no split; expected train_label_map.json; rename"):
        find_sagemaker(Place(root))


def test_refuses_a_folder_without_splits_and_other_flags(tmp_path):
    with pytest.raises(RunError, match="no two folders as train/ and train_annotation/ there"):
        find_sagemaker(Place(make_tree(tmp_path, "images/a.jpg")))
    with pytest.raises(UsageError, match="--images"):
        find_sagemaker(Place(str(tmp_path), images="x"))


def test_fits(tmp_path):
    assert fits(make_tree(tmp_path / "one", "x/a.jpg", "x_annotation/a.png"))
    assert fits(make_tree(tmp_path / "two", "train_annotation/a.png"))
    assert not fits(make_tree(tmp_path / "three", "train/a.png", "my_annotation/a.png"))
    assert not fits(make_tree(tmp_path / "four", "train_annotation.txt") + "/train_annotation.txt")
