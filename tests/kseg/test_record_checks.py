"""What is said about a record or a shard that cannot be used: each kind of damage planted, one at a time."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from kseg import record_checks, records
from kseg.errors import RunError
from kseg.pictures import png_bytes

HEIGHT, WIDTH, CLASSES = 12, 16, 3
IMAGE = png_bytes(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
MASK = np.tile(np.array([0, 1, 2, 255], np.uint8), (HEIGHT, WIDTH // 4))


def record(index=0, image=IMAGE, mask=MASK, name=None):
    mask = mask if isinstance(mask, bytes) else png_bytes(mask)
    return records.encode(image, "png", name or f"{index}.png", HEIGHT, WIDTH, mask)


def changed(key, **feature):
    """A record with another feature, or none, under a key."""
    example = tf.train.Example.FromString(record())
    del example.features.feature[key]
    if feature:
        example.features.feature[key].CopyFrom(tf.train.Feature(**feature))
    return example.SerializeToString()


def with_value(value, pixels):
    mask = MASK.copy()
    mask[0, :pixels] = value
    return mask


NUMBERS = tf.train.Int64List(value=[1, 2])
FAULTS = {
    "lacks an image": (changed(records.IMAGE), "lacks the key image/encoded"),
    "lacks a mask": (changed(records.MASK), "lacks the key image/segmentation/class/encoded"),
    "lacks a height": (changed(records.HEIGHT), "lacks the key image/height"),
    "lacks a name": (changed(records.FILENAME), "lacks the key image/filename"),
    "a number for a name": (
        changed(records.FILENAME, int64_list=NUMBERS),
        "key image/filename: 0 values of the type string; expected one",
    ),
    "two widths": (
        changed(records.WIDTH, int64_list=NUMBERS),
        "key image/width: 2 values of the type number; expected one",
    ),
    "no Example": (b"\xff\xff\xff", "not a tf.train.Example"),
    "half an image": (record(image=IMAGE[:200]), "its image cannot be decoded: "),
    "no image": (record(image=b"text"), "its image cannot be decoded: "),
    "half a mask": (record(mask=png_bytes(MASK)[:50]), "its mask cannot be decoded: "),
    "a mask of three channels": (
        record(mask=png_bytes(np.dstack([MASK] * 3))),
        "its mask is not a PNG of one grey channel of 8 bits",
    ),
    "a mask of 16 bits": (
        record(mask=tf.io.encode_png(MASK[..., None].astype(np.uint16)).numpy()),
        "its mask is not a PNG of one grey channel of 8 bits",
    ),
    "a smaller mask": (
        record(mask=MASK[:, 1:]),
        "sizes differ: image 12 x 16, mask 12 x 15 (height x width)",
    ),
    "a value that is no class": (
        record(mask=with_value(3, 2)),
        "its mask holds 3 (2 pixels); allowed: 0 to 2, and 255 for what is no class",
    ),
    "many values": (
        record(mask=np.arange(192, dtype=np.uint8).reshape(HEIGHT, WIDTH)),
        "its mask holds 3, 4, 5, 6, 7, … (189 pixels); allowed: 0 to 2, and 255 for what is no class",
    ),
}


@pytest.fixture
def shard(tmp_path):
    """Serialised examples -> the shard that holds them."""

    def write(*examples):
        path = str(tmp_path / "some.tfrecord")
        with tf.io.TFRecordWriter(path) as writer:
            for example in examples:
                writer.write(example)
        return record_checks.Part(path, len(examples))

    return write


@pytest.fixture
def five(shard):
    """Five sound records, and their bytes."""
    part = shard(*map(record, range(5)))
    with open(part.path, "rb") as file:
        return part, file.read()


def faults(part, content=None):
    """What `examine` finds, and how many sound records, in `content` instead of what stands there."""
    if content is not None:
        with open(part.path, "wb") as file:
            file.write(content)
    found = record_checks.examine(part, CLASSES)
    assert {fault.path for fault in found.faults} <= {part.path}
    assert (found.sha256 is None) == bool(found.faults)
    return [(fault.where, fault.count, fault.reason) for fault in found.faults], len(found.good)


@pytest.mark.parametrize("name", FAULTS)
def test_a_bad_record(name):
    serialized, message = FAULTS[name]
    fault = record_checks.record_fault(serialized, CLASSES)
    assert fault.startswith(message) if message.endswith(": ") else fault == message
    assert "\n" not in fault and "{{" not in fault and "[Op:" not in fault


def test_records_that_are_used_are_not_at_fault():
    assert record_checks.record_fault(record(), CLASSES) is None
    assert record_checks.record_fault(record(mask=np.full_like(MASK, 255)), CLASSES) is None
    assert record_checks.record_fault(record(mask=with_value(253, 5)), 254) is None


def test_bad_records_are_named_in_their_order(shard):
    part = shard(record(0), FAULTS["a smaller mask"][0], record(2), FAULTS["lacks a name"][0], b"\xff")
    found, good = faults(part)
    assert good == 2
    assert found[0] == ("record 1 (0.png)", 1, FAULTS["a smaller mask"][1])
    assert [(where, count) for where, count, _ in found[1:]] == [("record 3", 1), ("record 4", 1)]


def test_names_that_would_break_the_line_are_quoted(shard):
    part = shard(record(name="a\nb.png", image=b"text"))
    assert faults(part)[0][0][0] == r"record 0 ('a\nb.png')"


def test_damage_of_the_file(five):
    part, whole = five
    size = len(whole) // 5
    flip = bytes([whole[2 * size + 200] ^ 255])
    checksum = "damaged: its checksum is not that of its bytes"
    flipped = whole[: 2 * size + 200] + flip + whole[2 * size + 201 :]
    assert faults(part, flipped) == ([("record 2 (2.png)", 1, checksum)], 4)
    assert faults(part, whole[: 4 * size]) == ([("record 4", 1, "not there: the file ends after 4 records")], 4)
    cut = f"cut off: 88 of {size - 12} bytes are there"
    assert faults(part, whole[: 2 * size + 100]) == ([("records 2 to 4", 3, cut)], 2)
    assert faults(part, b"") == ([("records 0 to 4", 5, "not there: the file ends after 0 records")], 0)
    more = [("record 5 (0.png)", 1, "one more than the 5 that dataset.json lists")]
    assert faults(part, whole + whole[:size]) == (more, 5)
    assert faults(part, whole + b"end") == ([(f"byte {5 * size}", 0, "no record can be made out in these 3 bytes")], 5)


def test_records_after_a_lost_header_keep_their_numbers(five):
    part, whole = five
    size = len(whole) // 5
    hole = whole[:size] + b"\0" * (2 * size) + whole[3 * size : 4 * size + 200] + b"?" + whole[4 * size + 201 :]
    found, good = faults(part, hole)
    assert good == 2
    assert found[0] == ("records 1 to 2", 2, f"no record can be made out in these {2 * size} bytes")
    assert found[1][:2] == ("record 4 (4.png)", 1)


def test_what_comes_after_two_holes_of_unknown_size_is_named_by_its_place(five):
    part, whole = five
    size = len(whole) // 5
    one = b"\0" * size
    assert [entry[:2] for entry in faults(part, one + whole[size : 3 * size] + one + whole[4 * size :])[0]] == [
        ("record 0", 1),
        ("record 3", 1),
    ]
    found, good = faults(part, one + whole[size : 2 * size] + 2 * one + whole[4 * size :][:-1])
    assert good == 1
    assert [entry[:2] for entry in found] == [
        ("from record 0 on", 3),
        (f"byte {2 * size}", 0),
        (f"byte {4 * size} (4.png)", 1),
    ]


def test_a_missing_file(tmp_path):
    part = record_checks.Part(str(tmp_path / "none.tfrecord"), 3)
    assert faults(part) == ([("records 0 to 2", 3, "listed in dataset.json but not there")], 0)


def test_a_folder_is_no_shard(tmp_path):
    with pytest.raises(RunError, match=rf"{tmp_path}: cannot be read: "):
        record_checks.examine(record_checks.Part(str(tmp_path), 3), CLASSES)


def test_progress_counts_every_record(shard):
    counted = []
    record_checks.examine(shard(*[record()] * 40), CLASSES, counted.append)
    assert counted == [1] * 40


def test_the_checksum_of_a_sound_shard(five):
    part, whole = five
    assert record_checks.examine(part, CLASSES).sha256 == hashlib.sha256(whole).hexdigest()


@pytest.mark.parametrize("name", ["a.png", "x" * 127, "x" * 128, "long/" * 40 + "a.png"])
def test_a_torn_record_is_named_if_its_name_is_there(shard, name):
    """The image stands before the name, the mask behind it."""
    part = shard(record(name=name))
    with open(part.path, "rb") as file:
        whole = file.read()
    end = whole.index(name.encode()) + len(name)
    assert faults(part, whole[:end])[0][0][0] == f"record 0 ({name})"
    assert faults(part, whole[: end - 1])[0][0][0] == "record 0"
    assert faults(part, whole[:200])[0][0][0] == "record 0"
