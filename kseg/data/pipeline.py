"""TFRecord shards to batches: one pipeline to train on and one to evaluate on.

Both read top to bottom; each step says why it stands where it does.
"""

import dataclasses

import tensorflow as tf

from kseg import records, storage
from kseg.data import opening
from kseg.data.augmentation import OFF, Augmentation
from kseg.data.streaming import are_remote, shard
from kseg.data.transforms import cropped, drawn, evaluation_crop
from kseg.labels import IGNORE

# Shards read at once, a record of each in turn. A number, since AUTOTUNE would take one that depends on the
# processor, and with it the order of the pictures would.
OPEN_SHARDS = 8
# The shuffle buffer, of encoded pictures: 5,000 of 480 x 360 pixels (0.05 MB each), 60 of 12 megapixels (4 MB each).
SHUFFLE_BYTES = 256 * 2**20
# Records read ahead of the decoder, so that the next epoch's buffer fills while this epoch's last pictures are decoded:
# for a buffer of 170 MB the step between two epochs waited 3 to 150 ms, and 80 to 220 ms without.
READ_AHEAD = 64
# Pictures decoded and cropped at once.
PARALLEL = tf.data.AUTOTUNE
# Around functions without Python's control flow on tensors: to look for some took 1.3 s of a start.
as_written = tf.autograph.experimental.do_not_convert
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
        unless the shards hold `examples` pictures, DataLossError or InvalidArgumentError at a bad one (`opened`).
    """
    steps = -(-samples_per_epoch // batch_size)
    augmented = _augmenting(num_classes, seed, base_size=base_size, crop_size=crop_size, augmentation=augmentation)
    dataset = _training_records(paths, examples, steps * batch_size, epochs, seed, left_out=first_step * batch_size)
    dataset = share.of(dataset, batch_size)
    # Decoded after shuffling, as the buffer holds encoded pictures, and after the epochs are joined, to idle at no end.
    dataset = dataset.map(as_written(augmented), num_parallel_calls=PARALLEL, deterministic=True)
    dataset = dataset.batch(batch_size // share.replicas, drop_remainder=True)  # drops none: an epoch is whole batches
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
        dataset = dataset.map(as_written(prepared), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
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
    dataset = dataset.map(as_written(picture), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(each, drop_remainder=True).map(as_written(batch))
    return _endless(dataset, steps * share.devices, share)


def _endless(dataset: tf.data.Dataset, batches: int, share: Share) -> tf.data.Dataset:
    """The dataset with its cardinality, `batches`; where several devices share one it is said to have no end.

    For else TensorFlow asks all devices of all machines before every step whether there is a batch for them.
    """
    if share.replicas > 1:
        batches = tf.data.INFINITE_CARDINALITY
    return dataset.apply(tf.data.experimental.assert_cardinality(batches))


def _augmenting(num_classes: int, seed: int, *, base_size: int, crop_size: int, augmentation: Augmentation):
    """The function (place int64 [], serialised example string []) -> its `transforms.training_crop`."""
    sizes = {"base_size": base_size, "crop_size": crop_size}

    def augmented(place: tf.Tensor, serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        record, seeds = records.parse(serialized), tf.stack([tf.constant(seed, tf.int64), place])
        encoded = record[records.IMAGE], record[records.MASK]
        parts = opening.opened(*encoded, *drawn(seeds, augmentation), num_classes, **sizes)
        return cropped(*parts, seeds, crop_size=crop_size, augmentation=augmentation)

    return augmented


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


def _training_records(
    paths: list[str], examples: int, per_epoch: int, epochs: range, seed: int, left_out: int
) -> tf.data.Dataset:
    """The records of `epochs`, `per_epoch` of each but for the first `left_out` of all: (place int64 [], serialised
    example string []).

    `place` is epoch x 2^32 + k: one number that stands for picture k of an epoch and seeds its augmentation. The
    stream does not depend on the epochs before `epochs`, on the processor or on TensorFlow's global seed.
    """
    passes = -(-per_epoch // examples)
    buffer = _shuffle_buffer(paths, examples)

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        first = epoch * 2**32
        dataset = tf.data.Dataset.range(passes)
        dataset = dataset.flat_map(lambda index: _shuffled_records(paths, examples, buffer, seed, first + index))
        return dataset.take(per_epoch).enumerate(first)

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_records)
    return dataset.skip(left_out).prefetch(READ_AHEAD)


def _shuffled_records(paths: list[str], examples: int, buffer: int, seed: int, place: tf.Tensor) -> tf.data.Dataset:
    """Every serialised example once, in an order drawn from (seed, place), string [].

    Args:
        paths: the shards.
        examples: pictures in them; another number found raises FailedPreconditionError instead of shifting the epochs.
        buffer: records in the shuffle buffer.
        seed: of the run.
        place: int64 [], which pass over the pictures this is.
    """
    # Below 0, where no picture's augmentation draws from (training pictures are numbered from 0).
    pass_seed = tf.stack([tf.constant(seed, tf.int64), -1 - place])
    # A buffer smaller than the split mixes only nearby records: shards in drawn order, several at a time, do the rest.
    shards = tf.random.experimental.stateless_shuffle([storage.prepare(path) for path in paths], pass_seed)
    dataset = tf.data.Dataset.from_tensor_slices(shards)
    open_shards, remote = min(OPEN_SHARDS, len(paths)), are_remote(paths)
    read = as_written(lambda path: shard(path, remote))
    dataset = dataset.interleave(read, cycle_length=open_shards, num_parallel_calls=open_shards, deterministic=True)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(examples))
    # Dataset.shuffle mixes its seed with TensorFlow's global one, as it stands in this function's graph: a constant
    # there keeps the order a matter of pass_seed alone (and a global seed of 0 fails with a seed that is a tensor).
    tf.compat.v1.set_random_seed(1)
    shuffle_seed = tf.random.stateless_uniform([], pass_seed, 0, 2**31 - 1, tf.int64, alg="philox")
    return dataset.shuffle(buffer, seed=shuffle_seed, reshuffle_each_iteration=False)


def _shuffle_buffer(paths: list[str], examples: int) -> int:
    """Records that fit in SHUFFLE_BYTES at their average size, at most all of them."""
    average = sum(storage.size(path) for path in paths) / examples
    return max(1, min(examples, int(SHUFFLE_BYTES / average)))


def _options() -> tf.data.Options:
    """Order kept whatever the parallelism; several machines share out batches, not shard files."""
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options
