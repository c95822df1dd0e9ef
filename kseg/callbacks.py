"""What happens during training besides training: progress, the metric line, models kept, early stopping, pictures."""

import functools
import math
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kseg import checkpoints, pictures
from kseg.averaging import WeightAverage, averaged
from kseg.hold import Hold
from kseg.input_wait import InputWait
from kseg.labels import LabelMap
from kseg.optimizers import skipped_steps
from kseg.progress import bar, say
from kseg.resuming import Place, Resumer

RATE_POINTS = 100  # of the learning rate's curve in TensorBoard, an epoch


class Progress(keras.callbacks.Callback):
    """A bar for the training steps of each epoch and one for its validation, with speed and remaining time.

    Args:
        batch_size: images a step.
        start: where the training began in this process.
        steps_per_epoch: training batches of a whole epoch.
        epochs: of the whole training.
        validation_images: of a validation.
        validation_batch_size: images a validation step; the last one may hold fewer.
    """

    def __init__(
        self,
        batch_size: int,
        *,
        start: Place,
        steps_per_epoch: int,
        epochs: int,
        validation_images: int,
        validation_batch_size: int,
    ):
        super().__init__()
        self._batch_size, self._start, self._steps, self._epochs = batch_size, start, steps_per_epoch, epochs
        self._validation_images, self._validation_batch_size = validation_images, validation_batch_size
        self._bar = self._validation_bar = None
        self._epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's bar."""
        self._epoch = epoch
        total, done = (steps * self._batch_size for steps in (self._steps, self._start.offset(epoch)))
        self._bar = bar(total, "images", f"epoch {epoch + 1}/{self._epochs}", leave=False, initial=done)

    def on_train_batch_end(self, batch, logs=None):
        """Advances by a batch."""
        self._bar.set_postfix(loss=f"{logs['loss']:.4f}", refresh=False)
        self._bar.update(self._batch_size)

    def on_test_begin(self, logs=None):
        """Ends the epoch's bar, starts the validation's."""
        self._bar.close()
        description = f"epoch {self._epoch + 1} validation"
        self._validation_bar = bar(self._validation_images, "images", description, leave=False)

    def on_test_batch_end(self, batch, logs=None):
        """Advances by a validation batch."""
        self._validation_bar.update(min(self._validation_batch_size, self._validation_images - self._validation_bar.n))

    def on_test_end(self, logs=None):
        """Ends the validation's bar."""
        self._validation_bar.close()

    def close(self):
        """Takes both bars off the screen, wherever training ended."""
        for open_bar in filter(None, (self._bar, self._validation_bar)):
            open_bar.close()


def improved(mious: list[float], tolerance: float) -> bool:
    """Whether the last mIOU is more than `tolerance` (relative) above the best before it; the first always is."""
    *before, last = mious
    return not before or last > max(before) * (1 + tolerance)


def should_stop(mious: list[float], *, min_epochs: int, patience: int, tolerance: float) -> bool:
    """Early stopping as the original's early_stopping_* hyperparameters define it.

    Args:
        mious: validation mIOU of every epoch so far.
        min_epochs: never stop before this many epochs.
        patience: stop when this many epochs in a row (at least one) did not improve.
        tolerance: relative improvement over the best so far that still counts as none.
    """
    waited = 0
    while waited < len(mious) and not improved(mious[: len(mious) - waited], tolerance):
        waited += 1
    return len(mious) >= min_epochs and waited >= max(patience, 1)


