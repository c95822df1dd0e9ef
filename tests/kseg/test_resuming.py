"""Checkpoints of a few variables: what is whole, what is restored, what is kept, what is refused."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from kseg.errors import NotFiniteError, RunError
from kseg.resuming import Place, Resumer, Scores

ONE, TWO, LATER = Place(1), Place(1, 3, (np.float32(0.1), np.int64([[2**53 + 1, 2], [3, 4]]))), Place(2)


@pytest.fixture
def state() -> list[tf.Variable]:
    return [tf.Variable([1.0, 2.0]), tf.Variable(3, dtype=tf.int64)]


def saved(folder, state, *places: Place, keep: int = 2) -> None:
    for number, place in enumerate(places):
        state[0].assign([number + 1.0, 0.0])
        Resumer(state, str(folder), keep).save(place)


def names(folder) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_new_run_stands_at_the_beginning(tmp_path, state):
    assert Resumer(state, str(tmp_path)).restore() == Place()
    assert list(tmp_path.iterdir()) == []


def test_state_and_scores_come_back_exactly(tmp_path, state):
    state[0].assign([0.1, 1e-30])
    state[1].assign(2**60 + 1)
    Resumer(state, str(tmp_path)).save(TWO)
    state[0].assign([0.0, 0.0])
    state[1].assign(0)
    place = Resumer(state, str(tmp_path)).restore()
    assert (place.epochs, place.step) == (1, 3)
    assert [score.dtype for score in place.scores] == [np.float32, np.int64]
    assert place.scores[0] == np.float32(0.1)
    assert place.scores[1].tolist() == [[2**53 + 1, 2], [3, 4]]
    assert state[0].numpy().tolist() == np.float32([0.1, 1e-30]).tolist()
    assert int(state[1]) == 2**60 + 1


def test_the_newest_are_kept_in_the_order_of_epochs_and_steps(tmp_path, state):
    saved(tmp_path, state, ONE, TWO, LATER)
    assert names(tmp_path) == ["epoch-00001-step-0000003", "epoch-00002-step-0000000"]
    assert Resumer(state, str(tmp_path)).restore() == LATER
    saved(tmp_path, state, Place(10), Place(100_000, 12_345_678), keep=1)
    assert names(tmp_path) == ["epoch-100000-step-12345678"]


@pytest.mark.parametrize(
    "damage", ["data cut", "data changed", "no data", "place.json is no JSON", "another place.json"]
)
def test_a_damaged_newest_is_said_and_the_one_before_restored(tmp_path, state, capsys, damage):
    saved(tmp_path, state, ONE, TWO)
    newest = tmp_path / "checkpoints" / TWO.name
    data = next(newest.glob("state.data*"))
    if damage == "data cut":
        data.write_bytes(data.read_bytes()[:-4])
    elif damage == "data changed":
        content = bytearray(data.read_bytes())
        content[0] ^= 1
        data.write_bytes(content)
    elif damage == "no data":
        data.unlink()
    elif damage == "place.json is no JSON":
        (newest / "place.json").write_text("{")
    else:
        (newest / "place.json").write_text((tmp_path / "checkpoints" / ONE.name / "place.json").read_text())
    assert Resumer(state, str(tmp_path)).restore() == ONE
    assert state[0].numpy().tolist() == [1.0, 0.0]
    assert f"{TWO.name}: damaged or of another network" in capsys.readouterr().out
    saved(tmp_path, state, Place(1, 1))  # what is newer than the training is has no use any more
    assert names(tmp_path) == [ONE.name, Place(1, 1).name]


def test_all_damaged_is_not_taken_for_none(tmp_path, state):
    saved(tmp_path, state, ONE)
    (tmp_path / "checkpoints" / ONE.name / "state.index").write_bytes(b"")
    with pytest.raises(RunError, match=r"checkpoints: no checkpoint there can be restored; give another --output_dir"):
        Resumer(state, str(tmp_path)).restore()


def test_another_number_of_variables_is_another_network(tmp_path, state):
    saved(tmp_path, state, ONE)
    with pytest.raises(RunError, match="no checkpoint there can be restored"):
        Resumer([*state, tf.Variable(0.0)], str(tmp_path)).restore()


def test_what_has_no_place_is_not_whole_and_goes(tmp_path, state):
    saved(tmp_path, state, ONE, LATER)
    (tmp_path / "checkpoints" / LATER.name / "place.json").unlink()
    assert Resumer(state, str(tmp_path)).restore() == ONE
    saved(tmp_path, state, TWO)
    assert names(tmp_path) == [ONE.name, TWO.name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_state_that_is_not_finite_is_not_kept(tmp_path, state, value):
    saved(tmp_path, state, ONE)
    state[0].assign([1.0, value])
    with pytest.raises(NotFiniteError, match=r"^a weight \(.*\) is NaN or infinite after step 3$"):
        Resumer(state, str(tmp_path)).save(TWO)
    assert names(tmp_path) == [ONE.name]


def test_what_cannot_be_written_is_said_and_what_is_there_is_kept(tmp_path, state):
    """A file stands where the folder should be made."""
    saved(tmp_path, state, ONE)
    pathlib.Path(tmp_path / "other").mkdir()
    (tmp_path / "other" / "checkpoints").write_text("a file")
    with pytest.raises(RunError, match=rf"{TWO.name}: cannot be written: .*; what earlier checkpoints hold is kept"):
        Resumer(state, str(tmp_path / "other")).save(TWO)
    assert Resumer(state, str(tmp_path)).restore() == ONE


def test_scores_are_put_back_exactly():
    strategy = tf.distribute.get_strategy()
    counted = [tf.Variable(0.0), tf.Variable([[0, 0], [0, 0]], dtype=tf.int64)]
    scores = Scores(counted, strategy)
    scores.write(TWO.scores)
    for found, wanted in zip(scores.read(), TWO.scores, strict=True):
        np.testing.assert_array_equal(found, wanted)
