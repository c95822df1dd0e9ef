"""What a start computes and the next start of the same kind need not: kept in files in the user's cache folder.

A cache can be lost at any time. What is missing, damaged or cannot be written is computed again, without a word.
"""

import contextlib
import hashlib
import os
import pathlib
import tempfile

SWITCH = "KSEG_CACHE"  # environment: the folder to use, or "off"
DIGEST = hashlib.sha256().digest_size
KEPT = 16  # files of one kind, the newest; the graph of a training step takes 1 to 4 MB


def folder() -> pathlib.Path | None:
    """Where the files are: $KSEG_CACHE, else kseg in $XDG_CACHE_HOME or ~/.cache; None if off or without one."""
    chosen = os.environ.get(SWITCH)
    if chosen == "off":
        return None
    if chosen:
        return pathlib.Path(os.path.expanduser(chosen))
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return pathlib.Path(home) / "kseg" if os.path.isabs(home) else None  # "~" where the user has no home


def read(kind: str, key: str) -> bytes | None:
    """What `write` kept under the same kind and key, or None. A file that is not whole counts as none."""
    place = folder()
    if place is None:
        return None
    path = _path(place, kind, key)
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if content != sealed(content[DIGEST:]):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # what is used stays, what is not goes first
    return content[DIGEST:]


def sealed(content: bytes) -> bytes:
    """What stands in a file: the checksum of `content`, then `content`."""
    return hashlib.sha256(content).digest() + content


def write(kind: str, key: str, content: bytes) -> None:
    """Keeps `content`, whole or not at all; several processes may do so at once.

    Args:
        kind: "steps", a folder in the cache's.
        key: text of any length that says all that the content depends on.
        content: what `read` returns.
    """
    place = folder()
    if place is None:
        return
    path = _path(place, kind, key)
    with contextlib.suppress(OSError):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies there is run
        path.parent.mkdir(exist_ok=True)
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=".unfinished-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(sealed(content))
            os.replace(aside, path)
        except BaseException:
            os.unlink(aside)
            raise
        _forget_oldest(path.parent)


def _path(place: pathlib.Path, kind: str, key: str) -> pathlib.Path:
    return place / kind / hashlib.sha256(key.encode()).hexdigest()


def _forget_oldest(kept: pathlib.Path) -> None:
    files = sorted(kept.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[KEPT:]:
        path.unlink()
