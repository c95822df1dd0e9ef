import json
import shutil

import pytest
import tensorflow as tf

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


def test_a_shard_cut_short(data):
    path = data / "train-00001-of-00002.tfrecord"
    path.write_bytes(path.read_bytes()[:-40])
    pictures, faults = scanned(data)
    name = "train-00001-of-00002.tfrecord"
    assert kinds(faults) == [("changed_shard", name), ("damaged_record", f"{name} record 2")]
    assert len(pictures) == 5


def test_a_flipped_bit(data):
    path = data / "train-00000-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    pictures, faults = scanned(data)
    name = "train-00000-of-00002.tfrecord"
    assert kinds(faults) == [("changed_shard", name), ("damaged_record", f"{name} record 1")]
    assert [one.name.split(" (")[0] for one in pictures] == [
        f"{name} record 0",
        *(f"train-00001-of-00002.tfrecord record {number}" for number in range(3)),
    ]


def test_a_record_without_its_mask(data):
    example = tf.train.Example()
    example.features.feature[records.IMAGE].bytes_list.value.append(b"x")
    path = data / "validation-00000-of-00001.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(example.SerializeToString())
    value = json.loads((data / "dataset.json").read_text())
    value["splits"]["validation"]["shards"][0] |= {"bytes": path.stat().st_size, "examples": 1}
    (data / "dataset.json").write_text(json.dumps(value))
    pictures, faults = scanned(data, "validation")
    assert pictures == []
    assert kinds(faults) == [("changed_shard", path.name), ("damaged_record", f"{path.name} record 0")]
    assert "image/" in faults[1].what  # the key that is not there


def test_a_count_that_is_wrong(data):
    text = (data / "dataset.json").read_text()
    (data / "dataset.json").write_text(text.replace('"examples": 3', '"examples": 4'))
    pictures, faults = scanned(data, "validation")
    assert [fault.what for fault in faults] == ["3 records, dataset.json says 4"]
    assert len(pictures) == 3
