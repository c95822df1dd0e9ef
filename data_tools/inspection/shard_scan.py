"""The records of a converted data set -> what is to be known about each, and what is wrong with the shards."""

import itertools
from collections.abc import Iterator

import tensorflow as tf

from data_tools.encoding import Encoding
from data_tools.inspection.facts import Fault, PictureFacts
from data_tools.inspection.scan import scan_bytes
from kseg import records, storage


def scan_split(dataset: records.Dataset, split: str) -> Iterator[tuple[PictureFacts, bytes, bytes] | Fault]:
    """Reads a split of a data set in records from its first to its last.

    A shard is read up to the first damage in it.

    Args:
        dataset: what dataset.json says.
        split: one of its splits.

    Yields:
        facts, encoded image and encoded mask of every whole record; the faults of shards and records in between.
    """
    encoding = Encoding(dataset.labels.num_classes)
    for shard in dataset.split(split).shards:
        path = storage.join(dataset.folder, shard.name)
        if not storage.exists(path):
            yield Fault("missing_shard", path, f"listed in {records.DATASET_FILE} but not there")
            continue
        size = storage.size(path)
        changed = size != shard.bytes or storage.sha256(path) != shard.sha256
        if changed:
            what = f"{size} bytes, not {shard.bytes}" if size != shard.bytes else "not the content that was written"
            yield Fault("changed_shard", path, f"{what}: cut or changed after {records.DATASET_FILE} was written")
        found = 0
        for one in _scan_shard(path, shard.name, split, encoding):
            found += 1
            yield one
        if found != shard.examples and not changed:
            yield Fault("changed_shard", path, f"{found} records, {records.DATASET_FILE} says {shard.examples}")


def _scan_shard(
    path: str, name: str, split: str, encoding: Encoding
) -> Iterator[tuple[PictureFacts, bytes, bytes] | Fault]:
    serialized = iter(tf.data.TFRecordDataset(storage.prepare(path)))
    for number in itertools.count():
        where = f"{path} record {number}"
        try:
            content = next(serialized, None)
        except tf.errors.OpError as error:
            yield Fault("damaged_record", where, f"{error.message.splitlines()[0]}; what follows in it cannot be read")
            return
        if content is None:
            return
        try:
            record = records.parse(content)
        except tf.errors.OpError as error:
            yield Fault("damaged_record", where, error.message.splitlines()[0])
            continue
        image, mask = record[records.IMAGE].numpy(), record[records.MASK].numpy()
        filename = record[records.FILENAME].numpy().decode(errors="replace")
        facts = PictureFacts(split, f"{name} record {number} ({filename})")
        yield scan_bytes(facts, image, mask, encoding), image, mask
