import pytest
from trees import lines, make_tree, stems

from data_tools.pairs import Pair, Place
from data_tools.sources.ade20k import find_ade20k, fits
from kseg.errors import RunError, UsageError

FILES = (
    *("images/training/ADE_train_00000001.jpg", "annotations/training/ADE_train_00000001.png"),
    *("images/validation/ADE_val_00000001.jpg", "annotations/validation/ADE_val_00000001.png"),
    *("images/validation/ADE_val_00000002.jpg", "objectInfo150.txt", "sceneCategories.txt"),
)


@pytest.mark.parametrize("folder", ["", "ADEChallengeData2016"])
def test_pairs_and_what_the_layout_settles(tmp_path, folder):
    root = make_tree(tmp_path / folder, *FILES)
    assert fits(str(tmp_path))
    offered = find_ade20k(Place(str(tmp_path)))
    assert list(offered.splits) == ["train", "validation"]
    stem = "ADE_train_00000001"
    assert offered.splits["train"].pairs == (
        Pair(stem, f"{stem}.jpg", f"{root}/images/training/{stem}.jpg", f"{root}/annotations/training/{stem}.png"),
    )
    assert stems(offered.splits["validation"]) == ["ADE_val_00000001"]
    (problem,) = lines(offered.splits["validation"].problems)
    assert problem.startswith(f"{root}/images/validation/ADE_val_00000002.jpg: no mask of that name")
    assert offered.encoding == {"reduce_zero_label": True}
    assert offered.labels.num_classes == 150
    assert offered.labels.names[0] == "wall"
    assert offered.labels.colors[0] == (120, 120, 120)


def test_one_split_alone(tmp_path):
    root = make_tree(tmp_path, *FILES)
    assert list(find_ade20k(Place(root, split="train")).splits) == ["train"]
    assert list(find_ade20k(Place(root, split="training")).splits) == ["train"]
    with pytest.raises(UsageError, match="--split=test: allowed: train, validation"):
        find_ade20k(Place(root, split="test"))


def test_refuses_missing_folders(tmp_path):
    root = make_tree(tmp_path, "images/training/a.jpg")
    assert not fits(root)
    with pytest.raises(RunError, match="annotations/training: no such folder"):
        find_ade20k(Place(root))
    with pytest.raises(UsageError, match="--mask_suffix"):
        find_ade20k(Place(root, mask_suffix="_L"))
