"""A configuration and its data set, settled: what to read, how often, how the loss weighs it."""

import dataclasses
import functools
import math

import tensorflow as tf

from kseg import records
from kseg.config import TrainConfig
from kseg.config.optimization import BALANCED
from kseg.data.augmentation import Augmentation
from kseg.data.pipeline import evaluation_dataset, train_dataset
from kseg.errors import UsageError
from kseg.losses.build import balanced_weights
from kseg.progress import say


@dataclasses.dataclass(frozen=True)
class Plan:
    """A configuration with what the data set settles.

    Attributes:
        config: with num_classes and num_training_samples set.
        steps_per_epoch: training batches of an epoch.
        class_weights: one for each class in the loss, or None.
    """

    config: TrainConfig
    dataset: records.Dataset
    steps_per_epoch: int
    class_weights: tuple[float, ...] | None

    @functools.cached_property
    def training_paths(self) -> list[str]:
        """Shards, each looked for once: on remote storage that is a request a shard."""
        return self.dataset.shard_paths(self.config.train_split)

    @functools.cached_property
    def validation_paths(self) -> list[str]:
        """Shards of the validation split."""
        return self.dataset.shard_paths(self.config.validation_split)

    def training_data(self, epochs: range) -> tf.data.Dataset:
        """The batches of `epochs`, counted from 0; see `train_dataset`."""
        config = self.config
        return train_dataset(
            self.training_paths,
            examples=self.dataset.split(config.train_split).examples,
            samples_per_epoch=config.num_training_samples,
            epochs=epochs,
            batch_size=config.mini_batch_size,
            base_size=config.base_size,
            crop_size=config.crop_size,
            seed=config.seed,
            augmentation=augmentation(config),
        )

    def validation_data(self, replicas: int = 1) -> tf.data.Dataset:
        """The validation split once; see `evaluation_dataset`."""
        config = self.config
        return evaluation_dataset(
            self.validation_paths,
            examples=self.dataset.split(config.validation_split).examples,
            batch_size=config.validation_mini_batch_size,
            crop_size=config.crop_size,
            replicas=replicas,
        )


def class_weights(config: TrainConfig, dataset: records.Dataset) -> tuple[float, ...] | None:
    """A weight for each class, or None for none.

    Raises:
        UsageError: if --class_weights lists more or fewer than there are classes.
    """
    if config.class_weights == BALANCED:
        return balanced_weights(dataset.split(config.train_split).pixels_per_class)
    weights, labels = config.listed_class_weights, dataset.labels
    if weights is not None and len(weights) != labels.num_classes:
        raise UsageError(
            f"--class_weights={config.class_weights}: {len(weights)} weights; allowed: one for each of the "
            f"{labels.num_classes} classes: {', '.join(labels.names)}"
        )
    return weights


def augmentation(config: TrainConfig) -> Augmentation:
    """What the flags ask for: a strength where its switch is on, else 0."""
    return Augmentation(
        random_blur=config.random_blur,
        color_jitter=config.color_jitter_strength if config.color_jitter else 0.0,
        random_rotation=config.random_rotation_degrees if config.random_rotation else 0.0,
        random_vertical_flip=config.random_vertical_flip,
        class_balanced_crop=config.class_balanced_crop,
    )


def make_plan(config: TrainConfig) -> Plan:
    """Reads dataset.json and settles num_classes and num_training_samples in the configuration.

    Raises:
        UsageError: if num_classes or the number of class weights is not the data set's, or no update would be made.
    """
    dataset = records.read_dataset(config.data)
    classes = dataset.labels.num_classes
    if config.num_classes not in (None, classes):
        raise UsageError(
            f"--num_classes={config.num_classes}: {config.data} was converted with {classes} classes; "
            f"allowed: {classes}, or leave the flag out"
        )
    examples = dataset.split(config.train_split).examples
    samples = config.num_training_samples or examples
    if samples != examples:
        say(
            f"warning: --num_training_samples={samples}, but {config.train_split} has {examples} pictures; "
            f"an epoch is {samples} pictures, as asked"
        )
    settled = dataclasses.replace(config, num_classes=classes, num_training_samples=samples)
    steps = math.ceil(samples / config.mini_batch_size)
    if config.gradient_accumulation_steps > steps * config.epochs:
        raise UsageError(
            f"--gradient_accumulation_steps={config.gradient_accumulation_steps}: the whole training has only "
            f"{steps * config.epochs} batches, so no update; allowed: 1 to {steps * config.epochs}"
        )
    return Plan(settled, dataset, steps, class_weights(config, dataset))
