import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from drawn import encoded

from data_tools.inspection import shard_scan
from data_tools.inspection.facts import Fault, PictureFacts
from kseg import records


@pytest.fixture
def data(tiny_data, tmp_path):
    """Shards of 3 records in train, one shard of 3 in validation."""
    shutil.copytree(tiny_data, tmp_path / "data")
    return tmp_path / "data"


def scanned(data, split="train") -> tuple[list[PictureFacts], list[Fault]]:
    found = list(shard_scan.scan_split(records.read_dataset(str(data)), split))
    faults = [one for one in found if isinstance(one, Fault)]
    return [one[0] for one in found if not isinstance(one, Fault)], faults


def kinds(faults) -> list[tuple[str, str]]:
    return [(fault.kind, fault.file.rsplit("/", 1)[-1]) for fault in faults]


def test_every_record_in_its_order(data):
    pictures, faults = scanned(data)
    assert faults == []
    assert [one.name for one in pictures] == [
        f"train-0000{number // 3}-of-00002.tfrecord record {number % 3} ({number}.jpg)" for number in range(6)
    ]
    entry = records.read_dataset(str(data)).split("train")
    assert tuple(sum(one.classes[index] for one in pictures) for index in (0, 1)) == entry.pixels_per_class
    assert {one.size for one in pictures} == {(40, 48)}
    assert pictures[0].image_name == pictures[0].mask_name == pictures[0].name


def test_a_shard_that_is_gone(data):
    (data / "train-00000-of-00002.tfrecord").unlink()
    pictures, faults = scanned(data)
    assert kinds(faults) == [("missing_shard", "train-00000-of-00002.tfrecord")]
    assert len(pictures) == 3


def test_a_shard_cut_short_is_told_of_once(data):
    path = data / "train-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-40])
    pictures, faults = scanned(data)
    assert kinds(faults) == [("damaged_record", f"{path.name} record 2 (5.jpg)")]
    assert faults[0].what.startswith("cut off: ")
    assert len(pictures) == 5


def test_what_follows_a_flipped_bit_is_read(data):
    path = data / "train-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    pictures, faults = scanned(data)
    assert kinds(faults) == [("damaged_record", f"{path.name} record 1 (1.jpg)")]
    assert [one.name for one in pictures if one.name.startswith(path.name)] == [
        f"{path.name} record 0 (0.jpg)",
        f"{path.name} record 2 (2.jpg)",
    ]
    assert len(pictures) == 5


def test_what_follows_bytes_of_no_record_is_named_by_its_place(data):
    path = data / "train-00000-of-00002.tfrecord"
    content = path.read_bytes()
    path.write_bytes(b"?" * 100 + content)
    pictures, faults = scanned(data)
    assert kinds(faults) == [("damaged_record", f"{path.name} byte 0")]
    assert pictures[0].name == f"{path.name} byte 100 (0.jpg)"
    assert len(pictures) == 6


def records_of(path) -> list[bytes]:
    return [each.numpy() for each in tf.data.TFRecordDataset(str(path))]


def rewritten(data, change) -> str:
    """What is wrong once `change` was done to the features of record 1 of validation, with dataset.json to match."""
    path = data / "validation-00000-of-00001.tfrecord"
    contents = records_of(path)
    example = tf.train.Example.FromString(contents[1])
    change(example.features.feature)
    contents[1] = example.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            writer.write(content)
    value = json.loads((data / "dataset.json").read_text())
    told = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    value["splits"]["validation"]["shards"][0] |= told
    (data / "dataset.json").write_text(json.dumps(value))
    _, faults = scanned(data, "validation")
    assert kinds(faults) == [("damaged_record", f"{path.name} record 1 (1.jpg)")]
    return faults[0].what


def stored(key, content):
    return lambda features: features[key].bytes_list.value.__setitem__(0, content)


def test_records_that_training_refuses(data):
    """In training's words, without TensorFlow's names of nodes."""
    palette = encoded(np.zeros((33, 47), np.uint8), mode="P")
    message = "its mask is not a PNG of one grey channel of 8 bits"
    assert rewritten(data, stored(records.MASK, palette)) == message
    what = rewritten(data, stored(records.IMAGE, encoded(np.zeros((33, 47, 3), np.uint8), "TIFF")))
    assert what.startswith("its image cannot be decoded: ") and "{{" not in what
    assert rewritten(data, lambda features: features.pop(records.MASK)) == f"lacks the key {records.MASK}"


def test_sizes_that_are_not_those_of_the_pictures(data):
    what = rewritten(data, lambda features: features[records.HEIGHT].int64_list.value.__setitem__(0, 7))
    assert what == "image/height and image/width say 7 x 47, but its pictures have 33 x 47 pixels"


def test_a_copy_of_another_shard(data):
    shutil.copy(data / "validation-00000-of-00001.tfrecord", data / "train-00000-of-00002.tfrecord")
    pictures, faults = scanned(data)
    assert kinds(faults) == [("changed_shard", "train-00000-of-00002.tfrecord")]
    assert "another SHA-256" in faults[0].what
    assert len(pictures) == 6


def test_a_count_that_is_wrong(data):
    text = (data / "dataset.json").read_text()
    (data / "dataset.json").write_text(text.replace('"examples": 3', '"examples": 4'))
    pictures, faults = scanned(data, "validation")
    assert [fault.what for fault in faults] == ["not there: the file ends after 3 records"]
    assert len(pictures) == 3
    (data / "dataset.json").write_text(text.replace('"examples": 3', '"examples": 2'))
    pictures, faults = scanned(data, "validation")
    assert [fault.what for fault in faults] == ["one more than the 2 that dataset.json lists"]
    assert len(pictures) == 2
