"""Faults planted into made-up pictures: the inspection names each, and nothing besides."""

import dataclasses
import itertools
import json
import pathlib

import numpy as np
import planting
import pytest
from PIL import Image, ImageDraw
from planted_tree import Tree, expected, linked_copy, reported
from planting import ERROR, WARNING

from data_tools import convert
from data_tools.colors import voc_color
from data_tools.inspection import command, inspector, scan
from data_tools.inspection.command import InspectConfig
from data_tools.sources import synthetic
from kseg import records

CLASSES = 4
FEW = {"train": 12, "validation": 5}
CROWD = {"train": len(planting.FAULTS) + 1, "validation": 6}
VOC_PALETTE = [level for index in range(256) for level in voc_color(index)]


def draw(root: pathlib.Path, counts: dict[str, int]) -> pathlib.Path:
    """Made-up scenes that show every class, masks as palette PNG."""
    tree, seeds = Tree(root, CLASSES), itertools.count()
    for split, count in counts.items():
        for folder in (tree.image(split, "").parent, tree.mask(split, "").parent):
            folder.mkdir(parents=True)
        for number in range(count):
            image, mask = next(
                drawn
                for drawn in (synthetic.scene(136, 152, (11, seed)) for seed in seeds)
                if len(np.unique(drawn[1])) == CLASSES + 1
            )
            tree.put(tree.image(split, f"{split}_{number:02d}"), Image.fromarray(image), quality=92)
            tree.put(tree.mask(split, f"{split}_{number:02d}"), mask, palette=VOC_PALETTE)
    return root


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> pathlib.Path:
    return draw(tmp_path_factory.mktemp("data") / "clean", FEW)


@pytest.fixture
def tree(clean, tmp_path) -> Tree:
    linked_copy(clean, tmp_path / "tree")
    return Tree(tmp_path / "tree", CLASSES)


@pytest.fixture(scope="module", autouse=True)
def remembered():
    """What a fault leaves as it is need not be decoded again: that is most of the time."""
    seen, look = {}, scan.scan_bytes

    def remembering(facts, image, mask, encoding):
        key = image, mask, encoding
        if key not in seen or seen[key].faults or facts.faults:
            seen[key] = look(facts, image, mask, encoding)
        names = {name: getattr(facts, name) for name in ("split", "name", "image", "mask")}
        return dataclasses.replace(seen[key], **names)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "scan_bytes", remembering)
        yield


def found_in(root, **more):
    config = InspectConfig(input=str(root), output=str(root / "out"), workers=1, **more)
    return reported(inspector.inspect(config).findings, root)


@pytest.mark.parametrize("classes", [None, CLASSES], ids=["inferred", "known"])
def test_nothing_is_found_where_nothing_is_wrong(clean, classes):
    assert found_in(clean, num_classes=classes) == {}


@pytest.mark.parametrize("fault", planting.FAULTS, ids=lambda fault: fault.__name__)
def test_one_fault(tree, fault):
    planted = fault(tree, "train", "train_05")
    assert found_in(tree.root, num_classes=CLASSES) == expected(planted)


def test_all_faults_at_once(tmp_path):
    tree = Tree(draw(tmp_path / "crowd", CROWD), CLASSES)
    planted = []
    for number, fault in enumerate(planting.FAULTS, 1):  # the first picture lends its mask to another
        planted += fault(tree, "train", f"train_{number:02d}")
    assert len({kind for _, kind, _ in planted}) >= 20
    assert found_in(tree.root, num_classes=CLASSES) == expected(planted)


def each_mask(tree, split, change) -> None:
    for path in sorted(tree.mask(split, "").parent.glob("*.png")):
        values = tree.values(split, path.stem)
        tree.put(path, np.where(values == 255, 255, change(values)).astype(np.uint8), palette=VOC_PALETTE)


def masks_of(tree, *splits) -> set[str]:
    return {f"{split}_annotation/{path.name}" for split in splits for path in tree.mask(split, "").parent.iterdir()}


@pytest.mark.parametrize("classes", [None, CLASSES], ids=["inferred", "known"])
def test_masks_of_a_split_counted_from_1(tree, classes):
    each_mask(tree, "validation", lambda values: values + 1)
    assert found_in(tree.root, num_classes=classes) == {(ERROR, "off_by_one"): masks_of(tree, "validation")}


def test_masks_of_another_numbering(tree):
    each_mask(tree, "train", lambda values: np.array([7, 11, 26, 33])[np.minimum(values, 3)])
    each_mask(tree, "validation", lambda values: np.array([7, 11, 26, 33])[np.minimum(values, 3)])
    assert found_in(tree.root) == {(WARNING, "sparse_values"): masks_of(tree, "train", "validation")}


def test_masks_of_two_classes(tree):
    for split in ("train", "validation"):
        each_mask(tree, split, lambda values: values == 1)
    assert found_in(tree.root) == found_in(tree.root, num_classes=2) == {}


