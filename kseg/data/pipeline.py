"""TFRecord shards to batches: one pipeline to train on and one to evaluate on.

Both read top to bottom; each step says why it stands where it does.
"""

import dataclasses
import functools

import tensorflow as tf

from kseg import records, storage
from kseg.data import opening
from kseg.data.augmentation import OFF, Augmentation
from kseg.data.order import training_records
from kseg.data.streaming import are_remote, as_written, shard
from kseg.data.transforms import augmented_crop, drawn, evaluation_crop
from kseg.labels import IGNORE
from kseg.memory import cores

# Pictures decoded and cropped by one call (`opening.crops`), if their records have on average up to so many bytes
# together: large ones gain nothing by it, and all pictures of a call are in memory at once.
TOGETHER, TOGETHER_BYTES = 4, 2**20
# Calls at once: two more than cores, as some wait for Python's lock. AUTOTUNE, which tries other numbers now and then,
# is 2 % slower on two cores, and can stay at one call for long.
PARALLEL = cores() + 2
# Keys of what several devices evaluate: pictures, and as many zeros as count among them.
COUNTED, IMAGES = "counted", "images"


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of every batch that one machine reads: its devices take equal parts, one after the other.

    Attributes:
        worker, workers: which machine, from 0, of how many.
        devices: of each machine.
    """

    worker: int = 0
    workers: int = 1
    devices: int = 1

    @property
    def replicas(self) -> int:
        """Devices of all machines."""
        return self.workers * self.devices

    def of(self, dataset: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
        """What this part has of a stream of (place, picture), place int64 [] counted from 0 or a multiple of 2^32."""

        def holds(place: tf.Tensor, *_) -> tf.Tensor:
            return tf.equal(place % 2**32 % batch_size // (batch_size // self.workers), self.worker)

        return dataset if self.workers == 1 else dataset.filter(as_written(holds))


WHOLE = Share()


def train_dataset(
    paths: list[str],
    *,
    examples: int,
    num_classes: int,
    samples_per_epoch: int,
    epochs: range,
    batch_size: int,
    base_size: int,
    crop_size: int,
    seed: int,
    augmentation: Augmentation = OFF,
    first_step: int = 0,
    share: Share = WHOLE,
) -> tf.data.Dataset:
    """Augmented training batches, all epochs in one stream, ceil(samples_per_epoch / batch_size) to an epoch.

    Args:
        paths, examples, num_classes: the shards in order, how many pictures are in them, classes of the data set.
        samples_per_epoch: before the last batch is filled up; more than there are go round again, in another order.
        epochs: counted from 0: range(3, 5) gives what range(0, 5) gives after its third epoch.
        batch_size, base_size, crop_size, augmentation: over all devices, B below; of `training_crop`, crop_size is c.
        seed: 0 to 2^63 - 1; picture k of epoch e depends only on (seed, e, k) and the shards.
        first_step: batches of the first of `epochs` that are left out, for a training that goes on in its midst.
        share: what is read of each batch, which its devices must divide; the other pictures are not decoded.

    Returns:
        Batches of images uint8 [B, c, c, 3] and masks uint8 [B, c, c]; for several devices one after the other a batch
        of B / replicas, and the dataset calls itself infinite (`_endless`). Iterating raises FailedPreconditionError
        unless the shards hold `examples` pictures, DataLossError or InvalidArgumentError (of `opening`) at a bad one.
    """
    steps, each = -(-samples_per_epoch // batch_size), batch_size // share.replicas
    size = sum(storage.size(path) for path in paths) / examples
    dataset = training_records(paths, examples, size, steps * batch_size, epochs, seed, first_step * batch_size)
    crops = _cropping(num_classes, seed, base_size=base_size, crop_size=crop_size, augmentation=augmentation)
    # Decoded after shuffling, as the buffer holds encoded pictures, and after the epochs are joined, to idle at no end.
    together = _together(batch_size // share.workers, size)
    dataset = _cropped(share.of(dataset, batch_size), crops, augmentation, each, together)
    dataset = _endless(dataset, (steps * len(epochs) - first_step) * share.devices, share)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


def evaluation_dataset(
    paths: list[str], *, examples: int, num_classes: int, batch_size: int, crop_size: int, share: Share = WHOLE
) -> tf.data.Dataset:
    """Every picture once, in the order of the records; its cardinality is ceil(examples / batch_size).

    Args:
        paths: the shards of the split, in order.
        examples: pictures in these shards.
        num_classes: of the data set.
        batch_size: 1 gives whole pictures of any size; more gives batches of centre crops, the last as long as it is.
        crop_size: pixels, c below; unused when batch_size is 1.
        share: what is read of each batch; see `_shared_evaluation`.

    Returns:
        Batches of images uint8 [B, c, c, 3] and masks uint8 [B, c, c], or of [1, H, W, 3] and [1, H, W].
        Iterating raises as it does for `train_dataset`.
    """

    def prepared(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, mask = _decoded(serialized, num_classes)
        if batch_size == 1:
            return image, mask
        return evaluation_crop(image, mask, crop_size=crop_size)

    # No shuffling and no interleaving: predictions can be told apart by their place.
    dataset = _records(paths)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(examples))
    if share.replicas > 1:
        dataset = _shared_evaluation(dataset, prepared, -(-examples // batch_size), batch_size, crop_size, share)
    else:
        dataset = dataset.map(as_written(prepared), num_parallel_calls=PARALLEL, deterministic=True)
        dataset = dataset.batch(batch_size)
    return dataset.with_options(_options()).prefetch(tf.data.AUTOTUNE)


def _shared_evaluation(
    dataset: tf.data.Dataset, prepared, steps: int, batch_size: int, crop_size: int, share: Share
) -> tf.data.Dataset:
    """The batches of the devices of one machine, one after the other, `share.devices` for each of `steps` batches.

    Keras and TensorFlow's convolutions fail on a device that gets no picture, and machines that wait for each other
    must take as many steps. So a batch is filled up, until all devices have as many, by black pictures whose masks are
    all 255, which no score counts.

    Returns:
        ({COUNTED: uint8 [n], IMAGES: uint8 [B, H, W, 3]}, masks uint8 [B, H, W]), n of the B pictures not black. The
        first dimension of what comes first is what Keras weights a batch's loss by.
    """
    each = -(-batch_size // share.replicas)
    filled = each * share.replicas

    def filled_up(serialized: tf.Tensor) -> tf.Tensor:
        return tf.pad(serialized, [[0, filled - tf.shape(serialized)[0]]])  # by empty strings

    def picture(place: tf.Tensor, serialized: tf.Tensor):
        black = (
            tf.zeros([crop_size, crop_size, 3], tf.uint8),
            tf.fill([crop_size, crop_size], tf.constant(IGNORE, tf.uint8)),
        )
        there = tf.strings.length(serialized) > 0
        return there, *tf.cond(there, lambda: prepared(serialized), lambda: black)

    def batch(there: tf.Tensor, images: tf.Tensor, masks: tf.Tensor):
        return {COUNTED: tf.zeros_like(tf.boolean_mask(there, there), tf.uint8), IMAGES: images}, masks

    dataset = share.of(dataset.batch(batch_size).map(as_written(filled_up)).unbatch().enumerate(), filled)
    dataset = dataset.map(as_written(picture), num_parallel_calls=PARALLEL, deterministic=True)
    dataset = dataset.batch(each, drop_remainder=True).map(as_written(batch))
    return _endless(dataset, steps * share.devices, share)


def _endless(dataset: tf.data.Dataset, batches: int, share: Share) -> tf.data.Dataset:
    """The dataset with its cardinality, `batches`; where several devices share one it is said to have no end.

    For else TensorFlow asks all devices of all machines before every step whether there is a batch for them.
    """
    if share.replicas > 1:
        batches = tf.data.INFINITE_CARDINALITY
    return dataset.apply(tf.data.experimental.assert_cardinality(batches))


def _cropped(
    dataset: tf.data.Dataset, crops, augmentation: Augmentation, batch_size: int, together: int
) -> tf.data.Dataset:
    """Batches of a stream of (place, serialised example), whose length both numbers divide; see `_cropping`."""
    dataset = dataset.batch(together, drop_remainder=True)  # drops none, nor below
    dataset = dataset.map(as_written(crops), num_parallel_calls=PARALLEL, deterministic=True)
    if augmentation.changes_crops:  # one by one: beside input_wait.OPTION_MS a call is little
        change = as_written(functools.partial(augmented_crop, augmentation=augmentation))
        dataset = dataset.unbatch().map(change, num_parallel_calls=PARALLEL, deterministic=True)
        return dataset.batch(batch_size, drop_remainder=True)
    return dataset if together == batch_size else dataset.rebatch(batch_size, drop_remainder=True)


def _together(batch_size: int, size: float) -> int:
    """How many pictures to decode and crop by one call, a divisor of batch_size, given a record's average bytes."""
    most = max(1, min(TOGETHER, int(TOGETHER_BYTES / size)))
    return max(count for count in range(1, most + 1) if batch_size % count == 0)


