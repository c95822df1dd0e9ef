"""Why something cannot be written, in words, and before the work that would be lost."""

import os
import tempfile

import tensorflow as tf

from kseg import s3
from kseg.errors import RunError

# What the system says -> what that means. TensorFlow raises the first two as if memory were used up, the third as if a
# data set had ended.
OF_DISK = {
    "No space left on device": "the disk is full",
    "Disk quota exceeded": "the quota of this disk is used up",
    "File too large": "no file of that size is allowed there",
    "Read-only file system": "the file system is read-only",
}


def of_disk(error: BaseException) -> str | None:
    """What an error of any library's says about a disk that takes no more; None where it is of another kind."""
    text = str(error)
    return next((f"{words} ({sign})" for sign, words in OF_DISK.items() if sign in text), None)


def why(path: str, error: Exception) -> str:
    """Why something could not be done with `path`, in one line, without what the libraries put around it."""
    if words := of_disk(error):  # of something remote: its copy on this machine
        return f"{words}, of temporary files in {tempfile.gettempdir()}" if "://" in path else words
    if isinstance(error, tf.errors.OpError):
        return s3.plain(error)
    return getattr(error, "strerror", None) or str(error).partition("\n")[0]


def refuse_unwritable(folder: str) -> None:
    """Sees, without writing, whether files can be made in a local folder, which need not be there yet.

    What only shows itself in writing, as a quota, does not show here.

    Raises:
        RunError: saying what is in the way.
    """
    if "://" in folder:
        return
    there = os.path.abspath(folder)
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there):
        raise RunError(f"{folder}: cannot be written: {there} is no folder")
    if os.statvfs(there).f_flag & os.ST_RDONLY:
        raise RunError(f"{folder}: cannot be written: the file system of {there} is read-only")
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: cannot be written: this user may make no files in {there}")
