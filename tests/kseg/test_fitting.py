"""What ends a training or sends it back, on tiny ones: numbers that are none, signals, memory, damaged checkpoints."""

import itertools
import os
import pathlib
import shutil
import signal

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import checkpoints, fitting, trainer
from kseg.config import TrainConfig
from kseg.errors import Interrupted, RunError
from kseg.models.trainee import Trainee
from kseg.resuming import Place

pytestmark = pytest.mark.usefixtures("small_resnet")
# Three epochs of three steps.
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48, "crop_size": 32},
    **{"mini_batch_size": 2, "epochs": 3, "validation_mini_batch_size": 1, "mixed_precision": "float32"},
    **{"validation_pictures": 0, "learning_rate": 0.01, "ema_decay": 0.5},
}


def config(data: str, folder, **flags) -> TrainConfig:
    return TrainConfig(data=data, output_dir=str(folder), **FLAGS | flags)


def places(folder) -> list[str]:
    return sorted(path.name for path in (pathlib.Path(folder) / "checkpoints").iterdir())


class Spoil(keras.callbacks.Callback):
    """Puts a NaN into a weight after a step of an epoch, so many times."""

    def __init__(self, epoch: int, step: int, times: int):
        super().__init__()
        self.at, self.left, self.epoch = (epoch, step), times, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch + 1) == self.at and self.left:
            self.left -= 1
            bias = self.model.network.get_layer("head_logits").bias
            bias.assign(np.full(bias.shape, np.nan))


@pytest.fixture
def spoilt(monkeypatch):
    """Makes the next trainings spoil their weights: `spoilt(epoch, step, times)`."""

    def spoil(*when):
        reports, spoiler = fitting._reports, Spoil(*when)
        monkeypatch.setattr(fitting, "_reports", lambda *arguments: [spoiler, *reports(*arguments)])

    return spoil


