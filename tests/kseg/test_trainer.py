"""Training on a few tiny pictures: the run directory, the golden step, resume, refusals, early stopping, NaN."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from test_hold import HOLDER

from kseg import checkpoints, trainer
from kseg.config import TrainConfig
from kseg.errors import RunError, UsageError
from kseg.models.trainee import Trainee

pytestmark = pytest.mark.usefixtures("small_resnet")
# Two epochs of two batches of 32-pixel crops.
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48, "crop_size": 32},
    **{"mini_batch_size": 3, "epochs": 2, "validation_mini_batch_size": 1, "mixed_precision": "float32"},
    **{"validation_pictures": 0, "learning_rate": 0.01},
}


def config(data: str, folder, **flags) -> TrainConfig:
    return TrainConfig(data=data, output_dir=str(folder), **FLAGS | flags)


@pytest.fixture(scope="module")
def finished(tiny_data, small_resnet, tmp_path_factory):
    """A run of two epochs, the best's metrics, and how often the validation step was traced."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    traced, step = [], Trainee.test_step
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainee, "test_step", lambda self, data: traced.append(data) or step(self, data))
        best = trainer.train(config(tiny_data, folder, validation_pictures=1))
    return folder, best, len(traced)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished run that a test may spoil."""
    return shutil.copytree(finished[0], tmp_path / "run")


def weights(folder, which="last") -> list[np.ndarray]:
    return checkpoints.load_segmenter(str(folder), which)[0].get_weights()


def test_run_directory_is_complete(finished):
    folder, best, _ = finished
    names = {child.name for child in folder.iterdir()}
    assert names == {
        *("config.json", "config.flags", "labels.json", "metrics.jsonl", "timing.jsonl"),
        *("best", "last", "checkpoints", "tensorboard", ".lock"),
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert best == max(lines, key=lambda line: line["validation:mIOU"])
    timing = [json.loads(line) for line in (folder / "timing.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in timing] == [1, 2]
    assert all(0 <= line["input_wait"] < 1 and line["images_per_second"] > 0 for line in timing)
    assert lines[0]["learning_rate"] > lines[1]["learning_rate"] == 0.0  # poly ends at 0 on the last step


def test_metrics_are_those_of_the_kept_model(finished, tiny_data):
    """The line in metrics.jsonl equals the scores counted by hand from the kept model's own predictions."""
    folder, best, _ = finished
    model, labels, _ = checkpoints.load_segmenter(str(folder), "best")
    assert labels.names == ("dark", "bright")
    path = pathlib.Path(tiny_data) / "validation-00000-of-00001.tfrecord"
    hits, unions, right, total = np.zeros(2), np.zeros(2), 0, 0
    for serialized in tf.data.TFRecordDataset(str(path)):
        features = tf.train.Example.FromString(serialized.numpy()).features.feature
        image = tf.io.decode_jpeg(features["image/encoded"].bytes_list.value[0])
        mask = tf.io.decode_png(features["image/segmentation/class/encoded"].bytes_list.value[0])[..., 0].numpy()
        classes = np.argmax(model(image[None])[0], axis=-1)
        valid = mask != 255
        right, total = right + (classes == mask)[valid].sum(), total + valid.sum()
        for index in range(2):
            hits[index] += ((classes == index) & (mask == index) & valid).sum()
            unions[index] += (((classes == index) | (mask == index)) & valid).sum()
    assert best["validation:pixel_accuracy"] == pytest.approx(right / total, abs=1e-3)
    assert best["validation:mIOU"] == pytest.approx(np.mean(hits / unions), abs=1e-3)


def test_validation_is_traced_once_for_pictures_of_three_sizes_and_two_epochs(finished):
    assert finished[2] == 1


def test_tensorboard_holds_scalars_and_a_picture_an_epoch(finished):
    tags = []
    for path in (finished[0] / "tensorboard").iterdir():
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            tags += [(event.step, value.tag) for value in event.summary.value]
    for epoch in (1, 2):
        assert (epoch, "validation/mIOU") in tags
        assert (epoch, "learning_rate") in tags
        assert (epoch, "input_wait") in tags
        assert (epoch, "validation/0: image, label, prediction") in tags
    assert [step for step, tag in tags if tag == "batches/learning_rate"] == [0, 1, 2, 3]


