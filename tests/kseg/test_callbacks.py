"""Early stopping by hand-worked courses of mIOU, the metric line, the pictures' predictions."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg import pictures
from kseg.averaging import WeightAverage
from kseg.callbacks import ValidationPictures, improved, metric_line, should_stop
from kseg.evaluator import segment_with_model


def stops_after(mious: list[float], **rule) -> int | None:
    """The first epoch after which a training with this course stops."""
    return next((epoch for epoch in range(1, len(mious) + 1) if should_stop(mious[:epoch], **rule)), None)


def test_improvement_is_relative_to_the_best_so_far():
    assert improved([0.1], tolerance=0.5)
    assert improved([0.5, 0.2, 0.51], tolerance=0.0)
    assert not improved([0.5, 0.5], tolerance=0.0)
    assert not improved([0.5, 0.54], tolerance=0.1)  # 8 % better
    assert improved([0.5, 0.56], tolerance=0.1)  # 12 % better


@pytest.mark.parametrize(
    ("mious", "rule", "epoch"),
    [
        # best at epoch 2; epochs 3, 4 do not improve
        ([0.1, 0.3, 0.2, 0.3, 0.4], {"min_epochs": 0, "patience": 2, "tolerance": 0.0}, 4),
        # an improvement at epoch 4 starts the count anew
        ([0.1, 0.3, 0.2, 0.4, 0.4, 0.4], {"min_epochs": 0, "patience": 2, "tolerance": 0.0}, 6),
        # not before the minimum
        ([0.3, 0.2, 0.2, 0.2, 0.2], {"min_epochs": 5, "patience": 1, "tolerance": 0.0}, 5),
        # every epoch improves, but by less than a tenth
        ([0.50, 0.52, 0.54, 0.56, 0.58], {"min_epochs": 0, "patience": 2, "tolerance": 0.1}, 3),
        ([0.1, 0.2, 0.3, 0.4], {"min_epochs": 0, "patience": 1, "tolerance": 0.0}, None),
        # patience 0: the first epoch without an improvement
        ([0.1, 0.2, 0.2], {"min_epochs": 0, "patience": 0, "tolerance": 0.0}, 3),
    ],
)
def test_early_stopping(mious, rule, epoch):
    assert stops_after(mious, **rule) == epoch


def test_metric_line_is_what_a_tuner_reads():
    entry = {
        **{"epoch": 3, "train:loss": 0.43118, "train:mIOU": 0.5, "validation:loss": 0.512},
        **{"validation:pixel_accuracy": 0.841, "validation:mIOU": 0.55231, "images_per_second": 3.217},
    }
    line = metric_line(entry)
    assert line == (
        "epoch=3 train:loss=0.4312 validation:loss=0.5120 validation:pixel_accuracy=0.8410 "
        "validation:mIOU=0.5523 images_per_second=3.22"
    )
    assert re.search(r"validation:mIOU=([0-9.]+)", line).group(1) == "0.5523"


def test_pictures_are_predicted_with_the_averages_of_their_epoch(monkeypatch):
    """Of a network whose logits are its bias: first the averages say 1 and the weights 0, then the other way round."""
    drawn = []

    def triple(image, mask, prediction, labels):
        drawn.append(prediction)
        return np.concatenate([image] * 3, axis=1)

    monkeypatch.setattr(pictures, "triple", triple)
    dense = keras.layers.Dense(2)
    model = keras.Sequential([keras.Input((None, None, 3), dtype="uint8"), keras.layers.Rescaling(0.0), dense])
    dense.bias.assign([0.0, 1.0])
    average = WeightAverage(model.variables, decay=0.5)
    dataset = tf.data.Dataset.from_tensors((np.ones((1, 4, 5, 3), np.uint8), np.zeros((1, 4, 5), np.uint8)))
    shown = ValidationPictures(
        tf.summary.create_noop_writer(), dataset, None, 1, segment_with_model(model), average=average
    )
    for epoch, weights in enumerate([[1.0, 0.0], [0.0, 1.0]]):
        dense.bias.assign(weights)
        shown.on_epoch_end(epoch)
        np.testing.assert_array_equal(dense.bias.numpy(), weights)
        average.reset()
    assert [(prediction.shape, prediction.dtype) for prediction in drawn] == [((4, 5), np.uint8)] * 2
    assert [prediction.min() for prediction in drawn] == [prediction.max() for prediction in drawn] == [1, 0]
