import hashlib
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf
from converted import LABELS, convert, found_in
from drawn import CLASSES, class_mask, encoded, photo, write_pairs

from data_tools.encoding import make_encoding
from data_tools.jobs import Job
from data_tools.writer import local_runner, write_splits
from kseg import records, storage
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap


def content(folder: pathlib.Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def ten(tmp_path_factory) -> pathlib.Path:
    """Ten pairs of two sizes, one in a subfolder."""
    root = tmp_path_factory.mktemp("ten")
    write_pairs(root, [f"frame_{index}" for index in range(7)] + ["sub/frame_0"])
    write_pairs(root, ["small", "other"], height=16, width=20, seed=40)
    return root


def test_records_hold_the_files(ten, tmp_path):
    convert(ten, tmp_path, num_shards=3)
    dataset = records.read_dataset(str(tmp_path))
    paths = dataset.shard_paths("train")
    assert [pathlib.Path(path).name for path in paths] == [f"train-0000{index}-of-00003.tfrecord" for index in range(3)]
    names = []
    for serialized in tf.data.TFRecordDataset(paths):
        record = records.parse(serialized)
        name = record[records.FILENAME].numpy().decode()
        names.append(name)
        assert record[records.IMAGE].numpy() == (ten / "images" / name).read_bytes()
        image, mask = records.decode(record)
        assert image.shape[:2] == mask.shape == (record[records.HEIGHT], record[records.WIDTH])
        seed = {"small.jpg": 40, "other.jpg": 41, "sub/frame_0.jpg": 7}.get(name)
        seed = int(name[6]) if seed is None else seed
        np.testing.assert_array_equal(mask, class_mask(*mask.shape, seed))
    expected = sorted(
        (path.relative_to(ten / "images").as_posix() for path in (ten / "images").rglob("*.jpg")),
        key=lambda name: hashlib.sha256(name.removesuffix(".jpg").encode()).digest(),
    )
    assert names == expected


def test_the_entry_in_dataset_json(ten, tmp_path):
    returned = convert(ten, tmp_path, num_shards=3)
    entry = records.read_dataset(str(tmp_path)).split("train")
    assert entry == returned
    assert [shard.examples for shard in entry.shards] == [3, 3, 4]
    masks = [class_mask(24, 32, seed) for seed in range(8)] + [class_mask(16, 20, seed) for seed in (40, 41)]
    counts = np.bincount(np.concatenate([mask.ravel() for mask in masks]), minlength=256)
    assert entry.pixels_per_class == tuple(counts[:3])
    assert entry.ignored_pixels == counts[255]
    assert (entry.height_range, entry.width_range) == ((16, 24), (20, 32))
    for shard in entry.shards:
        data = (tmp_path / shard.name).read_bytes()
        assert (shard.bytes, shard.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_same_bytes_from_one_and_two_processes_and_again(ten, tmp_path):
    for name, workers in (("one", 1), ("two", 2), ("default", None)):
        convert(ten, tmp_path / name, num_shards=3, workers=workers)
    one = content(tmp_path / "one")
    assert sorted(one) == ["dataset.json", *(f"train-0000{index}-of-00003.tfrecord" for index in range(3))]
    assert content(tmp_path / "two") == one
    assert content(tmp_path / "default") == one
    convert(ten, tmp_path / "one", num_shards=3, workers=1)
    assert content(tmp_path / "one") == one


def test_refuses_more_shards_than_pictures(ten, tmp_path):
    with pytest.raises(UsageError, match="--num_shards=11: allowed: 1 to 10"):
        convert(ten, tmp_path / "out", num_shards=11)
    assert not (tmp_path / "out").exists()


def test_splits_are_merged_and_replaced_each_by_itself(ten, tmp_path):
    output = tmp_path / "out"
    convert(ten, output, "train", num_shards=3)
    first = content(output)
    convert(ten, output, "train-extra", num_shards=2)
    convert(ten, output, "validation", num_shards=1)
    dataset = records.read_dataset(str(output))
    assert {name: len(split.shards) for name, split in dataset.splits.items()} == {
        "train": 3, "train-extra": 2, "validation": 1
    }  # fmt: skip
    assert {name: data for name, data in content(output).items() if name in first and name != "dataset.json"} == {
        name: data for name, data in first.items() if name != "dataset.json"
    }
    convert(ten, output, "train", num_shards=2)  # the three old ones go, those of train-extra stay
    assert sorted(path.name for path in output.glob("*.tfrecord")) == [
        "train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord",
        "train-extra-00000-of-00002.tfrecord", "train-extra-00001-of-00002.tfrecord",
        "validation-00000-of-00001.tfrecord",
    ]  # fmt: skip
    assert len(records.read_dataset(str(output)).shard_paths("train")) == 2


def test_refuses_other_classes_naming_the_difference(ten, tmp_path):
    convert(ten, tmp_path, "train")
    before = content(tmp_path)
    cases = {
        "class 1 is 'thing' there, 'things' given": LabelMap.from_names(["ground", "things", "other"]),
        "3 there, 4 given": LabelMap.from_names([*CLASSES, "more"]),
    }
    for difference, labels in cases.items():
        with pytest.raises(RunError, match=rf"its splits \(train\) have other classes: {difference}"):
            convert(ten, tmp_path, "validation", labels)
    assert content(tmp_path) == before


def test_the_only_split_may_be_replaced_with_other_classes(ten, tmp_path):
    convert(ten, tmp_path, "train")
    convert(ten, tmp_path, "train", LabelMap.from_names([*CLASSES, "more"]))
    assert records.read_dataset(str(tmp_path)).labels.names == (*CLASSES, "more")


def test_colours_chosen_in_dataset_json_stay(ten, tmp_path):
    convert(ten, tmp_path, "train")
    path = tmp_path / "dataset.json"
    red, green, blue = LABELS.colors[2]
    old = f'"color": [\n        {red},\n        {green},\n        {blue}\n      ]'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, '"color": [1, 2, 3]'))
    convert(ten, tmp_path, "validation")
    assert records.read_dataset(str(tmp_path)).labels.colors[2] == (1, 2, 3)


