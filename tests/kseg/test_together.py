"""Real processes on this machine: they agree, and the loss of one is told by the others, whatever it was."""

import signal
import socket

import processes
import pytest

from kseg import workers
from kseg.cluster import Cluster, Worker
from kseg.errors import RunError

LOST = "is lost: it ended, or has not answered in time (--worker_timeout="


@pytest.fixture
def started():
    """A function that starts workers of together_run.py and waits until all have found each other."""
    running = []

    def start(count: int, timeout: float, what: str):
        there = processes.addresses(count)
        running.extend(processes.start_workers("together_run.py", timeout, what, there=there))
        for process in running:
            assert process.stdout.readline() == "imported\n", process.communicate()
        for process in running:  # at the same time, however long that took
            process.stdin.write("\n")
            process.stdin.flush()
        for index, process in enumerate(running):
            lines = [process.stdout.readline()]
            if index > 0:
                lines.append(process.stdout.readline())
                assert lines[0] == f"worker {index} ({there[index]}): worker 0 ({there[0]}) prints and writes\n"
            assert lines[-1] == "started\n", process.communicate()
        return running, there

    yield start
    processes.stop(running)


def test_one_machine_asks_nobody():
    assert workers.is_chief()
    assert [workers.any_worker(flag) for flag in (True, False)] == [True, False]
    workers.agree("colour", "blue")
    assert workers.describe() == ""
    assert not workers.joined()
    with workers.together():
        pass


def test_workers_agree_and_end_together(started):
    running, there = started(2, 30, "agree")
    for index, (status, output, errors) in enumerate(processes.ended(running)):
        assert output == f"chief {index == 0} [False, True, True]\n"
        assert status == 1
        other = f"worker 1 ({there[1]}) has another name than worker 0 ({there[0]}); here it is: name {index}"
        assert errors == f"kseg-train: {other}\n"


@pytest.mark.parametrize(("number", "count"), [(signal.SIGKILL, 2), (signal.SIGSTOP, 3)], ids=["killed", "stopped"])
def test_the_loss_of_a_worker_ends_the_others_by_its_name(started, number, count):
    running, there = started(count, 10, "loop")
    running[0].send_signal(number)
    for status, _, errors in processes.ended(running[1:]):
        assert status == 1
        assert errors.startswith(f"kseg-train: worker 0 ({there[0]}) {LOST}10)")
        assert errors.count("\n") == 1


def test_workers_with_different_numbers_of_devices_say_so(started):
    """One is told by TensorFlow, the other may meet the first's end."""
    running, _ = started(2, 10, "uneven")
    ends = processes.ended(running)
    assert [status for status, _, _ in ends] == [1, 1]
    assert all("Traceback" not in errors for _, _, errors in ends)
    assert any("the workers have different numbers of devices; every one must have as many" in end[2] for end in ends)


def test_a_worker_that_does_not_come_up_is_named():
    there = processes.addresses(2)
    alone = processes.start("together_run.py", 5, "loop", TF_CONFIG=processes.tf_config(there, 0))
    assert alone.stdout.readline() == "imported\n"
    assert processes.ended([alone]) == [
        (1, "", f"kseg-train: worker 1 ({there[1]}) did not come up within --worker_timeout=5 seconds\n")
    ]


def test_a_port_that_is_taken_is_named():
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cluster = Cluster((Worker("worker", 0, "other:1"), Worker("worker", 1, f"here:{port}")), place=1)
        with pytest.raises(RunError, match=rf"worker 1 \(here:{port}\): cannot listen on port {port} of this machine"):
            workers.start(cluster, timeout=5)
    assert not workers.joined()
