"""The record contract and dataset.json."""

import numpy as np
import pytest
import tensorflow as tf

from kseg import records
from kseg.errors import RunError
from kseg.labels import LabelMap

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
MASK = np.array([[0, 1, 255], [1, 0, 1]], np.uint8)


def encoded() -> bytes:
    image = tf.io.encode_png(IMAGE).numpy()
    mask = tf.io.encode_png(MASK[..., None]).numpy()
    return records.encode(image, "png", "a.png", 2, 3, mask)


def test_record_round_trip():
    record = records.parse(tf.constant(encoded()))
    image, mask = records.decode(record)
    np.testing.assert_array_equal(image, IMAGE)
    np.testing.assert_array_equal(mask, MASK)
    assert (record[records.HEIGHT], record[records.WIDTH], record[records.FILENAME]) == (2, 3, b"a.png")


def test_record_bytes_and_keys():
    assert encoded() == encoded()
    assert set(tf.train.Example.FromString(encoded()).features.feature) == {
        *("image/encoded", "image/format", "image/filename", "image/height", "image/width", "image/channels"),
        *("image/segmentation/class/encoded", "image/segmentation/class/format"),
    }


def dataset(folder) -> records.Dataset:
    shards = (records.Shard("train-00000-of-00001.tfrecord", 5, 4, "ab"),)
    split = records.Split(shards, (7, 8), 1, (2, 4), (3, 9))
    return records.Dataset(str(folder), LabelMap.numbered(2), {"train": split}, "0.1.0")


def test_dataset_file_round_trip(tmp_path):
    (tmp_path / "dataset.json").write_text(dataset(tmp_path).to_json())
    assert records.read_dataset(str(tmp_path)) == dataset(tmp_path)
    assert records.read_dataset(str(tmp_path)).split("train").examples == 5


def test_shards_must_be_there_at_their_size(tmp_path):
    path = tmp_path / records.shard_name("train", 0, 1)
    with pytest.raises(RunError, match=r"train-00000-of-00001\.tfrecord: listed in dataset\.json but not there"):
        dataset(tmp_path).shard_paths("train")
    path.write_bytes(b"12345")
    with pytest.raises(RunError, match=r"5 bytes, dataset\.json says 4"):
        dataset(tmp_path).shard_paths("train")
    path.write_bytes(b"1234")
    assert dataset(tmp_path).shard_paths("train") == [str(path)]


def test_unknown_split_lists_those_there(tmp_path):
    with pytest.raises(RunError, match=r"no split 'test' in dataset\.json; there: train"):
        dataset(tmp_path).split("test")


@pytest.mark.parametrize("content", ["{", "[]", '{"format_version": 1}', '{"format_version": 1, "splits": []}'])
def test_damaged_dataset_file(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(RunError, match="not a data set description"):
        records.read_dataset(str(tmp_path))


def test_format_of_another_version(tmp_path):
    (tmp_path / "dataset.json").write_text('{"format_version": 9}')
    with pytest.raises(RunError, match="format_version 9; this kseg reads 1"):
        records.read_dataset(str(tmp_path))
