"""Files that are made or used on the local disk, whatever storage they belong to."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf

from kseg import retries, s3, storage
from kseg.errors import RunError


@contextlib.contextmanager
def made_locally(path: str) -> Iterator[str]:
    """Yields where to write a file: `path` itself, or for a remote one a local file, uploaded if the block ends well.

    What was written can so be read back without a download, at 2 requests a MiB.

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
        _upload(local, path)


@contextlib.contextmanager
def folder_made_locally(path: str, last: str = "") -> Iterator[str]:
    """Yields a folder to write files into: `path` itself, or for a remote one a local folder, uploaded in the end.

    Where the block or the upload fails, what is in the folder `path` is not whole.

    Args:
        path: the folder.
        last: name in it of the file to upload after all others: whoever looks for it finds all or nothing.

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
        for name in sorted(_files(folder), key=lambda name: (name == last, name)):
            _upload(os.path.join(folder, name), storage.join(path, name))


def _files(folder: str) -> list[str]:
    """Names of all files below a local folder, relative to it."""
    paths = [os.path.join(place, name) for place, _, names in os.walk(folder) for name in names]
    return [os.path.relpath(path, folder) for path in paths]


def brought_here(path: str) -> contextlib.AbstractContextManager[str]:
    """Yields a local folder with all that is in the folder `path`: itself, or for a remote one a copy.

    Raises:
        RunError: naming the file, if it cannot be downloaded.
    """
    return _local(path, _download_folder)


def file_brought_here(path: str) -> contextlib.AbstractContextManager[str]:
    """Yields where a file can be read locally: `path` itself, or for a remote one a copy of the same name.

    Raises:
        RunError: naming the file, if it cannot be downloaded.
    """
    return _local(path, _download_file)


@contextlib.contextmanager
def _local(path: str, download: Callable[[str, str], str]) -> Iterator[str]:
    path = storage.prepare(path)
    if "://" not in path:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield download(path, folder)


def _download_file(path: str, folder: str) -> str:
    local = os.path.join(folder, os.path.basename(path))
    _copy("cannot be read", path, path, local)
    return local


def _download_folder(path: str, folder: str) -> str:
    for name in storage.list_dir(path):
        source = storage.join(path, name)
        if storage.is_dir(source):
            os.mkdir(os.path.join(folder, name))
            _download_folder(source, os.path.join(folder, name))
        else:
            _download_file(source, folder)
    return folder


class Mirror(contextlib.AbstractContextManager):
    """A folder for files that a process goes on writing to, such as logs: itself, or a local one for a remote one.

    Attributes:
        folder: where to write.
    """

    def __init__(self, path: str):
        self._path, self._temporary = storage.prepare(path), None
        self.folder = self._path
        if "://" in self._path:
            self._temporary = tempfile.TemporaryDirectory()
            self.folder = self._temporary.name

    def upload(self) -> None:
        """Copies what is there to where it belongs; raises RunError, naming the file, if that cannot be done."""
        for name in _files(self.folder) if self._temporary else []:
            _upload(os.path.join(self.folder, name), storage.join(self._path, name))

    def __exit__(self, *exception) -> None:
        """Removes the local one."""
        if self._temporary:
            self._temporary.cleanup()


def _upload(source: str, target: str) -> None:
    _copy("cannot be written", target, source, target)


def _copy(what: str, remote: str, source: str, target: str) -> None:
    """Copies a file of which one side is remote, and checks that all of it arrived.

    On s3:// not by tf.io.gfile.copy, which asks twice for every 128 KiB it reads.
    """

    def attempt() -> None:
        try:
            with storage.naming(what, remote):
                if s3.is_s3(remote):
                    tf.io.write_file(target, tf.io.read_file(source))
                else:
                    tf.io.gfile.copy(source, target, overwrite=True)
                there, wanted = (tf.io.gfile.stat(path).length for path in (target, source))
        except OSError as error:
            raise RunError(f"{remote}: {what}: {error}") from None
        if there != wanted:
            raise RunError(f"{remote}: {what}: {there} of {wanted} bytes arrived")

    retries.retried(attempt)
