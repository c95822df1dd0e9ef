"""Trainings with the options beyond the original's, all at once where they can be: they run, keep and resume."""

import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kseg import checkpoints, evaluator, trainer
from kseg.config import TrainConfig
from kseg.data.pipeline import evaluation_dataset
from kseg.optimizers import gradients

pytestmark = pytest.mark.usefixtures("small_resnet")
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48, "crop_size": 32},
    **{"mini_batch_size": 3, "epochs": 2, "validation_mini_batch_size": 1, "mixed_precision": "float32"},
    **{"validation_pictures": 0, "learning_rate": 0.01},
}
MANY = {
    **{"optimizer": "adamw", "no_decay_norm_bias": True, "clip_norm": 1.0, "gradient_accumulation_steps": 2},
    **{"ema_decay": 0.5, "warmup_epochs": 1, "loss": "cross_entropy+dice", "class_weights": "balanced"},
    **{"label_smoothing": 0.1, "freeze_stages": 1, "freeze_backbone_bn": True, "random_blur": True},
    **{"color_jitter": True, "random_rotation": True, "random_vertical_flip": True, "class_balanced_crop": True},
}


def config(data: str, folder, **flags) -> TrainConfig:
    return TrainConfig(data=data, output_dir=str(folder), **FLAGS | flags)


@pytest.fixture(scope="module")
def finished(tiny_data, small_resnet, tmp_path_factory):
    """A run with MANY options."""
    folder = tmp_path_factory.mktemp("options") / "run"
    trainer.train(config(tiny_data, folder, **MANY, validation_pictures=1))
    return folder


def test_the_average_is_what_is_scored_and_kept(finished, tiny_data):
    lines = checkpoints.read_metrics(str(finished))
    model, labels, _ = checkpoints.load_segmenter(str(finished), "last")
    paths = [str(pathlib.Path(tiny_data) / "validation-00000-of-00001.tfrecord")]
    batches = evaluation_dataset(paths, examples=3, num_classes=2, batch_size=1, crop_size=32)
    scores = evaluator.evaluate(evaluator.segment_with_model(model), batches, labels, total=3)
    assert scores.mIOU == pytest.approx(lines[-1]["validation:mIOU"], abs=1e-6)
    kept, trained = model.get_layer("head_conv").kernel, _trained_kernel(finished, model)
    assert np.abs(np.array(kept) - trained).max() > 1e-6  # the checkpoint holds the weights themselves


def _trained_kernel(folder, model) -> np.ndarray:
    """head_conv's kernel in the newest checkpoint: the first variable of its shape."""
    reader = tf.train.load_checkpoint(str(max((folder / "checkpoints").iterdir()) / "state"))
    shape = list(model.get_layer("head_conv").kernel.shape)
    places = sorted(
        int(key.split("/")[1]) for key, there in reader.get_variable_to_shape_map().items() if there == shape
    )
    return reader.get_tensor(f"variables/{places[0]}/.ATTRIBUTES/VARIABLE_VALUE")


def test_a_run_with_many_options_resumes_where_it_was(finished, tiny_data, tmp_path):
    copied = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(copied / "checkpoints" / "epoch-00002-step-0000000")
    trainer.train(config(tiny_data, copied, **MANY))
    resumed, whole = checkpoints.read_metrics(str(copied)), checkpoints.read_metrics(str(finished))
    for name in ("train:loss", "validation:loss", "validation:mIOU", "learning_rate"):
        assert resumed[1][name] == pytest.approx(whole[1][name], rel=1e-4, abs=1e-6)


def test_frozen_layers_stay_as_they_start(finished, tiny_data):
    fresh = checkpoints.build_network(config(tiny_data, "unused"), 2, "float32")
    kept = checkpoints.load_network(str(finished), "last", checkpoints.read_config(str(finished)), 2, advice="")
    moved = [
        weight.path
        for weight, start in zip(kept.weights, fresh.weights, strict=True)
        if not np.array_equal(weight, start)
    ]
    assert not [path for path in moved if path.startswith("conv1_")]
    assert not [path for path in moved if path.startswith("conv") and "_bn/" in path]
    assert {"head_bn/gamma", "conv2_block1_1_conv/kernel"} <= set(moved)


def test_float16_leaves_out_steps_that_overflow_and_says_how_many(tiny_data, tmp_path, capsys, monkeypatch):
    """A loss scale at which every gradient of the two steps overflows."""
    monkeypatch.setattr(gradients, "INITIAL_LOSS_SCALE", 2.0**40)
    flags = {"algorithm": "deeplab", "mini_batch_size": 1, "num_training_samples": 2}
    halves = config(tiny_data, tmp_path / "run", mixed_precision="float16", epochs=1, **flags)
    trainer.train(halves)
    (line,) = checkpoints.read_metrics(str(tmp_path / "run"))
    assert line["skipped_steps"] == 2
    printed = capsys.readouterr().out
    assert "float16: 2 of 2 steps so far skipped for a gradient that overflowed" in printed
    assert "warning: batch normalisation over one picture turns the whole-picture mean of deeplab into a" in printed
    kept = checkpoints.load_segmenter(str(tmp_path / "run"), "last")[0]
    fresh = checkpoints.build_network(halves, 2, "float32")
    kernels = [model.get_layer("head_conv").kernel for model in (kept, fresh)]
    np.testing.assert_array_equal(*kernels)
    assert kernels[0].dtype == "float32"


def test_a_run_starts_from_an_earlier_one_and_resumes_without_it(finished, tiny_data, tmp_path, capsys):
    earlier = shutil.copytree(finished, tmp_path / "earlier")
    started = config(tiny_data, tmp_path / "run", init_from=str(earlier), epochs=1, learning_rate=1e-9)
    trainer.train(started)
    assert f"weights of {earlier}/best/model.keras (sha256 " in capsys.readouterr().out
    ours, _, _ = checkpoints.load_segmenter(str(tmp_path / "run"), "last")
    theirs, _, _ = checkpoints.load_segmenter(str(earlier), "best")
    np.testing.assert_allclose(ours.get_layer("head_conv").kernel, theirs.get_layer("head_conv").kernel, atol=1e-6)
    shutil.rmtree(earlier)
    trainer.train(started)
    assert "all 1 epochs are done" in capsys.readouterr().out


def test_deterministic_trainings_give_the_same_bits(tiny_data, tmp_path):
    script = pathlib.Path(__file__).with_name("deterministic_run.py")
    flags = json.dumps(FLAGS | {"deterministic": True, "epochs": 1})
    commands = [[sys.executable, script, tiny_data, str(tmp_path / name), flags] for name in ("one", "two")]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for command in commands]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
    one, two = (checkpoints.load_segmenter(str(tmp_path / name), "last")[0] for name in ("one", "two"))
    for first, second in zip(one.weights, two.weights, strict=True):
        np.testing.assert_array_equal(first, second, err_msg=first.path)


def test_the_preview_shows_the_augmentation(tiny_data, tmp_path):
    drawn = []
    for name, flags in (("plain", {}), ("augmented", {"color_jitter": True, "random_rotation": True})):
        previewing = TrainConfig(data=tiny_data, preview_dir=str(tmp_path / name), **FLAGS | flags)
        drawn.append(tf.io.decode_png(tf.io.read_file(trainer.preview(previewing))).numpy().astype(int))
    assert drawn[0].shape == drawn[1].shape
    assert np.abs(drawn[0] - drawn[1]).mean() > 1
