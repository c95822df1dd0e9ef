"""Pairs -> shards: which pair goes where, and how one shard is written; the same wherever it is done."""

import collections
import contextlib
import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf

from data_tools.pairs import Pair, Problem
from data_tools.preparation import Prepared, Recipe
from data_tools.reading_ahead import in_parallel
from kseg import records, storage, transfer
from kseg.errors import RunError, UsageError

SHARD_BYTES = 128 * 2**20
FEWEST_SHARDS = 8  # where there are pictures enough: the training pipeline reads several at once to mix them
PICTURES_FOR_A_SHARD = 8
SAMPLE = 64  # files asked for their size, to estimate all
WORKER_BYTES = 32 * 2**20  # another process pays from twice this: it starts in 0.3 s, and one checks 45 MB/s of JPEG
VALUES = 256  # of an 8-bit mask
READ_BACK = 64  # records at once


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """One shard to be written.

    Attributes:
        split: its split.
        name: of its file.
        pairs: in their order.
        recipe: what is done to them.
        bytes: size of their files, estimated.
    """

    split: str
    name: str
    pairs: tuple[Pair, ...]
    recipe: Recipe
    bytes: int


@dataclasses.dataclass(frozen=True)
class ShardResult:
    """What became of a ShardJob.

    Attributes:
        split: of the job.
        shard: its entry in dataset.json; None where nothing was written.
        histogram: pixels of each of the 256 class numbers.
        heights: (lowest, highest) in pixels; None without a good pair.
        widths: likewise.
        problems: of the pairs that are left out.
        skipped: how many those are.
        notes: what was changed in pictures -> in how many.
    """

    split: str
    shard: records.Shard | None
    histogram: tuple[int, ...]
    heights: tuple[int, int] | None
    widths: tuple[int, int] | None
    problems: tuple[Problem, ...]
    skipped: int
    notes: Mapping[str, int]


def deal(pairs: Sequence[Pair], split: str, recipe: Recipe, num_shards: int | None = None) -> list[ShardJob]:
    """Deals the pairs of a split to shards.

    The order is that of the SHA-256 of the stems: the same wherever and however often it is run, and mixed. Sorted by
    name, the near-equal frames of a video would stand in one shard, and a shuffle buffer is smaller than a shard.

    Args:
        pairs: at least one.
        split: its name.
        recipe: what is done to them.
        num_shards: if None, shards of some 128 MB, at least 8 where each holds 8 pictures.

    Raises:
        UsageError: for more shards than pairs.
    """
    ordered = sorted(pairs, key=lambda pair: hashlib.sha256(pair.stem.encode(errors="surrogateescape")).digest())
    count, total = len(ordered), _estimated_bytes(ordered)
    if num_shards is None:
        fewest = min(FEWEST_SHARDS, max(1, count // PICTURES_FOR_A_SHARD))
        num_shards = min(count, max(fewest, round(total / SHARD_BYTES)))
    if num_shards > count:
        raise UsageError(f"--num_shards={num_shards}: allowed: 1 to {count}, the number of pictures in {split}")
    bounds = [index * count // num_shards for index in range(num_shards + 1)]
    return [
        ShardJob(
            split,
            records.shard_name(split, index, num_shards),
            tuple(ordered[low:high]),
            recipe,
            total * (high - low) // count,
        )
        for index, (low, high) in enumerate(itertools.pairwise(bounds))
    ]


def worker_count(jobs: Sequence[ShardJob], workers: int | None = None) -> int:
    """`workers`, or if None as many processes as there are processors where the files are many enough."""
    if workers is not None:
        return workers
    return max(1, min(os.cpu_count() or 1, sum(job.bytes for job in jobs) // WORKER_BYTES))


def _estimated_bytes(pairs: Sequence[Pair]) -> int:
    """Size of all files, from those of the first 64 pairs."""
    sample = pairs[:SAMPLE]
    sizes = in_parallel(_size, [path for pair in sample for path in pair.files()])
    return sum(sizes) * len(pairs) // len(sample)


def _size(path: str) -> int:
    """Bytes in a file; 0 where it cannot be asked, which the check of its content will say."""
    try:
        return storage.size(path)
    except (RunError, tf.errors.OpError, UnicodeEncodeError):
        return 0


def write_shard(job: ShardJob, folder: str | None, results: Iterable[Prepared | list[Problem]]) -> ShardResult:
    """Writes the good pairs of a job into FOLDER/NAME and reads the file back, if it is remote before it is uploaded.

    Args:
        job: what to write.
        folder: where; None = count and collect problems only.
        results: of `data_tools.preparation.prepare`, one a pair, in order; exactly as many are taken.

    Raises:
        RunError: naming the file, if it cannot be written or reads back otherwise.
    """
    if folder is None:
        return _write(job, None, results)
    with transfer.made_locally(storage.join(folder, job.name)) as path:
        return _write(job, path, results)


def _write(job: ShardJob, path: str | None, results: Iterable[Prepared | list[Problem]]) -> ShardResult:
    histogram, heights, widths = np.zeros(VALUES, np.int64), [], []
    problems, skipped, notes = [], 0, collections.Counter()
    with _record_writer(path) as write:
        for result in itertools.islice(results, len(job.pairs)):
            if isinstance(result, list):
                problems += result
                skipped += 1
                continue
            write(_record(result))
            histogram += result.mask.histogram
            heights.append(result.image.height)
            widths.append(result.image.width)
            notes.update(result.image.notes + result.mask.notes)
    return ShardResult(
        job.split,
        path and _verified(path, job.name, len(heights)),
        tuple(histogram.tolist()),
        _range(heights),
        _range(widths),
        tuple(problems),
        skipped,
        dict(notes),
    )


def _range(values: list[int]) -> tuple[int, int] | None:
    return (min(values), max(values)) if values else None


@contextlib.contextmanager
def _record_writer(path: str | None) -> Iterator:
    """A function that writes a record, or, without a path, drops it; failures (a full disk) name the file."""
    if path is None:
        yield lambda record: None
        return
    with storage.naming("cannot be written", path), tf.io.TFRecordWriter(path) as writer:
        yield writer.write


def _record(pair: Prepared) -> bytes:
    image = pair.image
    return records.encode(image.encoded, image.format, pair.filename, image.height, image.width, pair.mask.encoded)


def _verified(path: str, name: str, examples: int) -> records.Shard:
    """Reads a written shard back: the checksum of every record (TensorFlow's own), their number, the file's SHA-256."""
    with storage.naming("was written but cannot be read back", path):
        # In batches: one by one takes 0.25 ms a record, an eighth of the whole conversion.
        there = sum(len(batch) for batch in tf.data.TFRecordDataset(path).batch(READ_BACK))
        checksum = storage.sha256(path)
    if there != examples:
        raise RunError(f"{path}: {examples} records were written, but {there} are read back; is the disk sound?")
    return records.Shard(name, examples, storage.size(path), checksum)
