"""The stall meter by a clock that the test moves, on Keras's own fit; and what it advises."""

import threading
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.config import TrainConfig
from kseg.input_wait import InputWait, advice, levers

WAIT, WORK = 3, 1  # seconds of the test's clock, for a batch and for a step


class Clock:
    """Stands still but where the test moves it; counts when the thread that waits for steps has looked at it."""

    def __init__(self):
        self.now, self.steps_done = 0.0, threading.Semaphore(0)

    def __call__(self) -> float:
        now = self.now
        if threading.current_thread() is not threading.main_thread():
            self.steps_done.release()
        return now


class Work(keras.callbacks.Callback):
    """What a step takes besides waiting, and the share of the wait after every epoch."""

    def __init__(self, clock: Clock, meter: InputWait):
        super().__init__()
        self.clock, self.meter, self.shares, self.losses = clock, meter, [], []

    def on_train_batch_end(self, batch, logs=None):
        if self.meter.params:  # takes part: the clock moves only once the step is known to be done
            self.clock.steps_done.acquire()
        self.clock.now += WORK
        self.losses.append(logs["loss"])

    def on_epoch_end(self, epoch, logs=None):
        self.shares.append(self.meter.share)
        self.losses.append(logs["loss"])


def fit(callbacks, slow=lambda: None, epochs: int = 2) -> np.ndarray:
    """Trains two weights on four batches an epoch; returns them. `slow` is called while a batch is waited for."""

    def batches():
        for value in range(1, 4 * epochs + 1):
            slow()
            yield np.float32([[value, 1.0]]), np.float32([[1.0]])

    signature = (tf.TensorSpec((1, 2)), tf.TensorSpec((1, 1)))
    data, options = tf.data.Dataset.from_generator(batches, output_signature=signature), tf.data.Options()
    options.autotune.enabled = False  # nothing is read ahead: a batch is made while it is waited for
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 0.001
    model.fit(data.with_options(options), steps_per_epoch=4, epochs=epochs, callbacks=callbacks, verbose=0)
    return np.ravel(model.get_weights()[0])


def test_it_measures_what_the_steps_of_an_epoch_wait():
    clock = Clock()
    meter = InputWait(clock)
    work = Work(clock, meter)

    def slow():
        clock.now += WAIT

    fit([meter, work], slow)
    # The first epoch without the first step: waits of steps 2 to 4, the work after steps 1 to 3. Then all four.
    assert work.shares == [pytest.approx(9 / 12), pytest.approx(12 / 15)]


def test_training_is_the_same_with_and_without_it():
    np.testing.assert_array_equal(fit([InputWait()]), fit([]))


def test_callbacks_see_the_loss_of_the_step_before_and_the_epoch_its_own():
    """Nothing waits for the step just begun, but at an epoch's first and last."""
    clock = Clock()
    metered, plain = Work(clock, InputWait(clock)), Work(clock, InputWait(clock))
    fit([metered.meter, metered])
    fit([plain])
    for start in (0, 5):
        one, two, _, four, epoch = plain.losses[start : start + 5]
        assert metered.losses[start : start + 5] == [one, one, two, four, epoch]


class Late:
    """A loss that a GPU has done at a time of the clock, which is what the thread that reads it is told."""

    def __init__(self, clock: Clock, when: float):
        self.clock, self.when = clock, when

    def __float__(self):
        self.clock.of_reader = self.when
        return 0.5


def test_waiting_while_a_gpu_works_is_no_wait():
    clock = Clock()
    meter = InputWait(lambda: clock.now if threading.current_thread() is threading.main_thread() else clock.of_reader)
    done = iter([1, 14, 20, 21])  # when each step is done
    model = types.SimpleNamespace(train_function=lambda batches: {"loss": Late(clock, next(done))})
    meter.set_params({"steps": 4})
    meter.set_model(model)
    meter.on_train_begin()
    meter.on_epoch_begin(0)

    def arrivals():
        for clock.now in (
            0,
            4,  # asked for at 1, when the first step was done, with nothing else to do: 3 seconds
            16,  # the second step was done at 14: 2 seconds
            17,  # the third is at work until 20: no wait
        ):
            yield "batch"

    batches = arrivals()
    for asked in (0, 1, 4, 16):
        clock.now = asked
        assert model.train_function(batches) == {"loss": 0.5}
    assert meter.share == pytest.approx((3 + 2) / (21 - 1))


def config(**flags) -> TrainConfig:
    return TrainConfig(**{"data": "records", "output_dir": "run", "num_classes": 2} | flags)


def test_a_small_wait_needs_no_advice():
    assert advice(config(), (360, 480), 0.05) == []


@pytest.mark.parametrize(
    ("flags", "largest", "expected"),
    [
        ({}, (360, 480), []),
        ({"random_rotation": True}, (360, 480), ["--random_rotation=False"]),
        ({"random_rotation": True, "crop_size": 64}, (360, 480), []),  # a crop too small to cost a millisecond
        ({"base_size": 400}, (1024, 2048), ["--max_side=800"]),
        ({"base_size": 1024}, (1024, 2048), []),  # at the largest scale a crop shows every pixel
        ({"data": "s3://bucket/records"}, (360, 480), ["--data=s3://bucket/records"]),
    ],
)
def test_advice_names_what_this_training_could_change(flags, largest, expected):
    *found, last = levers(config(**flags), largest=largest, cores=2, wait=0.5)
    assert len(found) == len(expected)
    assert all(word in text for word, text in zip(expected, found, strict=True))
    assert last.endswith("2 cores at most: without the wait it would need about 2 more")


def test_advice_begins_with_the_dearest():
    flags = {"random_blur": True, "color_jitter": True, "base_size": 520}
    text = advice(config(**flags), (3000, 4000), 0.2)
    assert text[0] == "advice: training waits 20.0 % of its time for input; what changes that:"
    names = ["--max_side=1040", "--random_blur=False", "--color_jitter=False", "cores"]
    assert [name for name, line in zip(names, text[1:], strict=True) if name in line] == names
