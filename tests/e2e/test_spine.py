"""Folders in, served masks out: the commands of the README one after the other, as separate processes."""

import io
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

BIN = pathlib.Path(sys.executable).parent
# Small enough for seconds, and enough training for far better than guessing.
TRAIN = ["--backbone=resnet-18", "--use_pretrained_model=False", "--base_size=64", "--crop_size=64", "--epochs=2"]
TRAIN += ["--mini_batch_size=4", "--validation_mini_batch_size=1", "--learning_rate=0.02", "--mixed_precision=float32"]
TRAIN += ["--head_learning_rate_multiplier=1"]


def command(name: str, *arguments, status: int = 0) -> str:
    """Runs a console script as a user's shell would; returns its standard output."""
    done = subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == status, f"{name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout


def end_after_an_epoch(arguments: list[str]) -> str:
    """Starts kseg-train and asks it to end as soon as it reports its first epoch; returns its last line of errors."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([BIN / "kseg-train", *arguments], text=True, **pipes) as training:
        assert any(line.startswith("epoch=1 ") for line in training.stdout), "ended before its first epoch did"
        training.terminate()
        errors = training.stderr.read()
    assert training.returncode == 75, errors
    return errors.splitlines()[-1]


@pytest.fixture(scope="module")
def spine(tmp_path_factory) -> pathlib.Path:
    """A folder with pictures, records, a trained run and its export."""
    folder = tmp_path_factory.mktemp("spine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KSEG_CACHE", str(folder / "cache"))  # as users have it
        return _made(folder)


def _made(folder: pathlib.Path) -> pathlib.Path:
    sizes = ["--train_images=24", "--validation_images=6", "--size=72"]
    command("make-demo-dataset", f"--output={folder}/pictures", *sizes)
    for split in ("train", "validation"):
        source = [f"--images={folder}/pictures/{split}", f"--masks={folder}/pictures/{split}_annotation"]
        target = [f"--split={split}", f"--output={folder}/records", f"--classes={folder}/pictures/classes.txt"]
        command("convert-dataset", *source, *target, "--workers=1")
    train = [f"--data={folder}/records", f"--output_dir={folder}/run", *TRAIN]
    asked = end_after_an_epoch(train)
    assert re.fullmatch(r"kseg-train: SIGTERM: stopped after .*; a checkpoint is kept, .* goes on from it", asked)
    output = command("kseg-train", f"--flagfile={folder}/run/config.flags")
    assert re.search(rf"resuming {folder}/run after epoch 1( and step \d of 6)? of 2", output)
    assert next(line for line in output.splitlines() if line.startswith("epoch=")).startswith("epoch=2 ")
    command("kseg-export", f"--run={folder}/run", f"--export_dir={folder}/export")
    return folder


def test_an_ended_training_that_was_started_again_has_every_epoch_and_learns(spine):
    lines = [json.loads(line) for line in (spine / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert lines[1]["train:loss"] < lines[0]["train:loss"]


def test_run_and_export_score_the_same(spine):
    data = [f"--data={spine}/records", "--split=validation"]
    table = command("kseg-eval", f"--run={spine}/run", *data, f"--json={spine}/run.json")
    command("kseg-eval", f"--saved_model={spine}/export/1", *data, f"--json={spine}/export.json")
    run, export = (json.loads((spine / name).read_text()) for name in ("run.json", "export.json"))
    moved = np.abs(np.array(run["confusion"]) - np.array(export["confusion"])).sum() / 2
    assert moved <= np.sum(run["confusion"]) / 100_000
    best = max(json.loads(line)["validation:mIOU"] for line in (spine / "run" / "metrics.jsonl").open())
    assert run["mIOU"] == pytest.approx(best, abs=1e-3)
    for name in (spine / "pictures" / "classes.txt").read_text().split():
        assert name in table


@pytest.fixture(scope="module")
def predictions(spine) -> dict[str, pathlib.Path]:
    """Folders of the masks and overlays that the run and the export give for the validation pictures."""
    folders = {}
    for flag, model in (("run", "run"), ("saved_model", "export/1")):
        folders[flag] = spine / f"predicted-{flag}"
        target = [f"--images={spine}/pictures/validation", f"--output={folders[flag]}"]
        command("kseg-predict", f"--{flag}={spine}/{model}", *target)
    return folders


def test_predictions_of_run_and_export_are_the_same_masks(spine, predictions):
    pictures = sorted((spine / "pictures" / "validation").iterdir())
    for picture in pictures:
        one, two = (np.array(Image.open(folder / "masks" / f"{picture.stem}.png")) for folder in predictions.values())
        assert one.shape == Image.open(picture).size[::-1]
        assert (one != two).mean() <= 1e-5
    assert len(list((predictions["run"] / "overlays").iterdir())) == len(pictures)


# Runs without kseg and Keras being importable: what a machine that only serves has.
SERVE = """
import sys
sys.modules.update(dict.fromkeys(("kseg", "keras", "keras_cv", "tf_keras", "data_tools")))  # None = cannot be imported
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
pictures = [tf.io.read_file(path) for path in sys.argv[2:]]
for mask in served(image_bytes=tf.stack(pictures))["mask_bytes"].numpy():
    sys.stdout.buffer.write(len(mask).to_bytes(4, "big") + mask)
"""


def test_a_process_with_only_tensorflow_serves_the_same_masks(spine, predictions):
    pictures = sorted((spine / "pictures" / "validation").iterdir())[:3]
    arguments = [sys.executable, "-c", SERVE, spine / "export" / "1", *pictures]
    stream = io.BytesIO(subprocess.run(arguments, capture_output=True, check=True, cwd=spine).stdout)
    for picture in pictures:
        mask = np.array(Image.open(io.BytesIO(stream.read(int.from_bytes(stream.read(4), "big")))))
        predicted = predictions["saved_model"] / "masks" / f"{picture.stem}.png"
        np.testing.assert_array_equal(mask, np.array(Image.open(predicted)))
    assert stream.read() == b""


def test_another_configuration_does_not_go_on_with_the_run(spine):
    command("kseg-train", f"--flagfile={spine}/run/config.flags", "--epochs=3", status=1)
