"""SIGTERM and SIGINT: noted at once, obeyed where the work can be gone on with."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator

from kseg.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)
TOGETHER = 1.0  # seconds: a wrapper may pass on what the whole group of processes has got already


class StopRequest:
    """Whether a signal asked the process to end.

    It is noted, and obeyed where the work can end well. (An exception raised by the handler inside TensorFlow's reading
    of a batch made some processes abort; inside an import it was printed and lost.)

    Attributes:
        signal: its name, None as long as there was none.
    """

    def __init__(self):
        self.signal: str | None = None
        self._at_once = False
        self._arrived_at = 0.0

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Within, SIGTERM and SIGINT are noted; a second one ends the process, but for one that comes with the first.

        Outside of the main thread, where signals cannot be handled, nothing changes.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._arrived) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Within, a signal raises `Interrupted`: around Python's own long work, as checking records."""
        self._at_once = True
        try:
            self.obey()
            yield
        finally:
            self._at_once = False

    def obey(self) -> None:
        """Raises `Interrupted` if a signal asked for the end; to be called where there is nothing to keep yet."""
        if self.signal is not None:
            raise Interrupted(f"{self.signal}: nothing was under way; the same command begins, or resumes, the run")

    def _arrived(self, number, frame):
        now = time.monotonic()
        if self.signal is None:
            self.signal, self._arrived_at = signal.Signals(number).name, now
        elif now - self._arrived_at > TOGETHER:  # somebody does not want to wait
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self._at_once:
            self.obey()
