"""SIGTERM and SIGINT while there is something to keep: noted at once, obeyed where the training can go on from."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from kseg.errors import Interrupted

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Whether a signal asked the process to end.

    Attributes:
        signal: its name, None as long as there was none.
    """

    def __init__(self):
        self.signal: str | None = None
        self._waits = False

    @contextlib.contextmanager
    def heeded(self) -> Iterator[None]:
        """Within, SIGTERM and SIGINT raise `Interrupted`, or in `at_leisure` are noted; a second one ends the process.

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
    def at_leisure(self) -> Iterator[None]:
        """Within, the block looks at `signal` where it can end well: an exception would come in the midst of a step.

        (Raised inside TensorFlow's reading of a batch, it made some processes abort.)
        """
        self._waits = True
        try:
            yield
        finally:
            self._waits = False

    def _arrived(self, number, frame):
        name = signal.Signals(number).name
        if self.signal is not None:  # somebody does not want to wait
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.signal = name
        if not self._waits:
            raise Interrupted(f"{name}: nothing was under way; the same command begins, or resumes, the run")