def test_pages_with_masks_of_their_lines(tmp_path):
    """Lines of text lie as well on other lines: half of such masks fit better when mirrored."""
    rng = np.random.default_rng(0)
    for number in range(12):
        page, mask = Image.new("L", (300, 400), 255), np.zeros((400, 300), np.uint8)
        for top in range(20, 380, 12):
            words = "".join(map(chr, rng.integers(97, 122, rng.integers(20, 45))))
            ImageDraw.Draw(page).text((20, top), words, fill=0)
            mask[top : top + 10, 20 : 20 + 6 * len(words)] = 1
        for folder, picture in (("images", page), ("masks", Image.fromarray(mask))):
            (tmp_path / folder).mkdir(exist_ok=True)
            picture.save(tmp_path / folder / f"{number}.png")
    assert found_in(tmp_path) == {}


def test_a_value_above_the_classes_in_all_masks(tree):
    """Undecided between 0 and CLASSES as what is ignored: the figures are left open, and nothing is decided."""
    for split in ("train", "validation"):
        for path in sorted(tree.mask(split, "").parent.glob("*.png")):
            values = tree.values(split, path.stem)
            tree.put(path, np.where(values == 255, CLASSES, values).astype(np.uint8), palette=VOC_PALETTE)
    assert found_in(tree.root, num_classes=CLASSES) == {
        (ERROR, "unknown_values"): masks_of(tree, "train", "validation")
    }


def test_a_class_that_a_split_lacks(tree):
    each_mask(tree, "train", lambda values: np.where(values == 2, 0, values))
    assert found_in(tree.root, num_classes=CLASSES) == {(ERROR, "class_missing"): set()}
    each_mask(tree, "validation", lambda values: np.where(values == 2, 0, values))
    assert found_in(tree.root, num_classes=CLASSES) == {(WARNING, "class_unused"): set()}


def test_a_class_that_validation_lacks(tree):
    each_mask(tree, "validation", lambda values: np.where(values == 2, 0, values))
    assert found_in(tree.root, num_classes=CLASSES) == {(WARNING, "class_missing"): set()}


def run(argv: list, capsys) -> tuple[int, str]:
    with pytest.raises(SystemExit) as end:
        (command if argv[0] == "inspect-dataset" else convert).main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return end.value.code, out if end.value.code == 0 or argv[0] == "inspect-dataset" else err


def test_the_suggested_label_map_mends_scaled_masks(tree, tmp_path, capsys):
    """0, 128 and 255, where 255 is a class too: the suggested files alone must make the masks convert."""
    for split in ("train", "validation"):
        for path in sorted(tree.mask(split, "").parent.glob("*.png")):
            values = np.minimum(tree.values(split, path.stem), 2)
            tree.put(path, Image.fromarray(np.array([0, 128, 255], np.uint8)[values]))
    out = tmp_path / "out"
    status, text = run(["inspect-dataset", tree.root, f"--output={out}"], capsys)
    assert status == 1
    assert "scaled" in text
    assert json.loads((out / "train_label_map.json").read_text()) == {"map": {"0": 0, "1": 128, "2": 255}}
    records_dir = tmp_path / "records"
    assert run(["convert-dataset", f"--flagfile={out}/convert.flags", f"--output={records_dir}"], capsys)[0] == 0
    entry = records.read_dataset(str(records_dir)).split("train")
    values = [np.minimum(tree.values("train", path.stem), 255) for path in (tree.root / "train").glob("*.jpg")]
    counts = [sum(int((mask == value).sum()) for mask in values) for value in (0, 128, 255)]
    assert entry.pixels_per_class == tuple(counts)
    assert entry.ignored_pixels == 0
    status, text = run(["inspect-dataset", records_dir, f"--output={out}2"], capsys)
    assert (status, "nothing wrong found" in text) == (0, True)


def test_the_suggested_colors_mend_rgb_masks(tree, tmp_path, capsys):
    colors = np.array([(10, 20, 30), (200, 0, 0), (0, 200, 0), (0, 0, 200), (9, 9, 9)], np.uint8)
    for split in ("train", "validation"):
        for path in sorted(tree.mask(split, "").parent.glob("*.png")):
            values = np.minimum(tree.values(split, path.stem), 4)
            tree.put(path, Image.fromarray(colors[values]))
    out = tmp_path / "out"
    status, text = run(["inspect-dataset", tree.root, f"--output={out}"], capsys)
    assert status == 1
    assert "colors.txt" in text
    records_dir = tmp_path / "records"
    assert run(["convert-dataset", f"--flagfile={out}/convert.flags", f"--output={records_dir}"], capsys)[0] == 0
    dataset = records.read_dataset(str(records_dir))
    assert sorted(dataset.labels.colors) == sorted(map(tuple, colors.tolist()))
    assert dataset.labels.colors[0] == (10, 20, 30)  # that of most pixels
