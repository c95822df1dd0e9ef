"""Conversion that leaves bad pairs out, --on_error=skip."""

import hashlib
import json
import shutil

import pytest
import tensorflow as tf
from converted import convert
from drawn import encoded, photo, write_pairs

from kseg import records
from kseg.errors import RunError


@pytest.fixture(scope="module")
def ten(tmp_path_factory):
    root = tmp_path_factory.mktemp("ten")
    write_pairs(root, [f"frame_{index}" for index in range(7)] + ["sub/frame_0"])
    write_pairs(root, ["small", "other"], height=16, width=20, seed=40)
    return root


def test_bad_pairs_are_left_out_and_listed(ten, tmp_path):
    root, output = tmp_path / "bad", tmp_path / "out"
    shutil.copytree(ten, root)
    (root / "masks" / "frame_1.png").unlink()  # no mask
    (root / "images" / "frame_2.png").write_bytes(encoded(photo(24, 32)))  # two images of one stem: neither is taken
    (root / "images" / "frame_4.jpg").write_bytes(b"")  # image and mask bad: one pair
    (root / "masks" / "frame_4.png").write_bytes(b"")
    entry = convert(root, output, num_shards=2, skip_problems=True)
    assert (entry.examples, entry.skipped) == (7, 3)
    assert records.read_dataset(str(output)).split("train") == entry
    names = [
        records.parse(each)[records.FILENAME].numpy().decode()
        for each in tf.data.TFRecordDataset(records.read_dataset(str(output)).shard_paths("train"))
    ]
    assert sorted(names) == ["frame_0.jpg", "frame_3.jpg", "frame_5.jpg", "frame_6.jpg", "other.jpg", "small.jpg",
                             "sub/frame_0.jpg"]  # fmt: skip
    lines = [json.loads(line) for line in (output / "problems.jsonl").read_text().splitlines()]
    assert [(line["split"], line["stem"], line["file"]) for line in lines] == [
        ("train", "frame_1", f"{root}/images/frame_1.jpg"),
        ("train", "frame_2", f"{root}/images/frame_2.png"),
        ("train", "frame_4", f"{root}/images/frame_4.jpg"),
        ("train", "frame_4", f"{root}/masks/frame_4.png"),
    ]
    assert all(line["problem"] for line in lines)


def test_the_list_keeps_other_splits_and_goes_when_nothing_is_left_out(ten, tmp_path):
    root, output = tmp_path / "bad", tmp_path / "out"
    shutil.copytree(ten, root)
    (root / "images" / "other.jpg").write_bytes(b"no picture")
    for split in ("train", "validation"):
        convert(root, output, split, skip_problems=True)
    lines = (output / "problems.jsonl").read_text().splitlines()
    assert [json.loads(line)["split"] for line in lines] == ["train", "validation"]
    convert(ten, output, "train")
    assert (output / "problems.jsonl").read_text().splitlines() == lines[1:]
    convert(ten, output, "validation")
    assert not (output / "problems.jsonl").exists()


def test_a_shard_whose_pairs_are_all_left_out_is_there_and_empty(ten, tmp_path):
    root = tmp_path / "bad"
    write_pairs(root, ["a", "b", "c"])
    order = sorted("abc", key=lambda stem: hashlib.sha256(stem.encode()).digest())
    (root / "images" / f"{order[1]}.jpg").write_bytes(b"no picture")
    entry = convert(root, tmp_path / "out", num_shards=3, skip_problems=True)
    assert [shard.examples for shard in entry.shards] == [1, 0, 1]
    paths = records.read_dataset(str(tmp_path / "out")).shard_paths("train")
    assert sum(1 for _ in tf.data.TFRecordDataset(paths)) == 2


def test_nothing_good_is_refused_even_with_skip(ten, tmp_path):
    root = tmp_path / "bad"
    write_pairs(root, ["a"])
    (root / "images" / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(RunError, match="no good pair in train: 1 problem"):
        convert(root, tmp_path / "out", skip_problems=True)
    assert not (tmp_path / "out").exists()
