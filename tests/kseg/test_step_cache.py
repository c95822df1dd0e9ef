"""The kept graph of a training step: what an equal training does with it, and what must not take it."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_resnet import shrink

from kseg import cache, trainer
from kseg.config import TrainConfig
from kseg.losses.build import build_loss
from kseg.metrics import ConfusionMatrix
from kseg.models import convolution
from kseg.models.convolution import Conv2D
from kseg.models.normalization import BatchNormalization
from kseg.models.trainee import Trainee
from kseg.optimizers import build_optimizer
from kseg.step_cache import keep_step

SIDE, CLASSES = 8, 3


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


@pytest.fixture(autouse=True)
def few_channels(monkeypatch):
    """Lets the small network below go by the ways of processors, whose gradients are their own."""
    for dtype, way in convolution.WAYS.items():
        monkeypatch.setitem(convolution.WAYS, dtype, way._replace(channels=3))


def network(dtype: str = "float32") -> keras.Model:
    images = keras.Input((SIDE, SIDE, 3), dtype="uint8", name="images")
    x = keras.layers.Rescaling(1 / 255)(images)
    own = {"padding": "same", "on_processor": True, "dtype": dtype}
    x = Conv2D(4, 3, kernel_initializer=keras.initializers.HeNormal(seed=1), **own)(x)
    x = Conv2D(4, 3, dilation_rate=2, kernel_initializer=keras.initializers.HeNormal(seed=4), **own)(x)
    x = keras.layers.Dropout(0.5, seed=2)(BatchNormalization(dtype=dtype)(x))
    x = keras.layers.Conv2D(CLASSES, 1, kernel_initializer=keras.initializers.HeNormal(seed=3), dtype="float32")(x)
    return keras.Model(images, x)


def train(identity: object = None, dtype: str = "float32", frozen: bool = False, **optimizer) -> list[np.ndarray]:
    """Two epochs of three batches; the scores after each, then all weights and optimizer variables."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)
    masks = random.integers(0, CLASSES, (6, SIDE, SIDE), dtype=np.uint8)
    batches = tf.data.Dataset.from_tensor_slices((images, masks)).batch(2, drop_remainder=True)
    model = Trainee(network(dtype))
    rule = build_optimizer("adam", **{"learning_rate": 0.01, **optimizer})
    rule.build(model.network.trainable_variables)
    model.network.layers[2].trainable = not frozen
    model.compile(
        optimizer=rule,
        loss=build_loss("cross_entropy+dice", class_weights=None, label_smoothing=0.0),
        metrics=[matrix := ConfusionMatrix(CLASSES)],
        auto_scale_loss=False,
    )
    variables = model.network.variables + rule.variables
    counted = [variable for metric in (*model.metrics, matrix) for variable in metric.variables]
    keep_step(
        model,
        [variable.value for variable in variables + counted],
        batches.element_spec,
        {"identity": [identity, dtype], **optimizer},
    )
    scores = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
    return [np.array(scores[name]) for name in sorted(scores)] + [np.array(variable) for variable in variables]


def assert_same(mine: list[np.ndarray], other: list[np.ndarray]):
    for one, two in zip(mine, other, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "options",
    [{}, {"loss_scaled": True, "accumulation_steps": 2, "clip_norm": 1.0}, {"dtype": "mixed_bfloat16"}],
    ids=str,
)
def test_an_equal_training_takes_the_kept_step_and_gives_the_same(kept, traced, monkeypatch, options):
    """The second one's optimizer has branches, functions of their own; the third's convolutions other gradients."""
    first = train(**options)
    assert (len(traced), len(list(kept.iterdir()))) == (1, 1)
    assert_same(train(**options), first)
    assert (len(traced), len(list(kept.iterdir()))) == (1, 1)
    monkeypatch.setenv("KSEG_CACHE", "off")
    assert_same(train(**options), first)
    assert len(traced) == 2


def test_another_training_traces_its_own(kept, traced, monkeypatch):
    train()
    train(identity="another")
    train(frozen=True)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    train()
    assert (len(traced), len(list(kept.iterdir()))) == (4, 4)


def test_a_graph_that_cannot_be_imported_is_traced_again(kept, traced):
    first = train()
    (path,) = kept.iterdir()
    content = path.read_bytes()[cache.DIGEST :]
    head, _, _ = content.partition(b"\n")
    for damaged in (b"{}\n", head + b"\nno graph"):
        path.write_bytes(cache.sealed(damaged))
        assert_same(train(), first)
    assert len(traced) == 3
    assert_same(train(), first)
    assert len(traced) == 3  # the last one was kept whole


def test_a_whole_training_keeps_its_step_and_takes_it(kept, traced, tiny_data, tmp_path, monkeypatch):
    shrink(monkeypatch)
    flags = {"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32, "base_size": 48}
    flags |= {
        "crop_size": 32,
        "mini_batch_size": 3,
        "epochs": 1,
        "mixed_precision": "float32",
        "validation_pictures": 1,
    }
    first, second = (
        trainer.train(TrainConfig(data=tiny_data, output_dir=str(tmp_path / name), **flags)) for name in "ab"
    )
    assert len(traced) == 1
    assert second == first
