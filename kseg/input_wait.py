"""How long training waits for its input, measured where it waits, and what to change where that is too long."""

import concurrent.futures
import dataclasses
import math
import time
from collections.abc import Callable

import keras

from kseg.config import TrainConfig
from kseg.memory import cores

LIMIT = 0.05  # share of the training time above which there is advice
# Milliseconds of one core (AMD EPYC of the first generation, 2 GHz) for a crop of 480 x 480 pixels, and for a megapixel
# of JPEG and mask.
OPTION_MS = {"random_blur": 26.0, "random_rotation": 22.0, "color_jitter": 9.0, "class_balanced_crop": 6.0}
DECODE_MS = 10.0
OF_SIDE = 480


@dataclasses.dataclass(frozen=True)
class _Result:
    """What a step gave: its logs, nested as Keras has them, of floats, and when they were there, by the clock."""

    logs: dict
    finished: float


class InputWait(keras.callbacks.Callback):
    """Takes the training steps' batches itself, to know how long each waited.

    Keras's train function takes its batch inside the graph, where no clock tells. In its place this one takes the batch
    from the iterator, of one device or of several, and hands it over. Nothing but waiting happens in there: the
    pipeline works in threads of its own.

    A GPU works on after the train function has returned. To keep it busy, the numbers of a step are waited for only
    once the next step is on its way: the logs that callbacks see are those of the step before, but at an epoch's first
    and last step its own (at the last those of the step before, where their loss is no finite number). All steps of an
    epoch are done when `on_train_batch_end` of its last one is called. A wait counts only from the moment the step
    before was done, as until then nothing stood still.

    A training's first step, which starts the pipeline and traces the graph, is left out.

    Args:
        clock: seconds from any moment on.

    Attributes:
        shown: the step of the epoch, from 1, whose logs the callbacks see.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        super().__init__()
        self._clock = clock
        self._reader = concurrent.futures.ThreadPoolExecutor(1, "step results")
        self._step: Callable | None = None  # Keras's train function
        self._before: concurrent.futures.Future | None = None  # of the epoch's step before
        self._steps = self._all_steps = self.shown = 0
        self._waited = self._began = self._ended = 0.0

    @property
    def share(self) -> float:
        """Of the epoch's training time so far, what its steps waited for input, 0 to 1; without a run's first step."""
        return self._waited / (self._ended - self._began) if self._ended > self._began else 0.0

    def on_train_begin(self, logs=None):
        """Puts itself in the place of Keras's train function, which `fit` has made by now."""
        self._step, self.model.train_function = self.model.train_function, self._train
        self._all_steps = 0

    def on_train_end(self, logs=None):
        """Puts Keras's train function back."""
        self.close()

    def close(self):
        """The same, for a `fit` that an error ended."""
        if self._step is not None:
            self.model.train_function, self._step = self._step, None

    def on_epoch_begin(self, epoch, logs=None):
        """Starts the epoch's clock."""
        self._began = self._ended = self._clock()
        self._waited, self._steps, self._before = 0.0, 0, None

    def _train(self, iterator) -> dict:
        """One step on the iterator's next batch; the logs that callbacks shall see."""
        asked = self._clock()
        batch = next(iterator)
        arrived = self._clock()
        now = self._reader.submit(self._read, self._step(iter([batch])))
        first = self._before is None
        before, self._before = (now if first else self._before).result(), now
        self._steps, self._all_steps = self._steps + 1, self._all_steps + 1
        self.shown = max(self._steps - 1, 1)
        if self._all_steps == 1:
            self._began = self._ended = before.finished
        else:
            self._waited += max(0.0, arrived - (asked if first else max(asked, before.finished)))
        if self._steps < self.params["steps"]:
            return before.logs
        last = now.result()
        self._ended = last.finished
        if not math.isfinite(before.logs.get("loss", 0.0)):
            return before.logs
        self.shown = self._steps
        return last.logs

    def _read(self, logs: dict) -> _Result:
        """Waits until the device has done a step."""
        return _Result(keras.tree.map_structure(float, logs), self._clock())


def levers(config: TrainConfig, *, largest: tuple[int, int], cores: int, wait: float) -> list[str]:
    """What would shorten the wait of this training, with numbers, the dearest first; the last always fits.

    Args:
        config: of the training.
        largest: height and width that no stored training picture exceeds, pixels.
        cores: that the process may use.
        wait: share of the training time, 0 to 1.
    """
    found = []
    for name, dear in OPTION_MS.items():
        cost = dear * (config.crop_size / OF_SIDE) ** 2
        if getattr(config, name) and cost >= 1:
            found.append((cost, f"--{name}=False saves about {cost:.0f} ms a picture on one core"))
    enough = 2 * config.base_size  # the long side at the largest scale: more detail no crop ever shows
    saved = DECODE_MS * 1e-6 * math.prod(largest) * (1 - (enough / max(largest)) ** 2)
    if saved >= 1:
        text = (
            f"training pictures are up to {max(largest)} pixels long, --base_size={config.base_size} shows {enough} at "
        )
        text += f"most: convert-dataset --max_side={enough} saves up to {saved:.0f} ms a picture on one core"
        found.append((saved, text))
    advice = [text for _, text in sorted(found, reverse=True)]
    if "://" in config.data:
        advice.insert(0, f"--data={config.data} is read over the network: copy it to a local disk")
    more = max(1, math.ceil(cores / max(1 - wait, 0.01)) - cores)
    return [*advice, f"the input has {cores} cores at most: without the wait it would need about {more} more"]


def advice(config: TrainConfig, largest: tuple[int, int], wait: float) -> list[str]:
    """Lines for the user on a wait of more than LIMIT; none below. See `levers`."""
    if wait <= LIMIT:
        return []
    found = levers(config, largest=largest, cores=cores(), wait=wait)
    return [f"advice: training waits {100 * wait:.1f} % of its time for input; what changes that:"] + [
        f"  - {text}" for text in found
    ]
