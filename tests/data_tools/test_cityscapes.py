import pytest
from trees import lines, make_tree

from data_tools.pairs import Pair, Place
from data_tools.sources.cityscapes import find_cityscapes, fits, label_map
from kseg.errors import RunError

# labels.py of cityscapesScripts: (name, id, trainId) of the labels that count; all other ids are void.
LABELS = [
    ("road", 7, 0), ("sidewalk", 8, 1), ("building", 11, 2), ("wall", 12, 3), ("fence", 13, 4), ("pole", 17, 5),
    ("traffic light", 19, 6), ("traffic sign", 20, 7), ("vegetation", 21, 8), ("terrain", 22, 9), ("sky", 23, 10),
    ("person", 24, 11), ("rider", 25, 12), ("car", 26, 13), ("truck", 27, 14), ("bus", 28, 15), ("train", 31, 16),
    ("motorcycle", 32, 17), ("bicycle", 33, 18),
]  # fmt: skip


def image(split, city, frame):
    return f"leftImg8bit/{split}/{city}/{city}_{frame}_leftImg8bit.png"


def mask(split, city, frame, kind="labelIds"):
    return f"gtFine/{split}/{city}/{city}_{frame}_gtFine_{kind}.png"


def files(split, city, frame):
    """All that the data set has for a frame."""
    kinds = ("color", "instanceIds", "labelIds", "labelTrainIds")
    polygons = f"gtFine/{split}/{city}/{city}_{frame}_gtFine_polygons.json"
    return [image(split, city, frame), *(mask(split, city, frame, kind) for kind in kinds), polygons]


def test_pairs_by_label_ids(tmp_path):
    frames = [("train", "aachen", "000000_000019"), ("train", "bremen", "000000_000019"), ("val", "lindau", "1")]
    root = make_tree(tmp_path, *(name for frame in [*frames, ("test", "bonn", "0")] for name in files(*frame)))
    offered = find_cityscapes(Place(root))
    assert list(offered.splits) == ["train", "validation"]
    assert offered.splits["train"].pairs == tuple(
        Pair(
            f"{city}/{city}_000000_000019",
            f"{city}/{city}_000000_000019_leftImg8bit.png",
            f"{root}/{image('train', city, '000000_000019')}",
            f"{root}/{mask('train', city, '000000_000019')}",
        )
        for city in ("aachen", "bremen")
    )
    assert [pair.mask for pair in offered.splits["validation"].pairs] == [f"{root}/{mask('val', 'lindau', '1')}"]
    assert all(found.problems == () for found in offered.splits.values())
    assert offered.encoding == {"label_map": label_map()}
    assert offered.labels.names[:2] + offered.labels.names[-1:] == ("road", "sidewalk", "bicycle")
    assert offered.labels.colors[0] == (128, 64, 128)
    assert offered.labels.num_classes == 19
    assert list(find_cityscapes(Place(root, split="test")).splits) == ["test"]


def test_label_map_has_every_id_once(tmp_path):
    ids = label_map()["map"]
    assert {int(key): value for key, value in ids.items() if key != "255"} == {train: id for _, id, train in LABELS}
    assert sorted([*ids["255"], *(id for _, id, _ in LABELS)]) == list(range(34))
    table = find_cityscapes(Place(make_tree(tmp_path, *files("train", "ulm", "1")))).labels
    assert [name.replace("_", " ") for name in table.names] == [name for name, _, _ in LABELS]


def test_train_ids_where_there_are_no_label_ids(tmp_path):
    root = make_tree(tmp_path, image("train", "ulm", "1"), mask("train", "ulm", "1", "labelTrainIds"))
    offered = find_cityscapes(Place(root))
    assert offered.splits["train"].pairs[0].mask == f"{root}/{mask('train', 'ulm', '1', 'labelTrainIds')}"
    assert dict(offered.encoding) == {}


def test_the_two_kinds_of_ids_are_not_mixed(tmp_path):
    root = make_tree(
        *(tmp_path, image("train", "ulm", "1"), mask("train", "ulm", "1", "labelTrainIds")),
        *(image("val", "ulm", "2"), mask("val", "ulm", "2")),
    )
    offered = find_cityscapes(Place(root))
    assert offered.encoding == {"label_map": label_map()}
    assert lines(offered.splits["train"].problems) == [
        f"{root}/{image('train', 'ulm', '1')}: no mask named ulm/ulm_1_gtFine_labelIds in {root}/gtFine/train (.png)"
    ]


def test_refuses_missing_folders(tmp_path):
    root = make_tree(tmp_path, image("train", "ulm", "1"))
    assert fits(root)
    assert not fits(f"{root}/leftImg8bit")
    with pytest.raises(RunError, match="gtFine/train: no such folder"):
        find_cityscapes(Place(root))
    with pytest.raises(RunError, match="no folder val there"):
        find_cityscapes(Place(root, split="validation"))