def test_a_finished_run_is_left_as_it_is(copied, tiny_data, capsys):
    before = (copied / "metrics.jsonl").read_text()
    trainer.train(config(tiny_data, copied))
    assert "all 2 epochs are done" in capsys.readouterr().out
    assert (copied / "metrics.jsonl").read_text() == before


def test_resume_at_the_next_epoch(copied, finished, tiny_data, capsys):
    """A run whose second epoch left models and its line but no checkpoint."""
    shutil.rmtree(copied / "checkpoints" / "epoch-00002-step-0000000")
    trainer.train(config(tiny_data, copied))
    assert "after epoch 1 of 2" in capsys.readouterr().out
    resumed = checkpoints.read_metrics(str(copied))
    whole = checkpoints.read_metrics(str(finished[0]))
    assert [line["epoch"] for line in resumed] == [1, 2]
    # Weights, optimizer, rate, dropout and data go on where they were, so the second epoch is the same.
    for name in ("train:loss", "validation:loss", "learning_rate"):
        assert resumed[1][name] == pytest.approx(whole[1][name], rel=1e-4)


def test_same_seed_same_weights(finished, tiny_data, tmp_path):
    trainer.train(config(tiny_data, tmp_path / "again"))
    for one, two in zip(weights(finished[0]), weights(tmp_path / "again"), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)


def test_another_configuration_is_refused_by_its_difference(copied, tiny_data):
    with pytest.raises(RunError, match=r"another configuration \(epochs=2 there, 3 now; seed=0 there, 5 now\)"):
        trainer.train(config(tiny_data, copied, epochs=3, seed=5))


def test_a_folder_that_is_no_run_is_refused_and_left_alone(tiny_data, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match="not empty and not a run directory"):
        trainer.train(config(tiny_data, tmp_path))
    assert [child.name for child in tmp_path.iterdir()] == ["thesis.txt"]


def test_num_classes_must_be_the_data_sets(tiny_data, tmp_path):
    with pytest.raises(UsageError, match=r"--num_classes=3: .* was converted with 2 classes; allowed: 2"):
        trainer.train(config(tiny_data, tmp_path / "run", num_classes=3))
    assert not (tmp_path / "run").exists()


def test_unknown_split_is_named(tiny_data, tmp_path):
    with pytest.raises(RunError, match=r"no split 'val' in dataset\.json; there: train, validation"):
        trainer.train(config(tiny_data, tmp_path / "run", validation_split="val"))
    assert not (tmp_path / "run").exists()


def test_early_stopping_ends_the_run_and_stays_ended(tiny_data, tmp_path, capsys):
    """With tolerance 1 nothing but a doubled mIOU improves, so patience 1 and a minimum of 2 stop after epoch 2."""
    rule = {"early_stopping": True, "early_stopping_min_epochs": 2, "early_stopping_patience": 1}
    stopping = config(tiny_data, tmp_path / "run", epochs=9, early_stopping_tolerance=1.0, learning_rate=1e-6, **rule)
    trainer.train(stopping)
    assert "early stopping after epoch 2" in capsys.readouterr().out
    trainer.train(stopping)
    assert "stopped early after epoch 2" in capsys.readouterr().out
    assert len(checkpoints.read_metrics(str(tmp_path / "run"))) == 2


def test_nan_stops_with_the_step_and_keeps_nothing_of_it(tiny_data, tmp_path):
    diverging = config(tiny_data, tmp_path / "run", learning_rate=1.0, head_learning_rate_multiplier=1e30)
    with pytest.raises(RunError, match=r"loss is (nan|inf) at step \d+ \(epoch 1, step \d+ of 2"):
        trainer.train(diverging)
    assert not (tmp_path / "run" / "last").exists()


def test_weights_that_only_validation_shows_to_be_spoilt_are_not_kept(tiny_data, tmp_path):
    """One step an epoch: its own loss is still sound when it spoils the weights."""
    diverging = config(
        tiny_data, tmp_path / "run", mini_batch_size=6, learning_rate=1.0, head_learning_rate_multiplier=1e30
    )
    with pytest.raises(RunError, match=r"validation loss is (nan|inf) at step 1 \(epoch 1, step 1 of 1\)"):
        trainer.train(diverging)
    assert not (tmp_path / "run" / "last").exists()
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_metrics_that_the_checkpoint_outlives_are_missed(copied, tiny_data):
    (copied / "metrics.jsonl").unlink()
    with pytest.raises(RunError, match=r"metrics\.jsonl: 0 epochs, but the checkpoint has 2"):
        trainer.train(config(tiny_data, copied))