def _cropping(num_classes: int, seed: int, *, base_size: int, crop_size: int, augmentation: Augmentation):
    """The function (places int64 [n], serialised examples string [n]) -> their crops.

    Images uint8 [n, c, c, 3] and masks uint8 [n, c, c]; if the augmentation changes crops also what `augmented_crop`
    wants, plans int64 [n, 5] and seeds int64 [n, 2].
    """
    sizes = {"base_size": base_size, "crop_size": crop_size}

    def crops(places: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, ...]:
        record, of_all = records.parse(serialized), tf.fill(places.shape, tf.constant(seed, tf.int64))
        encoded, seeds = (record[records.IMAGE], record[records.MASK]), tf.stack([of_all, places], axis=1)
        draws = tf.stack([drawn(picture_seed, augmentation) for picture_seed in tf.unstack(seeds)])
        images, masks, plans = opening.crops(*encoded, draws, num_classes, **sizes)
        return (images, masks, plans, seeds) if augmentation.changes_crops else (images, masks)

    return crops


def _decoded(serialized: tf.Tensor, num_classes: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A serialised example, string [] -> image uint8 [H, W, 3] and mask uint8 [H, W], checked to score right."""
    record = records.parse(serialized)
    image, mask = records.decode(record)
    return image, opening.checked(record[records.MASK], mask, tf.shape(image)[:2], num_classes)


def _records(paths: list[str]) -> tf.data.Dataset:
    """Serialised examples of the shards, one shard after the other."""
    paths, remote = [storage.prepare(path) for path in paths], are_remote(paths)
    if not remote:
        return tf.data.TFRecordDataset(paths)
    return tf.data.Dataset.from_tensor_slices(paths).flat_map(as_written(lambda path: shard(path, remote)))


def _options() -> tf.data.Options:
    """Order kept whatever the parallelism; several machines share out batches, not shard files."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
