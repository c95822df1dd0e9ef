"""Records of remote shards, here of local ones taken for remote; against a server in tests/e2e/test_s3_run.py."""

import contextlib

import pytest
import tensorflow as tf

from kseg import retries, storage
from kseg.data import streaming
from kseg.errors import UnreachableError

RECORDS = [f"{index}".encode() for index in range(2 * streaming.BLOCK + 3)]


@pytest.fixture
def path(tmp_path):
    with tf.io.TFRecordWriter(str(tmp_path / "shard")) as writer:
        for record in RECORDS:
            writer.write(record)
    return str(tmp_path / "shard")


def read(paths) -> list[bytes]:
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    dataset = dataset.interleave(lambda path: streaming.shard(path, remote=True), cycle_length=1)
    return list(dataset.as_numpy_iterator())


def test_every_record_in_order(path):
    assert read([path]) == RECORDS
    assert read([path, path]) == RECORDS * 2


def test_it_reads_on_after_an_outage(path, monkeypatch):
    """Each block is asked for, fails, and is asked for anew; none is read twice or left out."""
    outage, naming, asked = retries.Outage(sleep=lambda seconds: None), storage.naming, []

    @contextlib.contextmanager
    def failing(what, path):
        with naming(what, path):
            yield
        asked.append(path)
        if len(asked) % 2 == 0:
            raise UnreachableError(f"{path}: {what}")

    monkeypatch.setattr(storage, "naming", failing)
    monkeypatch.setattr(retries, "retried", outage.retried)
    assert read([path]) == RECORDS
    assert len(asked) > 4


def test_damage_is_an_error_that_names_the_file(path):
    with open(path, "r+b") as file:
        file.seek(30)
        file.write(b"damage")
    with pytest.raises(tf.errors.InvalidArgumentError, match="shard: cannot be read: corrupted record"):
        read([path])


def test_only_s3_is_read_so():
    assert streaming.are_remote(["s3://bucket/x"])
    assert not streaming.are_remote(["gs://bucket/x", "/x"])
