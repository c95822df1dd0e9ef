import json
import os
import pathlib
import signal
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import processes
import pytest
import tensorflow as tf

from kseg import checkpoints, trainer
from kseg.config import TrainConfig


@pytest.fixture(scope="module")
def runs() -> dict:
    """What replica_run.py did on one device, and mirrored on two."""
    script = pathlib.Path(__file__).with_name("replica_run.py")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("RUNS ")[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_replicas_train_the_same_weights_as_one_device(runs, optimizer):
    """Loss, gradients and rates, with very different counts of ignored pixels and a last batch of 2 + 1 pictures."""
    one, two = runs[optimizer]["one"], runs[optimizer]["two"]
    np.testing.assert_allclose(one["weights"], two["weights"], atol=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_two_replicas_log_the_same_losses_and_scores(runs, optimizer):
    one, two = runs[optimizer]["one"]["logs"], runs[optimizer]["two"]["logs"]
    names = {"loss", "pixel_accuracy", "mIOU"}
    assert set(one) == names | {f"val_{name}" for name in names}
    assert two == pytest.approx(one, rel=1e-5)


def test_every_valid_pixel_is_counted_once_on_two_replicas(runs):
    assert runs["sgd"]["two"]["counted"] == runs["sgd"]["one"]["counted"] == runs["sgd"]["valid"]


def test_gradients_are_scaled_accumulated_and_clipped_after_their_sum(runs):
    """A norm, and what overflows, is that of the whole batch, and the replicas stay the same."""
    assert len(runs["followed"]) == 5
    for run in runs["followed"]:
        options, one, two = run["options"], run["one"], run["two"]
        assert two["updates"] == one["updates"] == 6 // options["accumulation_steps"]
        assert two["skipped"] == one["skipped"] == (2 if options["loss_scaled"] else 0)
        for alone, (first, second) in zip(one["weights"], two["weights"], strict=True):
            assert first == second, options
            np.testing.assert_allclose(first, alone[0], rtol=1e-6, err_msg=str(options))


def test_each_replica_averages_its_own_statistics(runs):
    """0.1 * 1 + 0.9 * 11; half of 2 and of 6, each on its replica, times 0.9."""
    weight, mean = runs["averaged"]["swapped"]
    np.testing.assert_allclose(weight, [10.0, 10.0], rtol=1e-6)
    np.testing.assert_allclose(np.ravel(mean), [0.9 * 1, 0.9 * 3], rtol=1e-6)
    assert runs["averaged"]["back"] == [[11.0, 11.0], [[1.0], [3.0]]]


@pytest.fixture(scope="module")
def normalised() -> dict:
    """The weights that norm_run.py trains on one device, on two and with two workers; a list for the two workers."""
    one, two = processes.start("norm_run.py", 1), processes.start("norm_run.py", 2)
    running = [one, two, *processes.start_workers("norm_run.py", 1, there=processes.addresses(2))]
    try:
        found = []
        for status, output, errors in processes.ended(running):
            assert status == 0, errors[-3000:]
            found.append(json.loads(output.split("WEIGHTS ")[1]))
        return {"one": found[0], "two": found[1], "workers": found[2:]}
    finally:
        processes.stop(running)


def test_syncbn_takes_the_statistics_of_all_devices_of_all_workers(normalised):
    one = normalised["one"]["True"]
    for several in (normalised["two"], *normalised["workers"]):
        np.testing.assert_allclose(several["True"], one, atol=1e-5)
        assert np.abs(np.subtract(several["False"], one)).max() > 0.01


def test_without_syncbn_the_statistics_alone_differ_from_one_device(normalised):
    """Two devices train what one does that normalises each half of a batch by itself; dropout is that of one."""
    halves = normalised["one"]["halves"]
    assert np.abs(np.subtract(halves, normalised["one"]["False"])).max() > 0.01
    first, second = (each["False"] for each in normalised["workers"])
    np.testing.assert_allclose(normalised["two"]["False"], halves, atol=1e-5)
    np.testing.assert_allclose(first, halves, atol=1e-5)
    # Convolution, gamma and beta before the statistics, which are each worker's own, and the last kernel after them.
    statistics = slice(3 * 3 * 3 * 4 + 4 + 4 + 4, 3 * 3 * 3 * 4 + 4 + 4 + 4 + 8)
    assert np.abs(np.subtract(second, first)[statistics]).min() > 0.001
    np.testing.assert_allclose(np.delete(second, statistics), np.delete(halves, statistics), atol=1e-5)


# Maps of 8 x 8 where statistics are taken, three steps an epoch, and three validation pictures in batches of two.
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 8, "base_size": 96, "crop_size": 64},
    **{"mini_batch_size": 2, "epochs": 2, "validation_mini_batch_size": 2, "mixed_precision": "float32"},
    **{"learning_rate": 0.0005, "class_weights": "balanced", "syncbn": True, "validation_pictures": 1},
    **{"loss": "ohem", "clip_norm": 1.0, "ema_decay": 0.9, "checkpoint_every_steps": 1, "keep_checkpoints": 9},
}


