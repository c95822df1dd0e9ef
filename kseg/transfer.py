"""Files that are made or used on the local disk, whatever storage they belong to."""

import contextlib
import os
import tempfile
from collections.abc import Iterator

import tensorflow as tf

from kseg import storage


@contextlib.contextmanager
def made_locally(path: str) -> Iterator[str]:
    """Yields where to write a file: `path` itself, or for a remote one a local file, uploaded if the block ends well.

    What was written can so be read back without a download, at 2 requests a 512 KiB.

    Raises:
        RunError: naming the file, if it cannot be uploaded.
    """
    path = storage.prepare(path)
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        local = os.path.join(folder, os.path.basename(path))
        yield local
        if not os.path.getsize(local):  # of what nothing is written to, tensorflow-io makes no file
            storage.write_bytes(path, b"")
            return
        with storage.naming("cannot be written", path):
            _copy(local, path)


@contextlib.contextmanager
def folder_made_locally(path: str) -> Iterator[str]:
    """Yields a folder to write files into: `path` itself, or for a remote one a local folder, uploaded in the end.

    Where the block or the upload fails, what is in the folder `path` is not whole.

    Raises:
        RunError: naming the file, if it cannot be uploaded.
    """
    path = storage.prepare(path)
    if "://" not in path:
        storage.make_dirs(path)
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield folder
        for name in sorted(os.listdir(folder)):
            target = storage.join(path, name)
            with storage.naming("cannot be written", target):
                _copy(os.path.join(folder, name), target)


@contextlib.contextmanager
def brought_here(path: str) -> Iterator[str]:
    """Yields a local folder with the files of the folder `path`: itself, or for a remote one a copy.

    Raises:
        RunError: naming the file, if it cannot be downloaded.
    """
    path = storage.prepare(path)
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in storage.list_dir(path):
            source = storage.join(path, name)
            with storage.naming("cannot be read", source):
                _copy(source, os.path.join(folder, name))
        yield folder


def _copy(source: str, target: str) -> None:
    tf.io.gfile.copy(source, target, overwrite=True)
    there, wanted = storage.size(target), storage.size(source)
    if there != wanted:
        raise tf.errors.DataLossError(None, None, f"{there} of {wanted} bytes arrived")
