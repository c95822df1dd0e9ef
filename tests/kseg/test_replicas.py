import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest


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
    assert len(runs["followed"]) == 4
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