def test_a_damaged_dataset_json_says_how_to_go_on(ten, tmp_path):
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(RunError, match=r"not a data set description.*delete it to start anew"):
        convert(ten, tmp_path)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_problems_at_once_and_nothing_written(ten, tmp_path, workers):
    root, output = tmp_path / "bad", tmp_path / "out"
    shutil.copytree(ten, root)
    (root / "masks" / "frame_1.png").unlink()
    (root / "images" / "frame_2.jpg").write_bytes(b"no picture")
    (root / "masks" / "frame_3.png").write_bytes(encoded(class_mask(24, 33)))
    (root / "images" / "frame_4.jpg").write_bytes(b"")
    (root / "masks" / "frame_4.png").write_bytes(encoded(np.full((24, 32), 77, np.uint8)))
    convert(ten, output, "validation")
    before = content(output)
    with pytest.raises(RunError) as error:
        convert(root, output, workers=workers)
    lines = str(error.value).splitlines()
    assert lines[0] == "5 problems, 9 pairs checked, nothing written:"
    assert [line.split(": ")[0].strip() for line in lines[1:-1]] == [
        f"{root}/images/frame_1.jpg",
        f"{root}/images/frame_2.jpg",
        f"{root}/images/frame_4.jpg",
        f"{root}/masks/frame_3.png",
        f"{root}/masks/frame_4.png",
    ]
    assert f"33 x 24 pixels, but its image {root}/images/frame_3.jpg has 32 x 24; expected the same size" in lines[4]
    assert content(output) == before


def test_a_refused_data_set_leaves_no_new_folder(ten, tmp_path):
    with pytest.raises(RunError, match="10 problems"):
        convert(ten, tmp_path / "out", labels=LabelMap.numbered(2))
    assert not (tmp_path / "out").exists()


