"""Which record a training reads when: shards and records in an order drawn for each epoch."""

import tensorflow as tf

from kseg import storage
from kseg.data.streaming import are_remote, as_written, shard

# Shards read at once, a record of each in turn. A number, since AUTOTUNE would take one that depends on the
# processor, and with it the order of the pictures would.
OPEN_SHARDS = 8
# The shuffle buffer, of encoded pictures: 5,000 of 480 x 360 pixels (0.05 MB each), 60 of 12 megapixels (4 MB each).
SHUFFLE_BYTES = 256 * 2**20
# Records read ahead of the decoder, so that the next epoch's buffer fills while this epoch's last pictures are decoded:
# for a buffer of 170 MB the step between two epochs waited 3 to 150 ms, and 80 to 220 ms without.
READ_AHEAD = 64


def training_records(
    paths: list[str], examples: int, size: float, per_epoch: int, epochs: range, seed: int, left_out: int
) -> tf.data.Dataset:
    """The records of `epochs`, `per_epoch` of each but for the first `left_out` of all: (place int64 [], serialised
    example string []).

    `place` is epoch x 2^32 + k: one number that stands for picture k of an epoch and seeds its augmentation. The
    stream does not depend on the epochs before `epochs`, on the processor or on TensorFlow's global seed.

    Args:
        paths, examples: the shards in order, and how many records are in them; see `_shuffled_records`.
        size: of a record on average, bytes.
        per_epoch: records; more than there are go round again, in another order.
        epochs, seed: of `train_dataset`.
        left_out: records, fewer than an epoch's.
    """
    passes, buffer = -(-per_epoch // examples), max(1, min(examples, int(SHUFFLE_BYTES / size)))

    def epoch_records(epoch: tf.Tensor) -> tf.data.Dataset:
        first = epoch * 2**32
        one_pass = as_written(lambda index: _shuffled_records(paths, examples, buffer, seed, first + index))
        return tf.data.Dataset.range(passes).flat_map(one_pass).take(per_epoch).enumerate(first)

    dataset = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(as_written(epoch_records))
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
