"""The guards of a training by themselves; trainings with them are in test_fitting."""

import pytest
import tensorflow as tf

from kseg.config import TrainConfig
from kseg.errors import NotFiniteError, RunError
from kseg.input_wait import InputWait
from kseg.resuming import Place
from kseg.safekeeping import StopOnNan, shortage_named


def shown(step: int) -> InputWait:
    meter = InputWait()
    meter.shown = step
    return meter


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_with_the_step(loss):
    """The fourth step of ten in the third epoch; and the same for an epoch of which two steps were done before."""
    for done, step in ((0, 24), (2, 26)):
        guard = StopOnNan(Place(2, done), 10, shown(4))
        guard.on_epoch_begin(2)
        guard.on_train_batch_end(4, {"loss": 3.0})
        wanted = rf"^loss is {loss} at step {step} \(epoch 3, step {step - 20} of 10\)$"
        with pytest.raises(NotFiniteError, match=wanted):
            guard.on_train_batch_end(4, {"loss": loss})
        with pytest.raises(NotFiniteError, match=rf"^validation loss is {loss} at step 30 "):
            guard.on_epoch_end(2, {"loss": 1.0, "val_loss": loss})


CONFIG = TrainConfig(data="records", output_dir="run", num_classes=2, mini_batch_size=16, crop_size=480)


def test_a_shortage_of_memory_says_what_was_asked_and_what_to_lower():
    """A real one: no machine has 2^50 numbers."""
    wanted = r"^out of memory with --mini_batch_size=16 --crop_size=480 --validation_mini_batch_size=4: .*lower one"
    with pytest.raises(RunError, match=wanted), shortage_named(CONFIG):
        tf.zeros([2**50])


def test_a_full_disk_is_none():
    full = tf.errors.ResourceExhaustedError(None, None, "run/tensorboard/events; No space left on device")
    wanted = r"^run: the disk is full \(No space left .*; make room and start again"
    with pytest.raises(RunError, match=wanted), shortage_named(CONFIG):
        raise full
