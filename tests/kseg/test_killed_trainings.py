"""Exact resume: a training killed with SIGKILL twenty times ends as one that never was, bit for bit."""

import json
import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tensorflow as tf

# Epochs of four steps, some pictures twice, with everything that a state can consist of. With tolerance 1 only a
# doubled mIOU improves: early stopping ends it, after epoch 12 at the earliest.
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48, "crop_size": 32},
    **{"mini_batch_size": 2, "epochs": 30, "validation_mini_batch_size": 1, "mixed_precision": "float32"},
    **{"validation_pictures": 0, "learning_rate": 0.01, "optimizer": "adam", "class_weights": "balanced"},
    **{"ema_decay": 0.5, "gradient_accumulation_steps": 3},
    **{"num_training_samples": 8, "checkpoint_every_steps": 1, "deterministic": True},
    **{
        "early_stopping_tolerance": 1.0,
        "early_stopping": True,
        "early_stopping_min_epochs": 12,
        "early_stopping_patience": 4,
    },
}


@pytest.fixture(scope="module")
def runs(tiny_data, tmp_path_factory):
    """The folder of the runs "killed" and "whole", and what killed_trainings.py tells."""
    folder = tmp_path_factory.mktemp("killed")
    script = pathlib.Path(__file__).with_name("killed_trainings.py")
    environment = os.environ | {"KSEG_CACHE": str(folder / "cache")}
    arguments = [sys.executable, script, tiny_data, folder, json.dumps(FLAGS)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.split("KILLS ")[1])


def test_it_was_killed_in_steps_checkpoints_validations_and_ends_of_epochs(runs):
    told = runs[1]
    assert len(told["kills"]) >= 20
    counts = [told["kills"].count(moment) for moment in ("step", "checkpoint", "place", "restore", "validation", "end")]
    assert min(counts) >= 2
    assert told["unfinished"] >= told["kills"].count("place")  # checkpoints that lay there half written


def test_metrics_are_the_same_bytes(runs):
    killed, whole = ((runs[0] / name / "metrics.jsonl").read_bytes() for name in ("killed", "whole"))
    assert killed == whole
    assert killed.count(b"\n") >= 12


def test_the_state_is_the_same_to_the_last_bit(runs):
    """Weights, batch normalisation, optimizer and what it has accumulated, moving average, random generators."""
    states = []
    for name in ("killed", "whole"):
        newest = max((runs[0] / name / "checkpoints").iterdir())
        reader = tf.train.load_checkpoint(str(newest / "state"))
        states.append({key: reader.get_tensor(key) for key in sorted(reader.get_variable_to_shape_map())})
        assert (newest / "place.json").exists()
    killed, whole = states
    assert list(killed) == list(whole)
    assert [key for key in killed if not np.array_equal(killed[key], whole[key])] == []


@pytest.mark.parametrize("which", ["best", "last"])
def test_kept_models_hold_the_same_weights(runs, which):
    killed, whole = (zipfile.ZipFile(runs[0] / name / which / "model.keras") for name in ("killed", "whole"))
    assert killed.read("model.weights.h5") == whole.read("model.weights.h5")


def test_nothing_unfinished_is_left(runs):
    places = list((runs[0] / "killed" / "checkpoints").iterdir())
    assert len(places) == 2
    assert all((place / "place.json").exists() for place in places)
    left = [path.name for path in (runs[0] / "killed").rglob("*") if ".part" in path.name]
    assert left == []
