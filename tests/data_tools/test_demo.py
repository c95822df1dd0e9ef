import numpy as np
import pytest
from PIL import Image

from data_tools import demo
from data_tools.convert import main
from kseg import records
from kseg.errors import RunError
from kseg.labels import LabelMap

SMALL = {"train_images": 3, "validation_images": 2, "size": 40}


def content(folder) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_folders_that_convert_as_they_are(tmp_path):
    demo.write_demo(str(tmp_path / "pictures"), **SMALL)
    labels = LabelMap.from_names_text((tmp_path / "pictures" / "classes.txt").read_text(), "--classes")
    assert labels.names == ("background", "disc", "box", "star")
    words = ["convert-dataset", f"--input={tmp_path}/pictures", f"--output={tmp_path}/records"]
    with pytest.raises(SystemExit, match="0"):
        main([*words, f"--classes={tmp_path}/pictures/classes.txt"])
    splits = records.read_dataset(str(tmp_path / "records")).splits
    assert {name: entry.examples for name, entry in splits.items()} == {"train": 3, "validation": 2}
    for entry in splits.values():
        assert entry.ignored_pixels > 0
        assert 35 <= entry.height_range[0] <= entry.height_range[1] <= 45


def test_the_same_seed_gives_the_same_files_and_no_picture_is_in_both_splits(tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        demo.write_demo(str(tmp_path / name), seed=seed, **SMALL)
    first = content(tmp_path / "a")
    assert content(tmp_path / "b") == first
    other = content(tmp_path / "c")
    assert all(other[name] != data for name, data in first.items() if name != "classes.txt")
    assert len(set(first.values())) == len(first) == 11


def test_images_are_jpeg_of_varying_size_and_masks_png(tmp_path):
    demo.write_demo(str(tmp_path), train_images=6, validation_images=1, size=40)
    sizes = set()
    for index in range(6):
        image = Image.open(tmp_path / "train" / f"train_{index:05d}.jpg")
        mask = Image.open(tmp_path / "train_annotation" / f"train_{index:05d}.png")
        assert (image.format, image.mode, mask.format, mask.mode) == ("JPEG", "RGB", "PNG", "L")
        assert image.size == mask.size
        assert np.asarray(image).std() > 10
        sizes.add(image.size)
    assert len(sizes) > 2


def test_a_second_run_replaces_its_own_files_and_refuses_foreign_ones(tmp_path):
    demo.write_demo(str(tmp_path), **SMALL)
    demo.write_demo(str(tmp_path), **SMALL)
    with pytest.raises(RunError, match=rf"{tmp_path}/train/train_00002.jpg: not of this data set"):
        demo.write_demo(str(tmp_path), **SMALL | {"train_images": 2})
    before = content(tmp_path)
    (tmp_path / "validation_annotation" / "mine.png").touch()
    with pytest.raises(RunError, match=r"validation_annotation/mine.png: not of this data set"):
        demo.write_demo(str(tmp_path), **SMALL | {"seed": 9})
    assert {name: data for name, data in content(tmp_path).items() if data} == before


def test_the_command(tmp_path, capfd):
    with pytest.raises(SystemExit) as end:
        demo.main(
            ["make-demo-dataset", f"--output={tmp_path}/x", "--train_images=2", "--validation_images=1", "--size=32"]
        )
    assert end.value.code == 0
    assert capfd.readouterr().out == f"2 train and 1 validation pictures written to {tmp_path}/x\n"
    with pytest.raises(SystemExit) as end:
        demo.main(["make-demo-dataset", f"--output={tmp_path}/y", "--size=31"])
    assert end.value.code == 2
    assert "--size=31: allowed: integer, 32 <= x <= 2048 (pixels)" in capfd.readouterr().err
