"""The order of a training's records; what `train_dataset` makes of it is in test_pipeline.py."""

import numpy as np
import pytest
import tensorflow as tf

from kseg.data import order

SHARDS = [5, 4, 2]
NAMES = [f"record {index:02d}".encode() for index in range(11)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Eleven records in three shards of 5, 4 and 2."""
    folder, ends = tmp_path_factory.mktemp("order"), np.cumsum(SHARDS)
    for count, end in zip(SHARDS, ends, strict=True):
        with tf.io.TFRecordWriter(str(folder / f"{end}")) as writer:
            for name in NAMES[end - count : end]:
                writer.write(name)
    return [str(folder / f"{end}") for end in ends]


def records(paths, *, examples=11, size=1.0, per_epoch=11, epochs=range(1), seed=5, left_out=0):
    """(place, which of `NAMES`) of each record."""
    dataset = order.training_records(paths, examples, size, per_epoch, epochs, seed, left_out)
    return [(int(place), NAMES.index(name)) for place, name in dataset.as_numpy_iterator()]


def test_places_say_epoch_and_picture(shards):
    found = records(shards, per_epoch=25, epochs=range(2, 4))
    assert [place for place, _ in found] == [epoch * 2**32 + k for epoch in (2, 3) for k in range(25)]
    names = np.array([name for _, name in found]).reshape(2, 25)
    for epoch in names:
        assert sorted(epoch[:11]) == sorted(epoch[11:22]) == list(range(11)) and len(set(epoch[22:])) == 3
    assert len({tuple(part) for epoch in names for part in (epoch[:11], epoch[11:22])}) == 4


def test_what_is_left_out_changes_nothing_else(shards):
    whole = records(shards, per_epoch=7, epochs=range(3))
    assert records(shards, per_epoch=7, epochs=range(1, 3), left_out=4) == whole[11:]


def test_a_buffer_of_two_records_still_shuffles(shards, monkeypatch):
    monkeypatch.setattr(order, "SHUFFLE_BYTES", 250)
    names = np.array([name for _, name in records(shards, size=100.0, epochs=range(20))]).reshape(20, 11)
    assert (np.sort(names) == range(11)).all()
    # An epoch begins with the first record of any of the three shards: with a larger buffer with any record.
    assert set(names[:, 0]) == {0, 5, 9}
    monkeypatch.undo()
    names = np.array([name for _, name in records(shards, size=100.0, epochs=range(20))]).reshape(20, 11)
    assert len(set(names[:, 0])) > 3


def test_another_number_of_records_is_an_error(shards):
    for examples in (10, 12):
        with pytest.raises(tf.errors.FailedPreconditionError, match=f"expected to contain {examples}"):
            records(shards, examples=examples)
