"""Who has a run directory: on a disk by real processes, on a storage without locks by one whose time the test sets."""

import json
import os
import socket
import subprocess
import sys

import pytest
import tensorflow as tf

from kseg import hold, storage
from kseg.errors import RunError
from kseg.hold import held

HOLDER = """if True:
    import sys
    from kseg.hold import held
    with held(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds the folder until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_process_is_refused_by_name_and_a_killed_one_forgotten(tmp_path, other):
    wanted = rf"^{tmp_path}: process {other.pid} on {socket.gethostname()} trains into it; wait for its end, or give"
    with pytest.raises(RunError, match=wanted), held(str(tmp_path)):
        raise AssertionError("held by two")
    other.kill()
    other.wait()
    with held(str(tmp_path)) as mine:
        mine.check()
    with held(str(tmp_path)):
        assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    with (
        pytest.raises(RunError, match=r"no/\.lock: cannot be written: No such file or directory"),
        held(str(tmp_path / "no")),
    ):
        pass


@pytest.fixture
def beats(monkeypatch):
    """Beats of 20 ms, so that the real threads and waits of a lease take a moment."""
    monkeypatch.setattr(hold, "BEAT", 0.02)


def lease(name: str) -> str:
    return f"ram://{name}/.lock"


def written(name: str, **content) -> None:
    content = {"host": "elsewhere", "process": 7, "owner": "x", "beat": 3} | content
    storage.write_text(lease(name), json.dumps(content))


def test_a_lease_is_given_back(beats):
    with held("ram://given") as mine:
        assert json.loads(tf.io.gfile.GFile(lease("given")).read())["process"] == os.getpid()
        mine.check()
    assert not tf.io.gfile.exists(lease("given"))


def test_a_lease_whose_number_grows_is_another_training_s(monkeypatch):
    """The other's next beat comes while this one waits."""
    written("alive")
    monkeypatch.setattr(hold.time, "sleep", lambda seconds: written("alive", beat=4))
    with pytest.raises(RunError, match=r"^ram://alive: process 7 on elsewhere trains into it"), held("ram://alive"):
        raise AssertionError("held by two")


def test_a_lease_whose_number_stands_still_is_taken_over(beats, capsys):
    written("still")
    with held("ram://still"):
        assert json.loads(tf.io.gfile.GFile(lease("still")).read())["process"] == os.getpid()
    assert "looking whether process 7 on elsewhere still trains into it" in capsys.readouterr().out


def test_a_lease_of_a_dead_process_of_this_machine_is_taken_at_once(monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    written("dead", machine=hold._machine(), process=ended.pid)
    monkeypatch.setattr(hold.time, "sleep", lambda seconds: pytest.fail("waited"))
    with held("ram://dead"):
        assert json.loads(storage.read_text(lease("dead")))["process"] == os.getpid()


def test_a_lease_that_another_took_over_is_noticed(beats):
    with held("ram://lost") as mine:
        thread = next(each for each in hold.threading.enumerate() if each.name == "lock")
        while thread.is_alive():  # it may have looked before and write after: then the other is the one that notices
            written("lost", owner="another")
            thread.join(0.005)
        with pytest.raises(RunError, match=r"^ram://lost: another training took it over"):
            mine.check()
    assert tf.io.gfile.exists(lease("lost"))  # it is the other's