def test_rollback_goes_on_from_the_checkpoint_at_half_the_rate(tiny_data, tmp_path, spoilt, capsys):
    spoilt(1, 2, 1)
    trainer.train(config(tiny_data, tmp_path / "run", on_nan="rollback", checkpoint_every_steps=1))
    out = capsys.readouterr().out
    assert "a weight (" in out  # found by the checkpoint of that step, which is not written
    assert "back to step 1 of epoch 2, rate times 0.5" in out
    lines = checkpoints.read_metrics(str(tmp_path / "run"))
    assert [line["epoch"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite(list(line.values())).all() for line in lines)
    # poly of the last batch of the nine, (1 - 5 / 8) ** 0.9 and so on, halved from the second epoch on
    rates = [0.01 * (1 - batch / 8) ** 0.9 for batch in (2, 5, 8)]
    wanted = [rates[0], rates[1] / 2, rates[2] / 2]
    assert [line["learning_rate"] for line in lines] == pytest.approx(wanted, rel=1e-5, abs=1e-9)


def test_rollback_begins_anew_where_nothing_is_kept_yet_and_gives_up_in_the_end(tiny_data, tmp_path, spoilt, capsys):
    spoilt(0, 1, 99)
    wanted = r"loss is nan at step 2 .*; so after 5 rollbacks, each to half the learning rate"
    with pytest.raises(RunError, match=wanted):
        trainer.train(config(tiny_data, tmp_path / "run", on_nan="rollback"))
    out = capsys.readouterr().out
    said = [f"back to step 0 of epoch 1, rate times {0.5**times:g}" in out for times in range(1, 7)]
    assert said == [True] * 5 + [False]
    assert places(tmp_path / "run") == [Place().name]


def test_without_rollback_a_spoilt_weight_ends_the_training_and_is_not_kept(tiny_data, tmp_path, spoilt):
    spoilt(1, 3, 1)
    wanted = r"validation loss is nan at step 6 \(epoch 2, step 3 of 3\); lower .*epoch-00001-step-0000000 is kept"
    with pytest.raises(RunError, match=wanted):
        trainer.train(config(tiny_data, tmp_path / "run"))
    assert places(tmp_path / "run") == ["epoch-00001-step-0000000"]
    assert len(checkpoints.read_metrics(str(tmp_path / "run"))) == 1


class Signal(keras.callbacks.Callback):
    """Sends this process SIGTERM once, as somebody does while step, validation or the end of epoch 2 is under way."""

    def __init__(self, moment: str):
        super().__init__()
        self.moment, self.epoch, self.sent = moment, 0, False

    def send(self, moment: str):
        if (self.moment, self.epoch, self.sent) == (moment, 1, False):
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.send("step")

    def on_test_batch_begin(self, batch, logs=None):
        if batch == 1:
            self.send("validation")

    def on_epoch_end(self, epoch, logs=None):
        self.send("end")


@pytest.fixture(scope="module", autouse=True)
def kept_steps(tmp_path_factory):
    """Trainings that are alike need trace their step but once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(tiny_data, small_resnet, tmp_path_factory):
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    trainer.train(config(tiny_data, folder))
    return folder


INTERRUPTED = {
    "step": (Place(1, 2), "step 2 of 3 of epoch 2"),
    "validation": (Place(1, 3), "the steps of epoch 2, in its validation"),
    "end": (Place(2), "epoch 2"),
}


def test_a_signal_ends_it_where_it_goes_on(tiny_data, tmp_path, monkeypatch, whole):
    """Three times in one run, which comes to what the undisturbed one did."""
    for moment, (place, after) in INTERRUPTED.items():
        with monkeypatch.context() as patch:
            reports, sender = fitting._reports, Signal(moment)
            patch.setattr(fitting, "_reports", lambda *arguments: [sender, *reports(*arguments)])  # noqa: B023
            wanted = rf"^SIGTERM: stopped after {after}; a checkpoint is kept, the same command goes on from it$"
            with pytest.raises(Interrupted, match=wanted):
                trainer.train(config(tiny_data, tmp_path / "run"))
        assert places(tmp_path / "run")[-1] == place.name
    trainer.train(config(tiny_data, tmp_path / "run"))
    found, expected = (checkpoints.read_metrics(str(folder)) for folder in (tmp_path / "run", whole))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-6)
    model, other = (checkpoints.load_segmenter(str(folder), "last")[0] for folder in (tmp_path / "run", whole))
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_a_signal_at_the_very_end_comes_too_late_and_a_clock_may_run_backwards(tiny_data, tmp_path, monkeypatch):
    hours = itertools.count()
    monkeypatch.setattr("time.time", lambda: 2e9 - 3600 * next(hours))
    sender, reports = Signal("end"), fitting._reports
    monkeypatch.setattr(fitting, "_reports", lambda *arguments: [sender, *reports(*arguments)])
    trainer.train(config(tiny_data, tmp_path / "run", epochs=2))
    assert sender.sent
    assert all(line["images_per_second"] > 0 for line in checkpoints.read_timing(str(tmp_path / "run")))
    assert len(checkpoints.read_metrics(str(tmp_path / "run"))) == 2


def test_a_corrupt_newest_checkpoint_falls_back_to_the_one_before(tiny_data, tmp_path, whole, capsys):
    copied = pathlib.Path(shutil.copytree(whole, tmp_path / "run"))
    (data,) = (copied / "checkpoints" / "epoch-00003-step-0000000").glob("state.data*")
    data.write_bytes(data.read_bytes()[: 2**16])
    trainer.train(config(tiny_data, copied))
    out = capsys.readouterr().out
    assert "epoch-00003-step-0000000: damaged" in out
    assert "after epoch 2 of 3" in out
    found, expected = (checkpoints.read_metrics(str(folder)) for folder in (copied, whole))
    assert found[2] == pytest.approx(expected[2], rel=1e-4, abs=1e-6)
    tf.train.load_checkpoint(str(copied / "checkpoints" / "epoch-00003-step-0000000" / "state"))


def test_a_step_that_memory_does_not_suffice_for_says_what_to_lower(tiny_data, tmp_path, monkeypatch):
    step = Trainee.train_step

    def greedy(self, data):
        return step(self, data) | {"loss": tf.reduce_sum(tf.zeros(2**50 + tf.cast(tf.reduce_max(data[0]), tf.int64)))}

    monkeypatch.setattr(Trainee, "train_step", greedy)
    monkeypatch.setenv("KSEG_CACHE", "off")
    with pytest.raises(RunError, match=r"^out of memory with --mini_batch_size=2 --crop_size=32 .*; lower one of them"):
        trainer.train(config(tiny_data, tmp_path / "run"))
