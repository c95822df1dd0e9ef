import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.reduction import as_logged, gathered, global_mean, global_sum
from kseg.registry import LOSSES

CASES = ["uneven", "one replica without a valid pixel", "no valid pixel", "all easy", "all equal"]


@pytest.fixture(scope="module")
def runs() -> dict:
    """What loss_replicas_run.py finds."""
    script = pathlib.Path(__file__).with_name("loss_replicas_run.py")
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("RUNS ")[1])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", LOSSES)
def test_two_replicas_have_value_and_gradients_of_one_device(runs, name, case):
    one, two = runs["losses"][name][case]["one"], runs["losses"][name][case]["two"]
    assert two["values"] == pytest.approx([one["value"] / 2] * 2, rel=1e-5, abs=1e-9)
    scale = np.abs(one["gradient"]).max()
    assert (scale > 0) == (case != "no valid pixel")
    np.testing.assert_allclose(two["gradient"], one["gradient"], rtol=1e-5, atol=1e-6 * scale)


def test_two_replicas_train_as_one_device_with_all_losses_at_once(runs):
    one, two = runs["trainings"]["one"], runs["trainings"]["two"]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5)
    np.testing.assert_allclose(two["weights"], one["weights"], atol=1e-6)


def test_sum_and_gathering_over_two_replicas_worked_by_hand(runs):
    """[[0, 1], [2, 3]] and [[4, 5]]: the sums of the columns are 6 and 9, of whose squares 117 is the sum."""
    pieces = runs["pieces"]
    assert pieces["total"] == [117, 117]
    assert pieces["gradient"] == [[[12, 18], [12, 18]], [[12, 18]]]
    assert pieces["everyone"] == [[[0, 1], [2, 3], [4, 5]]] * 2
    assert pieces["begin"] == [0, 2]


def test_with_one_replica_all_of_it_is_local():
    value = tf.Variable([1.0, 2.0])
    with tf.GradientTape() as tape:
        everyone, begin = gathered(value)
        loss = as_logged(tf.reduce_sum(global_sum(value)) + tf.reduce_sum(everyone))
    assert float(loss) == 6
    assert int(begin) == 0
    assert tape.gradient(loss, value).numpy().tolist() == [1, 1]


def test_the_mean_is_over_the_chosen():
    losses = tf.constant([1.0, 2.0, float("nan")])
    assert float(global_mean(losses, tf.constant([True, True, False]))) == 1.5
    assert float(global_mean(losses, tf.constant([False] * 3))) == 0
