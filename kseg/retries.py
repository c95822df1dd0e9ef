"""A remote storage that cannot be reached for a while: tried again, which is said once, and for less than a minute.

What is counted is the time since the storage stopped to answer, whatever is asked of it meanwhile and by which thread:
so also a command that reads, writes and tidies up ends in time. A storage that never answered this process is not
waited for: its address is more likely wrong.
"""

import os
import threading
import time
from collections.abc import Callable

from kseg.errors import UnreachableError, UsageError
from kseg.progress import say

SETTING = "KSEG_STORAGE_PATIENCE"  # environment variable: seconds
PATIENCE = 45.0
PAUSES = (1.0, 2.0, 4.0)  # seconds between the attempts; the last for all that follow
FINAL = 60.0  # seconds that it is left alone once it was given up: nothing else need wait for it


class Outage:
    """Whether the storage answers, as the requests of this process found.

    Args:
        clock: seconds.
        sleep: waits for so many.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep):
        self._clock, self._sleep, self._lock = clock, sleep, threading.Lock()
        self._answered, self._since, self._given_up = False, None, None

    def retried(self, attempt: Callable, *arguments):
        """What `attempt(*arguments)` returns, called again as long as it raises UnreachableError and patience lasts.

        Raises:
            UnreachableError: the first of this outage.
        """
        tries = 0
        while True:
            self.check()
            began = self._clock()
            try:
                result = attempt(*arguments)
            except UnreachableError as error:
                self._wait(error, began, PAUSES[min(tries, len(PAUSES) - 1)])
                tries += 1
            else:
                self._over()
                return result

    def check(self) -> None:
        """Raises the UnreachableError that the storage was given up with less than `FINAL` seconds ago, if it was."""
        with self._lock:
            self._refuse()

    def _refuse(self) -> None:
        if self._given_up is not None and self._clock() - self._given_up[0] < FINAL:
            raise self._given_up[1].with_traceback(None)

    def _wait(self, error: UnreachableError, began: float, pause: float) -> None:
        with self._lock:
            self._refuse()  # another thread's attempt may have been the last
            now, patience = self._clock(), _patience() if self._answered else 0.0
            first = self._since is None
            if first:
                self._since = began, error
            # Another attempt may last as long as this one did.
            if now + pause + (now - began) - self._since[0] > patience:
                self._given_up, self._since = (now, self._since[1]), None  # what was said, and not what came after it
                self._refuse()
        if first:
            say(f"{error}; trying again for {patience:g} seconds")
        self._sleep(pause)

    def _over(self) -> None:
        with self._lock:
            since, self._answered, self._since, self._given_up = self._since, True, None, None
        if since is not None:
            say(f"the storage answers again, after {self._clock() - since[0]:.0f} seconds")


def _patience() -> float:
    value = os.environ.get(SETTING, PATIENCE)
    try:
        return float(value)
    except ValueError:
        raise UsageError(f"{SETTING}={value} in the environment: allowed: a number of seconds") from None


_outage = Outage()
retried, check = _outage.retried, _outage.check