@pytest.fixture(scope="module")
def trained(tiny_data, small_resnet, tmp_path_factory) -> dict:
    """Runs of kseg-train: their folders by name, and what two workers printed: asked to end, and started again."""
    folder = tmp_path_factory.mktemp("trained")
    flags = [f"--data={tiny_data}", *(f"--{name}={value}" for name, value in FLAGS.items())]
    there = processes.addresses(2)
    environment = {"KSEG_CACHE": str(folder / "cache")}
    flags_of_workers = [*flags, f"--output_dir={folder / 'workers'}"]
    workers = processes.start_workers("worker_run.py", *flags_of_workers, there=there, **environment)
    running = [*workers]
    try:
        processes.await_line(workers[0], "epoch=1 ")
        workers[1].send_signal(signal.SIGTERM)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KSEG_CACHE", environment["KSEG_CACHE"])
            trainer.train(TrainConfig(data=tiny_data, output_dir=str(folder / "one"), **FLAGS))
        ends = processes.ended(workers)
        workers = processes.start_workers("worker_run.py", *flags_of_workers, there=there, **environment)
        two = [f"--output_dir={folder / 'two'}", "--logical_devices=2"]
        running += [*workers, processes.start("worker_run.py", *flags, *two, **environment)]
        outcomes = processes.ended(running[2:])
    finally:
        processes.stop(running)
    assert [outcome[0] for outcome in outcomes] == [0] * 3, outcomes
    folders = {name: folder / name for name in ("one", "two", "workers", "cache")}
    return folders | {"ends": ends, "said": outcomes[:2], "there": there}


def weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Of the last epoch's model, by their place in the file."""
    found = {}
    with zipfile.ZipFile(folder / "last" / "model.keras") as archive, archive.open("model.weights.h5") as file:
        h5py.File(file).visititems(lambda name, item: found.update({name: item}))
        return {name: item[...] for name, item in found.items() if isinstance(item, h5py.Dataset)}


@pytest.mark.parametrize("name", ["two", "workers"])
def test_several_devices_make_the_same_run_as_one(trained, name):
    """Losses with the auxiliary head's, scores, and the averaged weights after two epochs."""
    several, one = (checkpoints.read_metrics(str(trained[kind])) for kind in (name, "one"))
    assert len(one) == 2
    for found, expected in zip(several, one, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)  # one of some 4,000 pixels between two classes changes 2.5e-4
        losses = {name: value for name, value in expected.items() if name.endswith("loss")}
        assert len(losses) == 2
        assert {name: found[name] for name in losses} == pytest.approx(losses, rel=1e-4)
    several, one = weights(trained[name]), weights(trained["one"])
    assert len(one) > 50
    for place, expected in one.items():
        np.testing.assert_allclose(several[place], expected, rtol=1e-4, atol=1e-4, err_msg=place)


def state(folder: pathlib.Path) -> list[np.ndarray]:
    """What the newest checkpoint holds, in order: weights, statistics, optimizer, moving average."""
    reader = tf.train.load_checkpoint(str(max((folder / "checkpoints").iterdir()) / "state"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("variables/")]
    return [reader.get_tensor(name) for name in sorted(names, key=lambda name: int(name.split("/")[1]))]


@pytest.mark.parametrize("name", ["two", "workers"])
def test_every_variable_of_the_state_is_the_same_to_its_own_scale(trained, name):
    """The momentum too, which holds the gradients of all six steps, whatever these move a weight by."""
    pairs = zip(state(trained[name]), state(trained["one"]), strict=True)
    pairs = [(found, expected) for found, expected in pairs if expected.dtype == np.float32]
    errors = [np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-12) for found, expected in pairs]
    assert len(errors) > 150
    print("ERRORS", sorted(errors)[-12:], sum(np.abs(expected).max() == 0 for _, expected in pairs))
    assert max(errors) < 1e-3


@pytest.mark.parametrize("name", ["two", "workers"])
def test_the_confusion_matrix_counts_the_same_pixels(trained, name):
    """Of the first two steps of the second epoch, kept with their checkpoint."""
    places = [trained[kind] / "checkpoints" / "epoch-00001-step-0000002" / "place.json" for kind in (name, "one")]
    found, expected = (json.loads(place.read_text())["scores"][-1]["value"] for place in places)
    assert np.shape(expected) == (2, 2)
    assert np.sum(found) == np.sum(expected) > 5000
    assert np.abs(np.subtract(found, expected)).sum() <= 4  # pixels between two classes


def test_the_first_worker_alone_prints_and_writes(trained):
    (_, chief, _), (_, other, errors) = trained["said"]
    first, second = (f"worker {index} ({address})" for index, address in enumerate(trained["there"]))
    assert other == f"{second}: {first} prints and writes\n"
    assert "epoch" not in errors  # no bar either; newer TensorFlows log a line or two
    assert f"2 devices of {first}, {second}\n" in chief
    assert [line.partition(" ")[0] for line in chief.splitlines() if line.startswith("epoch=")] == ["epoch=2"]
    assert len(list((trained["workers"] / "tensorboard").iterdir())) == 2  # the first's, of two starts


def test_a_signal_to_one_worker_ends_all_after_the_same_step_and_all_go_on(trained):
    """SIGTERM to the second: the first writes the checkpoint, with which both then made the run that one device did."""
    after = []
    for (status, _, errors), why in zip(trained["ends"], ("another worker was asked to end", "SIGTERM"), strict=True):
        assert status == 75
        (line,) = [line for line in errors.splitlines() if line.startswith("kseg-train: ")]
        assert line.startswith(f"kseg-train: {why}: stopped after ")
        after.append(line.partition(": stopped ")[2])
    assert after[0] == after[1]
    assert after[0].endswith("a checkpoint is kept, the same command goes on from it")
    assert "resuming" in trained["said"][0][1]


def test_several_devices_keep_no_step(trained):
    """A kept step is one replica's: its sums over the others are no part of a graph that could be imported."""
    kept = [path for path in trained["cache"].rglob("*") if path.is_file()]
    assert [path.parent.name for path in kept] == ["steps"]  # of the run on one device