def test_a_mask_must_match_the_upright_picture(tmp_path):
    write_pairs(tmp_path, ["a"])
    exif = bytes.fromhex("45786966000049492a0008000000010012010300010000000600000000000000")  # orientation 6
    (tmp_path / "images" / "a.jpg").write_bytes(encoded(photo(24, 32), "JPEG", exif=exif))
    with pytest.raises(RunError, match=r"32 x 24 pixels.* has 24 x 32 once upright \(EXIF orientation 6\)"):
        convert(tmp_path, tmp_path / "out")
    (tmp_path / "masks" / "a.png").write_bytes(encoded(class_mask(32, 24)))
    entry = convert(tmp_path, tmp_path / "out")
    assert (entry.height_range, entry.width_range) == ((32, 32), (24, 24))


def test_an_output_that_cannot_be_written_is_named(ten, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=rf"{tmp_path}/file"):
        convert(ten, tmp_path / "file")


def test_remote_folders_in_and_out(ten):
    """ram:// is TensorFlow's file system in memory: reached through kseg.storage alone, like s3://."""
    for path in (path for path in ten.rglob("*") if path.suffix in (".jpg", ".png")):
        storage.write_bytes(f"ram://data/{path.relative_to(ten)}", path.read_bytes())
    entry = convert("ram://data", "ram://out", num_shards=3)
    convert("ram://data", "ram://out", num_shards=2)
    assert entry.examples == 10
    assert len(records.read_dataset("ram://out").shard_paths("train")) == 2
    storage.write_bytes("ram://data/images/other.jpg", b"broken")
    storage.remove("ram://data/images/small.jpg")
    with pytest.raises(RunError) as error:
        convert("ram://data", "ram://out", num_shards=3)
    problems = str(error.value).splitlines()[1:]
    assert [line.split(": ")[0].strip() for line in problems[:2]] == [
        "ram://data/images/other.jpg", "ram://data/masks/small.png"
    ]  # fmt: skip


def test_what_is_done_to_pictures_is_counted(tmp_path):
    write_pairs(tmp_path, ["a", "b"], height=40, width=64)
    seen_through = np.dstack([photo(40, 64), np.full((40, 64), 255, np.uint8)])
    seen_through[0, 0, 3] = 0
    (tmp_path / "images" / "b.jpg").unlink()
    (tmp_path / "images" / "b.png").write_bytes(encoded(seen_through))
    job = Job(found_in(tmp_path), make_encoding(3))
    outcome = write_splits(
        {"train": job}, str(tmp_path / "out"), LABELS, runner=local_runner(1), max_side=32, jpeg_quality=80
    )
    assert list(outcome.notes.values()) == [1]
    assert "alpha" in next(iter(outcome.notes))
    entry = outcome.entries["train"]
    assert (entry.height_range, entry.width_range) == ((20, 20), (32, 32))
    assert sum(entry.pixels_per_class) + entry.ignored_pixels == 2 * 20 * 32
    for serialized in tf.data.TFRecordDataset(records.read_dataset(str(tmp_path / "out")).shard_paths("train")):
        record = records.parse(serialized)
        assert record[records.FORMAT].numpy() == b"jpeg"
        image, mask = records.decode(record)
        assert (image.shape, mask.shape) == ((20, 32, 3), (20, 32))


def test_several_splits_are_written_together_or_not_at_all(ten, tmp_path):
    job = Job(found_in(ten), make_encoding(3))
    write_pairs(tmp_path / "bad", ["a", "b"])
    (tmp_path / "bad" / "masks" / "a.png").write_bytes(b"")
    bad = Job(found_in(tmp_path / "bad"), make_encoding(3))
    with pytest.raises(RunError, match="1 problem, 12 pairs checked, nothing written"):
        write_splits({"train": job, "validation": bad}, str(tmp_path / "out"), LABELS, runner=local_runner(1))
    assert not (tmp_path / "out").exists()
    outcome = write_splits({"train": job, "validation": job}, str(tmp_path / "out"), LABELS, runner=local_runner(1))
    assert set(outcome.entries) == set(records.read_dataset(str(tmp_path / "out")).splits) == {"train", "validation"}
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]
