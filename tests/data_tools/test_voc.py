import pytest
from trees import lines, make_tree, stems

from data_tools.pairs import Pair, Place
from data_tools.sources.voc import find_voc, fits
from kseg.errors import RunError

NAMES = ("2007_000032", "2007_000033", "2008_000001")


@pytest.fixture
def make(tmp_path):
    """Makes a year's folder with the given lists and gives its path."""

    def year(folder="", stems=NAMES, masks=NAMES, **lists):
        root = tmp_path / folder
        make_tree(root / "JPEGImages", *(f"{stem}.jpg" for stem in stems))
        make_tree(root / "SegmentationClass", *(f"{stem}.png" for stem in masks))
        make_tree(root / "ImageSets/Segmentation")
        for name, text in lists.items():
            (root / f"ImageSets/Segmentation/{name}.txt").write_text(text)
        return str(root)

    return year


def test_splits_of_the_lists(make):
    root = make(
        train=f"{NAMES[2]}\n{NAMES[0]}\n",
        val=f"\ufeff{NAMES[1]}\r\n\r\n",
        trainval="\n".join(NAMES),
        test=f"{NAMES[0]}_x\n",
    )
    offered = find_voc(Place(root))
    assert {split: stems(found) for split, found in offered.splits.items()} == {
        "train": [NAMES[0], NAMES[2]],
        "validation": [NAMES[1]],
    }
    stem = NAMES[1]
    assert offered.splits["validation"].pairs == (
        Pair(stem, f"{stem}.jpg", f"{root}/JPEGImages/{stem}.jpg", f"{root}/SegmentationClass/{stem}.png"),
    )
    assert not offered.splits["train"].problems + offered.splits["validation"].problems
    assert offered.labels.num_classes == 21
    assert (offered.labels.names[0], offered.labels.names[15], offered.labels.names[20]) == (
        "background", "person", "tvmonitor"
    )  # fmt: skip
    assert offered.labels.colors[15] == (192, 128, 128)
    assert dict(offered.encoding) == {}


@pytest.mark.parametrize(
    ("split", "expected"),
    [("trainval", [*NAMES]), ("val", [NAMES[1]]), ("validation", [NAMES[1]]), ("train", [NAMES[0]])],
)
def test_one_split_alone_under_its_name(make, split, expected):
    root = make(train=NAMES[0], val=NAMES[1], trainval="\n".join(NAMES))
    assert {name: stems(found) for name, found in find_voc(Place(root, split=split)).splits.items()} == {
        {"val": "validation"}.get(split, split): expected
    }


def test_test_counts_if_it_has_masks(make):
    root = make(train=NAMES[0], test=f"{NAMES[1]}\nnone\n")
    offered = find_voc(Place(root))
    assert list(offered.splits) == ["train", "test"]
    assert stems(offered.splits["test"]) == [NAMES[1]]
    assert lines(offered.splits["test"].problems) == [
        f"{root}/ImageSets/Segmentation/test.txt:2: lists none, but there is no image none in {root}/JPEGImages "
        f"and there is no mask none in {root}/SegmentationClass"
    ]


def test_stems_without_a_file_or_listed_twice_are_named_by_line(make):
    a, b, c = NAMES
    root = make(train=f"{a}\n{b}\n\n{c}\n{a}\n", masks=(a, c))
    found = find_voc(Place(root)).splits["train"]
    assert stems(found) == [c]
    where = f"{root}/ImageSets/Segmentation/train.txt"
    assert lines(found.problems) == [
        f"{where}:2: lists {b}, but there is no mask {b} in {root}/SegmentationClass",
        f"{where}:5: lists {a} again, after line 1; remove one",
    ]
    assert [problem.stem for problem in found.problems] == [b, a]


@pytest.mark.parametrize("folder", ["VOC2012", "VOCdevkit/VOC2012"])
def test_finds_the_year_below_the_root(make, tmp_path, folder):
    root = make(folder, train=NAMES[0])
    assert fits(str(tmp_path))
    assert find_voc(Place(str(tmp_path))).splits["train"].pairs[0].image == f"{root}/JPEGImages/{NAMES[0]}.jpg"


def test_several_years_are_named(make, tmp_path):
    one, two = make("VOCdevkit/VOC2007", train=NAMES[0]), make("VOCdevkit/VOC2012", train=NAMES[0])
    with pytest.raises(RunError, match=f"several data sets: {one}, {two}; give one of them as --input"):
        find_voc(Place(str(tmp_path)))
    assert list(find_voc(Place(two)).splits) == ["train"]


def test_refuses_what_is_not_there(make, tmp_path):
    assert not fits(make_tree(tmp_path / "x", "JPEGImages/a.jpg"))
    with pytest.raises(RunError, match="no ImageSets/Segmentation/ there"):
        find_voc(Place(str(tmp_path)))
    root = make(train=" \n")
    with pytest.raises(RunError, match=r"train.txt: lists nothing"):
        find_voc(Place(root))
    with pytest.raises(RunError, match=r"no trainval.txt there for --split=trainval; there: train.txt"):
        find_voc(Place(root, split="trainval"))
    with pytest.raises(RunError, match="SegmentationClass: no such folder"):
        (tmp_path / "y/ImageSets/Segmentation").mkdir(parents=True)
        find_voc(Place(make_tree(tmp_path / "y", "JPEGImages/a.jpg")))
    with pytest.raises(RunError, match=r"no train.txt or val.txt there; --split=NAME takes NAME.txt"):
        find_voc(Place(make("z", all=NAMES[0])))
