"""A folder for what is not whole yet, beside what is; and who may write there."""

import contextlib
import fcntl
import os
import re
import uuid
from collections.abc import Iterator

from kseg import storage
from kseg.errors import RunError


@contextlib.contextmanager
def locked(folder: str, wait: bool = True) -> Iterator[bool]:
    """Holds a local folder's lock inside the block, so that no other conversion does; the system ends it on a kill.

    Args:
        folder: a remote one cannot be locked, nor one on some network disks; it is then held as if it were.
        wait: until another process lets go; else the block is told at once.

    Yields:
        whether it is held.

    Raises:
        RunError: if the folder cannot be opened.
    """
    if not os.path.isdir(folder):
        yield True
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RunError(f"{folder}: cannot be opened: {error.strerror}") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        except OSError:  # a network disk without locks (ENOSYS, ENOLCK, EOPNOTSUPP): as on remote storage
            pass
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staging(output: str, splits: set[str]) -> Iterator[str]:
    """A folder in `output` for the unfinished files of splits, removed at the end, like those that killed runs left.

    Raises:
        RunError: if another process is writing one of the splits there now.
    """
    is_new = not storage.exists(output)
    storage.make_dirs(output)
    name = ".".join(sorted(splits))
    aside = storage.join(output, f".{name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with contextlib.ExitStack() as held:
            with locked(output):
                for there in [] if is_new else storage.list_dir(output):
                    _remove_left_over(output, there, splits)
                storage.make_dirs(aside)
                held.enter_context(locked(aside))
            yield aside
    finally:
        storage.remove(aside)
        if is_new and storage.exists(output) and not storage.list_dir(output):
            storage.remove(output)


def _remove_left_over(output: str, name: str, splits: set[str]) -> None:
    """Removes an unfinished dataset.json or problems.jsonl, or a folder for one of the splits that nobody holds."""
    path = storage.join(output, name)
    if re.fullmatch(r"\.(dataset|problems)\.[0-9a-f]{8}\.part\.jsonl?", name):
        storage.remove(path)
    found = re.fullmatch(r"\.(.+)\.[0-9a-f]{8}\.part", name)
    both = splits.intersection(found[1].split(".")) if found else ()
    if both:
        with locked(path, wait=False) as free:
            if not free:
                raise RunError(f"{output}: another conversion is writing {', '.join(sorted(both))} there; wait for it")
            storage.remove(path)
