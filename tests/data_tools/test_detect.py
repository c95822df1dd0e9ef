import pytest
from trees import make_tree

from data_tools.sources import SOURCES
from data_tools.sources.detect import detect
from kseg.errors import RunError
from kseg.registry import find

TREES = {
    "folders": ("images/a.jpg", "masks/a.png"),
    "sagemaker": ("train/a.jpg", "train_annotation/a.png", "label_map/train_label_map.json"),
    "voc": (
        "VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt",
        "VOCdevkit/VOC2012/JPEGImages/a.jpg",
        "VOCdevkit/VOC2012/SegmentationClass/a.png",
    ),
    "cityscapes": ("leftImg8bit/train/x/a_leftImg8bit.png", "gtFine/train/x/a_gtFine_labelIds.png"),
    "ade20k": ("ADEChallengeData2016/images/training/a.jpg", "ADEChallengeData2016/annotations/training/a.png"),
}


@pytest.mark.parametrize("name", TREES)
def test_folders_by_what_they_hold(tmp_path, name):
    assert detect(make_tree(tmp_path, *TREES[name])) == name


@pytest.mark.parametrize(
    ("file", "name"), [("x.csv", "csv"), ("x.jsonl", "manifest"), ("x.MANIFEST", "manifest"), ("x.json", "manifest")]
)
def test_files_by_their_extension(tmp_path, file, name):
    assert detect(f"{make_tree(tmp_path, file)}/{file}") == name


def test_lists_the_layouts_if_none_or_several_fit(tmp_path):
    with pytest.raises(RunError) as error:
        detect(make_tree(tmp_path / "odd.csv", "pictures/a.jpg"))
    first, *others = str(error.value).splitlines()
    assert first == f"{tmp_path}/odd.csv: no layout that is known; say which by --source:"
    assert [line.split()[0] for line in others] == list(SOURCES)
    assert others[1].endswith(
        "train/, train_annotation/, validation/, validation_annotation/ and, if need be, label_map/"
    )
    with pytest.raises(RunError, match="looks like folders and sagemaker; say which"):
        detect(make_tree(tmp_path / "both", *TREES["folders"], *TREES["sagemaker"]))
    with pytest.raises(RunError, match=r"x.txt: no layout that is known"):
        detect(make_tree(tmp_path, "x.txt") + "/x.txt")


def test_refuses_what_is_not_there(tmp_path):
    with pytest.raises(RunError, match="none: no such file or folder"):
        detect(f"{tmp_path}/none")


def test_every_entry_leads_to_a_function():
    assert all(find("source", SOURCES, name).__name__.startswith("find_") for name in SOURCES)
