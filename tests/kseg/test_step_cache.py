"""The kept graph of a training step: what an equal training does with it, and what must not take it."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from kseg import cache, checkpoints, trainer
from kseg.config import TrainConfig
from kseg.models.trainee import Trainee

pytestmark = pytest.mark.usefixtures("small_resnet")
FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48, "crop_size": 32},
    **{"mini_batch_size": 3, "epochs": 2, "validation_mini_batch_size": 1, "mixed_precision": "float32"},
    **{"validation_pictures": 0, "learning_rate": 0.01, "loss": "cross_entropy+dice", "class_weights": "1,2"},
}


@pytest.fixture
def kept(tmp_path, monkeypatch) -> pathlib.Path:
    """The folder of kept steps."""
    monkeypatch.setenv("KSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "steps"


@pytest.fixture
def traced(monkeypatch) -> list:
    """Grows by an entry whenever the network is called to train, that is, when a step is traced."""
    calls, call = [], Trainee.call

    def counted(self, images, training=False):
        calls.extend([images] if training else [])
        return call(self, images, training)

    monkeypatch.setattr(Trainee, "call", counted)
    return calls


def train(data: str, folder: pathlib.Path, **flags) -> tuple[list[dict], list[np.ndarray]]:
    """The metric lines but for the speed, and the last weights."""
    trainer.train(TrainConfig(data=data, output_dir=str(folder), **FLAGS | flags))
    lines = checkpoints.read_metrics(str(folder))
    for line in lines:
        del line["images_per_second"]
    return lines, checkpoints.load_segmenter(str(folder), "last")[0].get_weights()


@pytest.mark.parametrize("flags", [{}, {"mixed_precision": "float16", "aux_loss_weight": 0.5, "optimizer": "adam"}])
def test_an_equal_training_takes_the_kept_step_and_gives_the_same(kept, traced, tiny_data, tmp_path, flags):
    first = train(tiny_data, tmp_path / "first", **flags)
    assert (len(traced), len(list(kept.iterdir()))) == (1, 1)
    second = train(tiny_data, tmp_path / "second", **flags)
    assert (len(traced), len(list(kept.iterdir()))) == (1, 1)
    assert second[0] == first[0]
    for mine, other in zip(second[1], first[1], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_without_the_cache_the_results_are_the_same(kept, traced, tiny_data, tmp_path, monkeypatch):
    with_cache = train(tiny_data, tmp_path / "with", epochs=1)
    monkeypatch.setenv("KSEG_CACHE", "off")
    without = train(tiny_data, tmp_path / "without", epochs=1)
    assert len(traced) == 2
    assert without[0] == with_cache[0]
    for mine, other in zip(without[1], with_cache[1], strict=True):
        np.testing.assert_array_equal(mine, other)


def test_another_training_traces_its_own(kept, traced, tiny_data, tmp_path, monkeypatch):
    train(tiny_data, tmp_path / "a", epochs=1)
    train(tiny_data, tmp_path / "b", epochs=1, learning_rate=0.02)
    train(tiny_data, tmp_path / "c", epochs=1, class_weights="2,1")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    train(tiny_data, tmp_path / "d", epochs=1)
    assert (len(traced), len(list(kept.iterdir()))) == (4, 4)


def test_a_graph_that_cannot_be_imported_is_traced_again(kept, traced, tiny_data, tmp_path):
    train(tiny_data, tmp_path / "a", epochs=1)
    (path,) = kept.iterdir()
    key_less = path.read_bytes()[32:]
    head, _, _ = key_less.partition(b"\n")
    for content in (b"{}\n", head + b"\n", head + b"\nno graph", key_less[:-1000]):
        path.write_bytes(cache.sealed(content))
        train(tiny_data, tmp_path / "b" / str(len(traced)), epochs=1)
    assert len(traced) == 5
    assert path.read_bytes()[32:].startswith(head)


def test_several_devices_trace_as_ever(kept, traced, tiny_data, tmp_path):
    """A step for replicas is another graph, and not kept."""
    with tf.distribute.OneDeviceStrategy("/cpu:0").scope():
        train(tiny_data, tmp_path / "a", epochs=1)
    assert traced and not kept.exists()
