"""What guards a training step by step: numbers that are none, checkpoints, an ordered end on a signal."""

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from kseg import faults, workers
from kseg.config import TrainConfig
from kseg.errors import Interrupted, NotFiniteError, RunError
from kseg.hold import Hold
from kseg.input_wait import InputWait
from kseg.resuming import Place, Resumer, Scores
from kseg.stopping import StopRequest

ASKED = 8


class StopOnNan(keras.callbacks.Callback):
    """Ends the training at the first step whose loss is not a finite number, before anything of it is kept.

    The first of the callbacks.

    Args:
        start: where the training began in this process.
        steps_per_epoch: training batches of a whole epoch.
        input_wait: knows which step the logs are of.
    """

    def __init__(self, start: Place, steps_per_epoch: int, input_wait: InputWait):
        super().__init__()
        self._start, self._steps, self._input_wait = start, steps_per_epoch, input_wait
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Notes the epoch, for the message."""
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Checks the mean loss of the epoch so far, which a single NaN or infinity turns into one.

        Raises:
            NotFiniteError: naming the step.
        """
        if not math.isfinite(logs["loss"]):
            self._refuse("loss", logs["loss"], self._start.offset(self._epoch) + self._input_wait.shown)

    def on_epoch_end(self, epoch, logs=None):
        """Checks the validation loss, the first to show what the last step did to the weights.

        Raises:
            NotFiniteError: naming the step.
        """
        if not math.isfinite(logs["val_loss"]):
            self._refuse("validation loss", logs["val_loss"], self._steps)

    def _refuse(self, what: str, value: float, step: int):
        raise _not_finite(what, value, self._epoch, step, self._steps)


def _not_finite(what: str, value: float, epoch: int, step: int, steps: int) -> NotFiniteError:
    """Of a value after a step, from 1, of an epoch, from 0, of so many steps."""
    return NotFiniteError(
        f"{what} is {value} at step {epoch * steps + step} (epoch {epoch + 1}, step {step} of {steps})"
    )


class Checkpoints(keras.callbacks.Callback):
    """Keeps the state of the training every so many steps, and where a signal asks for an end.

    The last of the callbacks, as those before may change the state (moving average). `Interrupted` is raised where
    everything is in place, also during validation: it is given up, and done again by the resumed run. The end of an
    epoch is kept by `kseg.callbacks.EpochEnd`.

    Args:
        start: where the training began in this process.
        steps_per_epoch, epochs: training batches of a whole epoch, and epochs, of the whole training.
        every_steps: a checkpoint after every so many steps of the training; 0 = none.
        resumer: writes them.
        scores: of the training metrics, over all replicas.
        stop: whether a signal asked for the end.
        hold: of the run directory.
    """

    def __init__(
        self,
        start: Place,
        steps_per_epoch: int,
        epochs: int,
        *,
        every_steps: int,
        resumer: Resumer,
        scores: Scores,
        stop: StopRequest,
        hold: Hold,
    ):
        super().__init__()
        self._start, self._steps, self._epochs, self._every = start, steps_per_epoch, epochs, every_steps
        self._resumer, self._scores, self._stop, self._hold = resumer, scores, stop, hold
        self._epoch, self._of_epoch, self._cut = 0, (), False

    def on_epoch_begin(self, epoch, logs=None):
        """Puts back what the metrics had counted of an epoch that is gone on with."""
        self._epoch, self._cut, self._of_epoch = epoch, False, self._start.scores
        if self._start.offset(epoch):
            self._scores.write(self._start.scores)

    def on_train_batch_end(self, batch, logs=None):
        """Writes a checkpoint if it is time or the training is to end.

        Raises:
            Interrupted: after it is written.
            NotFiniteError: if the state cannot be gone on with.
            RunError: if the run directory is another training's by now.
        """
        self._hold.check()
        step = self._start.offset(self._epoch) + batch + 1
        stop = self._asked(0 if step == self._steps else step)
        due = self._every and (self._epoch * self._steps + step) % self._every == 0
        if step == self._steps:  # the epoch's scores, before validation counts anew; a checkpoint follows soon
            self._of_epoch = self._scores.read()
        if stop or (due and step < self._steps):
            self._save(step, self._scores.read())
        if stop:
            self._end(f"step {step} of {self._steps} of epoch {self._epoch + 1}")

    def on_test_batch_end(self, batch, logs=None):
        """Gives validation up if the training is to end."""
        if self._asked(batch + 1):
            self._cut = self.model.stop_evaluating = True

    def on_test_end(self, logs=None):
        """Keeps the state before a validation that was given up.

        Raises:
            Interrupted: if it was.
        """
        if self._cut:
            self._save(self._steps, self._of_epoch)
            self._end(f"the steps of epoch {self._epoch + 1}, in its validation")

    def on_epoch_end(self, epoch, logs=None):
        """Ends, after `EpochEnd` has kept the epoch, if that is asked for and there is more to do.

        Raises:
            Interrupted: if it is.
        """
        more = epoch + 1 < self._epochs and not self.model.stop_training
        if self._asked() and more:
            self._end(f"epoch {epoch + 1}")

    def _asked(self, number: int = 0) -> bool:
        """Whether to end. Several workers ask each other after every ASKED batches only: it takes a round of messages,
        and a GPU waits meanwhile."""
        every = ASKED if workers.joined() else 1
        return number % every == 0 and workers.any_worker(self._stop.signal is not None)

    def _save(self, step: int, scores: tuple) -> None:
        self._hold.check()
        total = float(scores[0])
        if not math.isfinite(total):
            raise _not_finite("loss", total, self._epoch, step, self._steps)
        self._resumer.save(Place(self._epoch, step, scores))

    def _end(self, after: str) -> None:
        workers.any_worker(False)  # all wait for the one that writes the checkpoint
        name = self._stop.signal or "another worker was asked to end"
        raise Interrupted(f"{name}: stopped after {after}; a checkpoint is kept, the same command goes on from it")


# How a GPU's libraries say it, as errors of several kinds.
OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "STATUS_ALLOC_FAILED", "CUDA_ERROR_OUT_OF_MEMORY", "No algorithm worked")


@contextlib.contextmanager
def shortage_named(config: TrainConfig) -> Iterator[None]:
    """Turns running out of memory, or of room on a disk, inside the block into a RunError that says what to lower."""
    try:
        yield
    except (tf.errors.OpError, OSError, MemoryError) as error:
        if words := faults.of_disk(error):  # to TensorFlow no different from the next
            raise RunError(f"{config.output_dir}: {words}: {_first_line(error)}; make room and start again") from None
        if not isinstance(error, tf.errors.ResourceExhaustedError | MemoryError) and not any(
            sign in str(error) for sign in OUT_OF_MEMORY
        ):
            raise
        raise RunError(
            f"out of memory with --mini_batch_size={config.mini_batch_size} --crop_size={config.crop_size} "
            f"--validation_mini_batch_size={config.validation_mini_batch_size}: {_first_line(error)}; lower one of "
            "them (--gradient_accumulation_steps makes up for a smaller batch), or take --mixed_precision=bfloat16 or "
            "a smaller --backbone"
        ) from None


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "message", error)).partition("\n")[0]
