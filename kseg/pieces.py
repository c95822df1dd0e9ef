"""A file, local or remote, read piece by piece."""

import contextlib

import tensorflow as tf

from kseg import retries, s3, storage
from kseg.errors import RunError


class Pieces(contextlib.AbstractContextManager):
    """A file to read from any place on; on s3:// tried again while there is no answer.

    Raises:
        tf.errors.OpError: if it cannot be opened or read; RunError on s3://.
    """

    def __init__(self, path: str):
        self._path, self._file = storage.prepare(path), None

    def read(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset` on."""
        return retries.retried(self._named, offset, count) if s3.is_s3(self._path) else self._read(offset, count)

    def _named(self, offset: int, count: int) -> bytes:
        try:
            with storage.naming("cannot be read", self._path):
                return self._read(offset, count)
        except RunError:
            self._file = None  # which would say again what it met
            raise

    def _read(self, offset: int, count: int) -> bytes:
        self._file = self._file or tf.io.gfile.GFile(self._path, "rb")
        self._file.seek(offset)
        return self._file.read(count)

    def __exit__(self, *exception) -> None:
        if self._file is not None:
            self._file.close()
