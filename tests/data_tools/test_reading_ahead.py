"""Remote files are those of TensorFlow's own ram:// here."""

import pickle
import threading

import pytest

from data_tools import reading_ahead
from data_tools.reading import PictureError, read_file
from data_tools.reading_ahead import THREADS, in_parallel, read_ahead
from kseg import storage


def test_remote_files_are_read_in_order_and_faults_kept():
    paths = [f"ram://reading_ahead/{index}" for index in range(3 * THREADS)]
    for path in paths[1:]:
        storage.write_text(path, path)
    items = list(read_ahead(paths, lambda path: (path, f"{path}x")))
    assert [item for item, _ in items] == paths
    for path, read in items[1:]:
        assert pickle.loads(pickle.dumps(read))(path) == path.encode()  # as it travels to a worker process
    for path, read in ((paths[0], items[0][1]), (f"{paths[1]}x", items[1][1])):
        with pytest.raises(PictureError, match="cannot be read"):
            read(path)


def test_local_files_are_left_to_the_reader(tmp_path):
    path = str(tmp_path / "not there yet")
    ((item, read),) = read_ahead([path], lambda path: (path,))
    assert (item, read) == (path, read_file)


def test_no_more_is_taken_than_threads_ahead():
    taken, before = [], set(threading.enumerate())
    items = read_ahead(
        (taken.append(index) or index for index in range(1000)), lambda index: ("ram://reading_ahead/x",)
    )
    for _ in range(3):
        next(items)
    assert len(taken) == THREADS + 2
    items.close()
    assert set(threading.enumerate()) <= before


def test_in_parallel_keeps_the_order():
    remote = [f"ram://{index}" for index in range(100)]
    assert in_parallel(len, remote) == [len(path) for path in remote]
    assert in_parallel(len, ["a", "bc"]) == [1, 2]


def test_as_many_reads_at_once_as_threads(monkeypatch):
    """A barrier that opens only when all threads are in a read: one after the other, it would break."""
    barrier = threading.Barrier(THREADS, timeout=60)
    monkeypatch.setattr(reading_ahead, "read_file", lambda path: (barrier.wait(), b"content")[1])
    paths = [f"ram://{index}" for index in range(2 * THREADS)]
    assert [read(path) for path, read in read_ahead(paths, lambda path: (path,))] == [b"content"] * len(paths)