def test_a_run_that_another_process_trains_is_refused_and_left_alone(copied, tiny_data):
    shutil.rmtree(copied / "checkpoints" / "epoch-00002-step-0000000")
    before = {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.name != ".lock"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", HOLDER, copied], **pipes) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(
            RunError, match=rf"run: process {other.pid} on .* trains into it; wait for its end, or give"
        ):
            trainer.train(config(tiny_data, copied))
        other.kill()
    assert before == {path: path.read_bytes() for path in copied.rglob("*") if path.is_file() and path.name != ".lock"}


def test_lost_checkpoints_do_not_begin_the_run_anew(copied, tiny_data):
    shutil.rmtree(copied / "checkpoints")
    before = (copied / "metrics.jsonl").read_text()
    with pytest.raises(RunError, match=r"checkpoints: no checkpoint, but metrics\.jsonl has 2 epochs"):
        trainer.train(config(tiny_data, copied))
    assert (copied / "metrics.jsonl").read_text() == before


def test_num_training_samples_sets_the_epoch_and_another_seed_the_weights(finished, tiny_data, tmp_path, capsys):
    trainer.train(config(tiny_data, tmp_path / "run", num_training_samples=3, epochs=1, seed=1))
    out = capsys.readouterr().out
    assert "warning: --num_training_samples=3, but train has 6 pictures" in out
    assert "1 steps an epoch" in out
    lines = out.splitlines()  # of a user's interest, after the line that tuners read
    assert lines[[line.startswith("epoch=1 ") for line in lines].index(True) + 1] == "input wait 0.0 %"
    # Kernels that had begun alike would still be so after a few small steps, whatever these were; statistics not.
    pairs = zip(weights(finished[0]), weights(tmp_path / "run"), strict=True)
    assert all(np.corrcoef(one.ravel(), two.ravel())[0, 1] < 0.5 for one, two in pairs if one.ndim == 4)


def test_missing_pretrained_weights_leave_no_run_behind(tiny_data, tmp_path):
    wanted = config(tiny_data, tmp_path / "run", use_pretrained_model=True, pretrained_weights=str(tmp_path / "no.h5"))
    with pytest.raises(RunError, match=r"--pretrained_weights=.*no\.h5: no such file"):
        trainer.train(wanted)
    with pytest.raises(UsageError, match="no published weights for resnet-18"):
        trainer.train(dataclasses.replace(wanted, pretrained_weights=None))
    (tmp_path / "no.h5").write_bytes(b"not HDF5")
    with pytest.raises(RunError, match=r"no\.h5"):
        trainer.train(wanted)
    assert not (tmp_path / "run").exists()


def test_a_damaged_record_is_named_and_can_be_skipped(tiny_data, tmp_path, capsys):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    path = data / "train-00001-of-00002.tfrecord"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF  # same size, so that only reading it shows
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"train-00001-of-00002\.tfrecord: record 1"):
        trainer.train(config(str(data), tmp_path / "run", epochs=1))
    previewing = TrainConfig(data=str(data), preview_dir=str(tmp_path / "p"), **FLAGS)
    with pytest.raises(RunError, match=r"train-00001-of-00002\.tfrecord: record 1"):
        trainer.preview(previewing)
    # The run that the record ended goes on without it, with epochs as long as they were.
    trainer.train(config(str(data), tmp_path / "run", epochs=1, on_bad_record="skip"))
    assert "skipped 1 of 6 records of train (1 shard)" in capsys.readouterr().out
    assert checkpoints.read_config(str(tmp_path / "run")).num_training_samples == 6
    assert len(checkpoints.read_metrics(str(tmp_path / "run"))) == 1


def test_preview_draws_and_trains_nothing(tiny_data, tmp_path):
    previewing = dataclasses.replace(config(tiny_data, "unused"), output_dir=None, preview_dir=str(tmp_path / "p"))
    path = trainer.preview(previewing)
    assert path == str(tmp_path / "p" / "preview.png")
    assert tf.io.decode_png(tf.io.read_file(path)).shape[-1] == 3
