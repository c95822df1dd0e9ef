"""What a data set settles in a configuration."""

import dataclasses
import json
import pathlib
import shutil

import pytest
import tensorflow as tf

from kseg import checkpoints, records
from kseg.config import TrainConfig
from kseg.data.augmentation import Augmentation
from kseg.errors import RunError, UsageError
from kseg.plan import augmentation, make_plan
from kseg.records import DATASET_FILE, read_dataset


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


def with_label_map(tiny_data: str, folder, original) -> str:
    """A data set whose training split, and not its validation split, was converted through a label map."""
    dataset = read_dataset(tiny_data)
    train = dataclasses.replace(dataset.split("train"), label_map={"scale": 9, "original": original})
    for shard in (*train.shards, *dataset.split("validation").shards):
        (folder / shard.name).symlink_to(f"{tiny_data}/{shard.name}")
    dataset = dataclasses.replace(dataset, splits=dataset.splits | {"train": train})
    (folder / DATASET_FILE).write_text(dataset.to_json())
    return str(folder)


def test_a_run_knows_what_the_training_masks_call_the_classes(tiny_data, tmp_path):
    assert plan(tiny_data).dataset.labels.original is None
    data = with_label_map(tiny_data, tmp_path, {"values": [0, 9]})
    settled = plan(data, use_pretrained_model=False)
    assert settled.dataset.labels.original == (0, 9)
    config = dataclasses.replace(settled.config, output_dir=str(tmp_path / "run"))
    checkpoints.make_run(config, settled.dataset.labels)
    assert checkpoints.read_labels(config.output_dir).original == (0, 9)
    assert plan(data, train_split="validation").dataset.labels.original is None


@pytest.mark.parametrize("original", [{"values": [0]}, {"words": [1, 2]}, [1, 2]])
def test_a_damaged_label_map_is_named(tiny_data, tmp_path, original):
    with pytest.raises(RunError, match=r"dataset\.json: label_map of train: .*; run convert-dataset again"):
        plan(with_label_map(tiny_data, tmp_path, original))


def test_steps_of_an_epoch(tiny_data, capsys):
    assert plan(tiny_data, mini_batch_size=4).steps_per_epoch == 2  # 6 pictures
    settled = plan(tiny_data, mini_batch_size=4, num_training_samples=9)
    assert (settled.steps_per_epoch, settled.config.num_classes) == (3, 2)
    assert "warning: --num_training_samples=9, but train has 6 pictures" in capsys.readouterr().out


def test_specs_are_those_of_the_batches(tiny_data):
    settled = plan(tiny_data, mini_batch_size=4, crop_size=32)
    assert settled.training_specs == settled.training_data(range(1)).element_spec


def test_skipped_records_leave_the_training_that_the_others_would_make(tiny_data, tmp_path, capsys):
    damaged = pathlib.Path(shutil.copytree(tiny_data, tmp_path / "damaged"))
    without = pathlib.Path(shutil.copytree(tiny_data, tmp_path / "without"))
    path = damaged / records.shard_name("train", 0, 2)
    serialized = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    with tf.io.TFRecordWriter(str(without / path.name)) as writer:
        for record in serialized[:1] + serialized[2:]:
            writer.write(record)
    description = json.loads((without / "dataset.json").read_text())
    description["splits"]["train"]["shards"][0] |= {"examples": 2, "bytes": (without / path.name).stat().st_size}
    (without / "dataset.json").write_text(json.dumps(description))
    path.write_bytes(path.read_bytes().replace(serialized[1], serialized[1][:-1] + b"?"))

    flags = {"mini_batch_size": 4, "base_size": 48, "crop_size": 32}
    skipping, expected = plan(str(damaged), on_bad_record="skip", **flags), plan(str(without), **flags)
    for settled in (skipping, expected):
        assert (settled.config.num_training_samples, settled.steps_per_epoch) == (5, 2)
        assert settled.training.examples == 5
    with skipping.shards:
        contents = [[pathlib.Path(path).read_bytes() for path in one.training.paths] for one in (skipping, expected)]
        assert contents[0] == contents[1]
    with plan(str(damaged), on_bad_record="skip", num_training_samples=8, **flags).shards as shards:
        assert shards.open("train").examples == 5
    assert "warning: the run counts 8 pictures an epoch (" in (out := capsys.readouterr().out)
    assert "train now has 5 good ones" in out


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
