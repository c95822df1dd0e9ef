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
def test_a_signal_is_noted_and_obeyed_where_it_is_asked_for(number):
    before = signal.getsignal(number)
    stop = StopRequest()
    with stop.heeded():
        stop.obey()
        os.kill(os.getpid(), number)
        assert stop.signal == number.name
        with pytest.raises(Interrupted, match=rf"^{number.name}: nothing was under way"):
            stop.obey()
        with pytest.raises(Interrupted), stop.at_once():
            raise AssertionError("began")
    assert signal.getsignal(number) is before


def test_it_raises_where_python_works_for_long():
    stop = StopRequest()
    with stop.heeded(), pytest.raises(Interrupted, match=r"^SIGTERM: nothing was under way"), stop.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")


@pytest.mark.parametrize(("later", "status"), [(0.5, 0), (1.5, -signal.SIGTERM)])
def test_a_second_signal_ends_the_process_unless_it_comes_with_the_first(later, status):
    script = f"""if True:
        import os, signal, time
        from kseg.stopping import StopRequest
        stop = StopRequest()
        with stop.heeded():
            os.kill(os.getpid(), signal.SIGINT)
            now = time.monotonic()
            time.monotonic = lambda: now + {later}
            os.kill(os.getpid(), signal.SIGTERM)
            print(stop.signal, flush=True)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "" if status else "SIGINT\n")


def test_outside_of_the_main_thread_nothing_is_handled():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def heed():
        with StopRequest().heeded():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=heed)
    thread.start()
    thread.join()
    assert seen == [before]
