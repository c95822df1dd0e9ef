"""What a data set settles in a configuration."""

import pytest

from kseg.config import TrainConfig
from kseg.data.augmentation import Augmentation
from kseg.errors import UsageError
from kseg.plan import augmentation, make_plan
from kseg.records import read_dataset


def plan(data: str, **flags):
    return make_plan(TrainConfig(data=data, output_dir="unused", **flags))


def test_class_weights(tiny_data):
    assert plan(tiny_data).class_weights is None
    assert plan(tiny_data, class_weights="1, 2.5").class_weights == (1.0, 2.5)
    zeros, ones = read_dataset(tiny_data).split("train").pixels_per_class
    balanced = plan(tiny_data, class_weights="balanced").class_weights
    assert balanced == pytest.approx([(zeros + ones) / (2 * zeros), (zeros + ones) / (2 * ones)])
    message = r"--class_weights=1,2,3: 3 weights; allowed: one for each of the 2 classes: dark, bright"
    with pytest.raises(UsageError, match=message):
        plan(tiny_data, class_weights="1,2,3")


def test_steps_of_an_epoch(tiny_data, capsys):
    assert plan(tiny_data, mini_batch_size=4).steps_per_epoch == 2  # 6 pictures
    settled = plan(tiny_data, mini_batch_size=4, num_training_samples=9)
    assert (settled.steps_per_epoch, settled.config.num_classes) == (3, 2)
    assert "warning: --num_training_samples=9, but train has 6 pictures" in capsys.readouterr().out


def test_a_training_without_an_update_is_refused(tiny_data):
    flags = {"mini_batch_size": 4, "epochs": 3}
    assert plan(tiny_data, gradient_accumulation_steps=6, **flags).steps_per_epoch == 2
    message = "--gradient_accumulation_steps=7: the whole training has only 6 batches, so no update; allowed: 1 to 6"
    with pytest.raises(UsageError, match=message):
        plan(tiny_data, gradient_accumulation_steps=7, **flags)


def test_augmentation_is_off_unless_asked_for():
    off = TrainConfig(data="d", output_dir="o")
    assert augmentation(off) == Augmentation()
    flags = {"color_jitter": True, "random_rotation": True, "random_blur": True, "random_vertical_flip": True}
    on = TrainConfig(
        data="d",
        output_dir="o",
        color_jitter_strength=0.3,
        random_rotation_degrees=5.0,
        class_balanced_crop=True,
        **flags,
    )
    assert augmentation(on) == Augmentation(
        random_blur=True, color_jitter=0.3, random_rotation=5.0, random_vertical_flip=True, class_balanced_crop=True
    )
