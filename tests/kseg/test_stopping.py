"""Signals that ask a training to end, in a thread that handles them as Python does."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from kseg.errors import Interrupted
from kseg.stopping import StopRequest


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_raises_at_once_where_nothing_is_under_way(number):
    before = signal.getsignal(number)
    stop = StopRequest()
    with pytest.raises(Interrupted, match=rf"^{number.name}: nothing was under way"), stop.heeded():
        os.kill(os.getpid(), number)
        raise AssertionError("went on")
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_while_a_step_runs(number):
    stop = StopRequest()
    with stop.heeded(), stop.at_leisure():
        assert stop.signal is None
        os.kill(os.getpid(), number)
        assert stop.signal == number.name


def test_a_second_signal_ends_the_process():
    script = """if True:
        import os, signal
        from kseg.stopping import StopRequest
        stop = StopRequest()
        with stop.heeded(), stop.at_leisure():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            print("went on", flush=True)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "")


def test_outside_of_the_main_thread_nothing_is_handled():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def heed():
        with StopRequest().heeded():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=heed)
    thread.start()
    thread.join()
    assert seen == [before]
