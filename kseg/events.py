"""Scores and pictures for TensorBoard, of which none is lost without a word."""

import contextlib
import os
from collections.abc import Iterator

import tensorflow as tf

from kseg import faults, storage
from kseg.errors import RunError

HEAD, AROUND = 8, 16  # bytes of a record: its length, little-endian; the length, and the checksums of both


class Events:
    """A file of TensorBoard's events in a folder of such, written as with tf.summary's own writer.

    That one mostly says nothing of a disk that is full, and once there is room again goes on behind half a record,
    where no reader finds what follows.

    Args:
        folder: made if need be.

    Raises:
        RunError: naming the folder, if it cannot be written.
    """

    def __init__(self, folder: str):
        self._folder = storage.prepare(folder)
        before = self._names()
        with storage.naming("cannot be written", folder):
            self._writer = tf.summary.create_file_writer(self._folder)
        self._paths = [os.path.join(self._folder, name) for name in self._names() - before]
        self._whole = sum(map(os.path.getsize, self._paths))  # bytes that are there: of the one file, its first record

    def _names(self) -> set[str]:
        """Of what is there; of remote folders none, whose files appear only later, and whole."""
        return set(os.listdir(self._folder)) if os.path.isdir(self._folder) else set()

    @contextlib.contextmanager
    def as_default(self, step: int) -> Iterator[None]:
        """A block in which tf.summary writes here; the file is flushed in its end.

        Raises:
            RunError: naming the folder, if TensorFlow notices a full disk by itself.
        """
        try:
            with self._writer.as_default(step=step):
                yield
        except tf.errors.OpError as error:
            if words := faults.of_disk(error):
                raise RunError(f"{self._folder}: cannot be written: {words}") from None
            raise

    def flush(self) -> None:
        """Looks whether what the blocks since the last time wrote is on the disk.

        Raises:
            RunError: naming the file, if it is not.
        """
        for path in self._paths:
            size = os.path.getsize(path)
            end = _end_of_records(path, self._whole, size)
            if not self._whole < end == size:
                raise RunError(f"{path}: cannot be written: the disk is full, or was for a moment")
            self._whole = end


def _end_of_records(path: str, place: int, size: int) -> int:
    """Where the records from `place` on end in a file of a size; beyond that where the last one is not whole."""
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            place += AROUND + int.from_bytes(file.read(HEAD), "little")
    return place
