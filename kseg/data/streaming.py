"""The records of remote shards, read on where the storage stopped to answer."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from kseg import retries, s3, storage
from kseg.errors import RunError, UnreachableError

BLOCK = 16  # records that go from Python to the pipeline at once
# Around functions of a graph without Python's control flow on tensors: to look for some took 1.3 s of a start.
as_written = tf.autograph.experimental.do_not_convert


def shard(path: tf.Tensor, remote: bool) -> tf.data.Dataset:
    """Serialised examples of a shard, string [].

    On s3:// an error in the midst is not the end of TensorFlow's own dataset: it leaves out the rest of the file.

    Args:
        path: string [].
        remote: whether it is of s3://.
    """
    if not remote:
        return tf.data.TFRecordDataset(path)
    blocks = tf.data.Dataset.from_generator(_blocks, args=(path,), output_signature=tf.TensorSpec([None], tf.string))
    return blocks.flat_map(tf.data.Dataset.from_tensor_slices)


def _blocks(path: bytes) -> Iterator[np.ndarray]:
    """The records in arrays of up to `BLOCK`.

    Raises:
        ValueError: if the file is damaged or not there, which the pipeline makes InvalidArgumentError of.
        UnreachableError: if the storage is given up.
    """
    path, done, records = path.decode(), 0, None

    def following() -> np.ndarray | None:
        nonlocal records
        try:
            with storage.naming("cannot be read", path), tf.device("CPU:0"):
                if records is None:
                    records = iter(tf.data.TFRecordDataset(path).skip(done).batch(BLOCK))
                block = next(records, None)
        except UnreachableError:
            records = None
            raise
        return None if block is None else block.numpy()

    while (block := _read(following)) is not None:
        done += len(block)
        yield block


def _read(following) -> np.ndarray | None:
    try:
        return retries.retried(following)
    except UnreachableError:
        raise
    except RunError as error:
        raise ValueError(str(error)) from None


def are_remote(paths: list[str]) -> bool:
    """Whether some of these are of s3://."""
    return any(s3.is_s3(path) for path in paths)
