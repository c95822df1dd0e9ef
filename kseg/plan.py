"""A configuration and its data set, settled: what to read, how often, how the loss weighs it."""

import dataclasses
import math

import tensorflow as tf

from kseg import records, storage
from kseg.config import TrainConfig
from kseg.config.optimization import BALANCED
from kseg.config.values import SKIP
from kseg.data.augmentation import Augmentation
from kseg.data.damage import Source
from kseg.data.pipeline import WHOLE, Share, evaluation_dataset, train_dataset
from kseg.data.salvage import Shards
from kseg.errors import RunError, UsageError
from kseg.losses.build import balanced_weights
from kseg.progress import say


@dataclasses.dataclass(frozen=True)
class Plan:
    """A configuration with what the data set settles.

    Attributes:
        config: with num_classes and num_training_samples set.
        dataset: its labels know what the mask files of the training split call them.
        steps_per_epoch: training batches of an epoch.
        class_weights: one for each class in the loss, or None.
        shards: what is read of the data set; to be closed in the end.
    """

    config: TrainConfig
    dataset: records.Dataset
    steps_per_epoch: int
    class_weights: tuple[float, ...] | None
    shards: Shards

    @property
    def training(self) -> Source:
        """What is trained on."""
        return self.shards.open(self.config.train_split)

    @property
    def validation(self) -> Source:
        """What is scored after every epoch."""
        return self.shards.open(self.config.validation_split)

    def training_data(self, epochs: range, first_step: int = 0, share: Share = WHOLE) -> tf.data.Dataset:
        """The batches of `epochs`, counted from 0, but for the first `first_step`; see `train_dataset`."""
        config = self.config
        return train_dataset(
            self.training.paths,
            examples=self.training.examples,
            num_classes=self.training.num_classes,
            samples_per_epoch=config.num_training_samples,
            epochs=epochs,
            batch_size=config.mini_batch_size,
            base_size=config.base_size,
            crop_size=config.crop_size,
            seed=config.seed,
            augmentation=augmentation(config),
            first_step=first_step,
            share=share,
        )

    @property
    def training_specs(self) -> tuple[tf.TensorSpec, tf.TensorSpec]:
        """Of the images and the masks of a batch of `training_data`, without the second that making it takes."""
        config = self.config
        masks = tf.TensorSpec([config.mini_batch_size, config.crop_size, config.crop_size], tf.uint8)
        return tf.TensorSpec([*masks.shape, 3], tf.uint8), masks

    @property
    def validation_steps(self) -> int:
        """Batches of a validation."""
        return math.ceil(self.validation.examples / self.config.validation_mini_batch_size)

    def validation_data(self, share: Share = WHOLE) -> tf.data.Dataset:
        """The validation split once; see `evaluation_dataset`."""
        config = self.config
        return evaluation_dataset(
            self.validation.paths,
            examples=self.validation.examples,
            num_classes=self.validation.num_classes,
            batch_size=config.validation_mini_batch_size,
            crop_size=config.crop_size,
            share=share,
        )


def class_weights(config: TrainConfig, dataset: records.Dataset) -> tuple[float, ...] | None:
    """A weight for each class, or None for none.

    Raises:
        UsageError: if --class_weights lists more or fewer than there are classes.
    """
    if config.class_weights == BALANCED:  # of all pictures, also of those that --on_bad_record skips
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
        RunError: if the data set is not there or damaged; see `Shards.open`.
        UsageError: if num_classes or the number of class weights is not the data set's, or no update would be made.
    """
    dataset = _with_original(records.read_dataset(config.data), config.train_split)
    classes = dataset.labels.num_classes
    if config.num_classes not in (None, classes):
        raise UsageError(
            f"--num_classes={config.num_classes}: {config.data} was converted with {classes} classes; "
            f"allowed: {classes}, or leave the flag out"
        )
    shards = Shards(dataset, config.on_bad_record)
    try:
        return _settled(config, dataset, shards)
    except BaseException:
        shards.close()
        raise


def _with_original(dataset: records.Dataset, split: str) -> records.Dataset:
    """The data set, its labels with what the mask files of `split` call them, for kseg-predict --original_labels."""
    try:
        labels = dataset.labels.with_original(dataset.split(split).label_map)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        path = storage.join(dataset.folder, records.DATASET_FILE)
        raise RunError(f"{path}: label_map of {split}: {error!r}; run convert-dataset again") from None
    return dataclasses.replace(dataset, labels=labels)


def _settled(config: TrainConfig, dataset: records.Dataset, shards: Shards) -> Plan:
    """The plan; see `make_plan`."""
    examples = shards.open(config.train_split).examples
    samples = config.num_training_samples or examples
    if samples != examples and config.on_bad_record == SKIP:  # samples may be those of the run to resume
        say(
            f"warning: the run counts {samples} pictures an epoch (--num_training_samples, or those it began with); "
            f"{config.train_split} now has {examples} good ones"
        )
    elif samples != examples:
        say(
            f"warning: --num_training_samples={samples}, but {config.train_split} has {examples} pictures; "
            f"an epoch is {samples} pictures, as the flag says"
        )
    settled = dataclasses.replace(config, num_classes=dataset.labels.num_classes, num_training_samples=samples)
    steps = math.ceil(samples / config.mini_batch_size)
    if config.gradient_accumulation_steps > steps * config.epochs:
        raise UsageError(
            f"--gradient_accumulation_steps={config.gradient_accumulation_steps}: the whole training has only "
            f"{steps * config.epochs} batches, so no update; allowed: 1 to {steps * config.epochs}"
        )
    return Plan(settled, dataset, steps, class_weights(config, dataset), shards)
