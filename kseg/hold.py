"""One training at a time in a run directory: the second is refused, also while the first is on another machine.

On a disk the kernel keeps a lock for as long as the process lives, to the moment of a kill -9. Other storages know no
locks: there an object says who trains, and its number grows every BEAT seconds; whoever finds one waits to see whether
it does. No two clocks are compared.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from kseg import storage
from kseg.errors import RunError
from kseg.progress import say

NAME = ".lock"
BEAT = 10.0  # seconds
PATIENCE = 3.5  # beats without a new number, until its process is taken for dead
JOIN = 5.0  # seconds that the end waits for a beat under way, which may wait for a storage that does not answer
UNABLE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class Hold:
    """What a process has of a run directory.

    Attributes:
        lost: whether another process took it over, since this one had given no sign of life.
    """

    def __init__(self, folder: str):
        self.folder, self.lost = folder, False

    def check(self) -> None:
        """Raises RunError if the directory is lost: nothing may be written there any more."""
        if self.lost:
            raise RunError(
                f"{self.folder}: another training took it over after {PATIENCE * BEAT:g} seconds in which this one "
                "could not reach it; this one ends, the other goes on"
            )


@contextlib.contextmanager
def held(folder: str) -> Iterator[Hold]:
    """Within, no other training may use the run directory `folder`, which is there (or remote).

    Raises:
        RunError: naming the process, if another has it.
    """
    path = storage.join(storage.prepare(folder), NAME)
    with _leased(folder, path) if "://" in path else _locked(folder, path) as hold:
        yield hold


def _me() -> dict:
    return {"host": socket.gethostname(), "process": os.getpid(), "machine": _machine()}


def _machine() -> str:
    """What two processes have in common that see each other's numbers; "" where the system does not say (not Linux).

    Names of machines repeat: many a cluster calls the first of every job the same.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _who(owner: dict) -> str:
    known = {"process", "host"} <= owner.keys()
    return f"process {owner['process']} on {owner['host']}" if known else "another process"


def _refused(folder: str, owner: dict) -> RunError:
    return RunError(f"{folder}: {_who(owner)} trains into it; wait for its end, or give another --output_dir")


def _parsed(text: str) -> dict:
    """What a lock says; {} for what is no lock of this kind."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextlib.contextmanager
def _locked(folder: str, path: str) -> Iterator[Hold]:
    """On a disk. The file stays: were it deleted, a process might lock one that another no longer sees."""
    try:
        file = open(path, "a+", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _refused(folder, _parsed(file.read())) from None
        except OSError as error:
            if error.errno not in UNABLE:
                raise RunError(f"{path}: cannot be locked: {error.strerror}") from None
            say(f"warning: {folder}: this storage cannot lock; see that no second training uses it at the same time")
        with contextlib.suppress(OSError):  # a full disk: then without saying who
            file.truncate(0)
            file.write(json.dumps(_me()))
            file.flush()
        yield Hold(folder)


@contextlib.contextmanager
def _leased(folder: str, path: str) -> Iterator[Hold]:
    """On a storage without locks."""
    _await_end(folder, path)
    mine, hold, ended = _me() | {"owner": uuid.uuid4().hex}, Hold(folder), threading.Event()
    storage.write_text(path, json.dumps(mine | {"beat": 0}))
    if _read(path).get("owner") != mine["owner"]:
        raise _refused(folder, _read(path))
    thread = threading.Thread(target=_beat, args=(path, mine, hold, ended), name="lock", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        ended.set()
        thread.join(JOIN)
        if not hold.lost:
            with contextlib.suppress(RunError):
                storage.remove(path)


def _read(path: str) -> dict:
    return _parsed(storage.read_text(path)) if storage.exists(path) else {}


def _beat(path: str, mine: dict, hold: Hold, ended: threading.Event) -> None:
    """The thread that shows that this process lives."""
    beat = 0
    while not ended.wait(BEAT) and not hold.lost:
        beat += 1
        with contextlib.suppress(RunError):  # not to be reached for now
            hold.lost = _read(path).get("owner") not in (mine["owner"], None)
            if not hold.lost:
                storage.write_text(path, json.dumps(mine | {"beat": beat}))


def _await_end(folder: str, path: str) -> None:
    """Returns once nobody holds the directory.

    Raises:
        RunError: if somebody does.
    """
    found = first = _read(path)
    if not first or _is_dead(first):
        return
    say(f"{folder}: looking whether {_who(first)} still trains into it, {PATIENCE * BEAT:g} seconds at most")
    until = time.monotonic() + PATIENCE * BEAT
    while time.monotonic() < until:
        time.sleep(BEAT / 10)
        found = _read(path)
        if not found:
            return
        if found != first:
            raise _refused(folder, found)


def _is_dead(owner: dict) -> bool:
    """Whether the process ran on this machine and is no more."""
    if not _machine() or owner.get("machine") != _machine() or not isinstance(owner.get("process"), int):
        return False
    try:
        os.kill(owner["process"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return owner["process"] == os.getpid()