class EpochEnd(keras.callbacks.Callback):
    """Closes an epoch in the order that makes a kill at any moment harmless.

    Models first, then the line in metrics.jsonl, then the checkpoint that declares the epoch done: whatever is
    missing is made again by the resumed run, which does not count lines of epochs that were not declared done.

    metrics.jsonl holds what the flags and the data settle, so that a run that was killed and resumed has the same; how
    fast it went is in timing.jsonl.

    Args:
        folder: run directory.
        resumer: of this training's state.
        hold: of the run directory.
        writer: for TensorBoard.
        done: metric lines of the epochs done before, from a resumed run.
        batch_size: images a step.
        steps_per_epoch: training batches of a whole epoch.
        early_stopping: keyword arguments of `should_stop`, or None for no early stopping.
        input_wait: what the steps of an epoch waited for input.
        advise: lines for the user about a share of waiting, 0 to 1, none if it is small; said once a training.
        schedule: the learning rate by the number of batches before, for the metrics.
        publish: brings what the writer wrote to where it belongs.
        average: of the weights, to keep instead of them.
    """

    def __init__(
        self,
        folder: str,
        resumer: Resumer,
        hold: Hold,
        writer,
        *,
        done: list[dict],
        batch_size: int,
        steps_per_epoch: int,
        early_stopping: dict | None,
        input_wait: InputWait,
        advise: Callable[[float], list[str]],
        schedule: Callable[[int], float],
        publish: Callable[[], None] = lambda: None,
        average: WeightAverage | None = None,
    ):
        super().__init__()
        self._average, self._schedule, self._publish = average, schedule, publish
        self._folder, self._resumer, self._hold, self._writer = folder, resumer, hold, writer
        self._entries = list(done)
        self._batch_size, self._steps, self._early_stopping = batch_size, steps_per_epoch, early_stopping
        self._input_wait, self._advise = input_wait, advise
        self._started = self._trained = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the clock of the training steps."""
        self._started = self._trained = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Notes when the last training step ended: validation does not count as training time."""
        self._trained = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        """Keeps the models, writes and prints the metrics, saves the checkpoint, decides on stopping.

        Raises:
            NotFiniteError: if the state cannot be gone on with, before any of it is kept.
            RunError: if something cannot be written, or the run directory is another training's by now.
        """
        self._hold.check()
        self._resumer.check_finite(self._steps)
        entry, timing = self._entry(epoch, logs), self._timing()
        mious = [line["validation:mIOU"] for line in [*self._entries, entry]]
        with averaged(self._average):
            checkpoints.save_model(self.model.network, self._folder, "last")
            if improved(mious, tolerance=0.0):
                checkpoints.save_model(self.model.network, self._folder, "best")
        self._entries.append(entry)
        checkpoints.write_metrics(self._folder, self._entries)
        checkpoints.write_timing(self._folder, {"epoch": epoch + 1} | timing)
        self._write_scalars(epoch, entry | timing)
        self._publish()
        self._resumer.save(Place(epoch + 1))
        say(metric_line(entry | timing))
        self._say_wait()
        if self._early_stopping is not None and should_stop(mious, **self._early_stopping):
            say(f"early stopping after epoch {epoch + 1}: best validation:mIOU={max(mious):.4f}")
            self.model.stop_training = True

    def _say_wait(self) -> None:
        share = self._input_wait.share
        say(f"input wait {100 * share:.1f} %")
        lines = self._advise(share)
        for line in lines:
            say(line)
        if lines:
            self._advise = lambda share: []  # not every epoch again

    def _entry(self, epoch: int, logs: dict) -> dict:
        names = {"loss": "train:loss", "pixel_accuracy": "train:pixel_accuracy", "mIOU": "train:mIOU"}
        names |= {f"val_{key}": name.replace("train", "validation") for key, name in names.items()}
        entry = {"epoch": epoch + 1} | {name: float(logs[key]) for key, name in names.items()}
        batches = (epoch + 1) * self._steps
        entry["learning_rate"] = self._rate(batches - 1)  # of the epoch's last batch
        if self.model.optimizer.loss_scaled:
            skipped = entry["skipped_steps"] = skipped_steps(self.model.optimizer, batches)
            say(f"float16: {skipped} of {batches} steps so far skipped for a gradient that overflowed")
        return entry

    def _timing(self) -> dict:
        """Of the epoch's steps in this process; there may be none, where validation alone was left to do."""
        images, seconds = self.params["steps"] * self._batch_size, self._trained - self._started
        speed = round(images / seconds, 3) if images and seconds else 0.0
        return {"images_per_second": speed, "input_wait": round(self._input_wait.share, 4)}

    def _rate(self, batch: int) -> float:
        return float(self._schedule(batch)) * float(self.model.optimizer.rate_factor.numpy())

    def _write_scalars(self, epoch: int, entry: dict) -> None:
        with self._writer.as_default(step=epoch + 1):
            for name, value in entry.items():
                if name != "epoch":
                    tf.summary.scalar(name.replace(":", "/"), value)
            steps = self._steps
            for batch in range(epoch * steps, (epoch + 1) * steps, math.ceil(steps / RATE_POINTS)):
                tf.summary.scalar("batches/learning_rate", self._rate(batch), step=batch)
        self._writer.flush()


METRIC_LINE = ("train:loss", "validation:loss", "validation:pixel_accuracy", "validation:mIOU")


def metric_line(entry: dict) -> str:
    """The line of an epoch that a tuner's regular expression reads: `epoch=3 train:loss=0.4312 …`."""
    scores = " ".join(f"{name}={entry[name]:.4f}" for name in METRIC_LINE)
    return f"epoch={entry['epoch']} {scores} images_per_second={entry['images_per_second']:.2f}"


class ValidationPictures(keras.callbacks.Callback):
    """Draws image, label and prediction of the same few validation pictures to TensorBoard after every epoch.

    Args:
        writer: for TensorBoard, the same as EpochEnd's: it reads one file at a time.
        dataset: of (images uint8 [N, H, W, 3], masks uint8 [N, H, W]).
        labels: for the colours.
        count: pictures to draw, > 0.
        segment: images uint8 [N, H, W, 3] to their classes uint8 [N, H, W], of the model; a graph, as TensorFlow
            2.16.2 never frees what is made outside of one, 900 constants a picture
            (https://github.com/tensorflow/tensorflow/issues/62551).
        average: of the weights, to predict with instead of them.
    """

    def __init__(
        self,
        writer: tf.summary.SummaryWriter,
        dataset: tf.data.Dataset,
        labels: LabelMap,
        count: int,
        segment: Callable[[np.ndarray], tf.Tensor],
        average: WeightAverage | None = None,
    ):
        super().__init__()
        self._segment, self._average = segment, average
        self._dataset, self._count, self._labels, self._writer = dataset, count, labels, writer

    @functools.cached_property
    def _samples(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The pictures and their masks, read when the first epoch ends: a training starts without them."""
        return [(image.numpy(), mask.numpy()) for image, mask in self._dataset.unbatch().take(self._count)]

    def on_epoch_end(self, epoch, logs=None):
        """Predicts and draws, one picture after the other as their sizes may differ."""
        with self._writer.as_default(step=epoch + 1), averaged(self._average):
            for index, (image, mask) in enumerate(self._samples):
                prediction = self._segment(image[None]).numpy()[0]
                drawn = pictures.triple(image, mask, prediction, self._labels)
                tf.summary.image(f"validation/{index}: image, label, prediction", drawn[None])
        self._writer.flush()
