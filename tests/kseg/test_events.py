import resource

import pytest
import tensorflow as tf

from kseg.errors import RunError
from kseg.events import Events


def write(events: Events, step: int) -> None:
    with events.as_default(step=step):
        tf.summary.scalar("score", 1.0)
        tf.summary.image("picture", tf.zeros([1, 32, 32, 3], tf.uint8))
    events.flush()


def steps(folder) -> list[int]:
    (path,) = folder.iterdir()
    events = map(tf.compat.v1.Event.FromString, tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
    return [event.step for event in events if event.summary.value]


@pytest.fixture
def limit():
    """Forbids this process files above a size, until the test's end."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_can_be_read(tmp_path):
    events = Events(str(tmp_path / "events"))
    for step in (1, 2):
        write(events, step)
    assert steps(tmp_path / "events") == [1, 1, 2, 2]


@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("more", [0, 100])  # none of a record, or half of it
def test_what_did_not_get_there_is_missed(tmp_path, limit, before, more):
    events = Events(str(tmp_path / "events"))
    for step in range(before):
        write(events, step)
    (path,) = (tmp_path / "events").iterdir()
    limit(path.stat().st_size + more)
    with pytest.raises(RunError, match=r"/events.*: cannot be written: (the disk is full, or was|no file of that)"):
        write(events, 2)


def test_a_file_that_cannot_be_begun_names_its_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"/file/events: cannot be written: "):
        Events(str(tmp_path / "file" / "events"))
