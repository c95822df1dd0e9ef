"""The records of a converted data set -> what is to be known about each, and what is wrong with the shards."""

from collections.abc import Iterator

import tensorflow as tf

from data_tools.encoding import Encoding
from data_tools.inspection.facts import Fault, PictureFacts
from data_tools.inspection.scan import scan_bytes
from kseg import record_checks, records, storage


def scan_split(dataset: records.Dataset, split: str) -> Iterator[tuple[PictureFacts, bytes, bytes] | Fault]:
    """Reads a split of a data set in records from its first to its last, past damage.

    What training refuses is a fault in the same words, and not among the facts.

    Args:
        dataset: what dataset.json says.
        split: one of its splits.

    Yields:
        facts, encoded image and encoded mask of every record that can be trained on; the faults of a shard after them.

    Raises:
        RunError: if a shard is there and cannot be read.
    """
    for shard in dataset.split(split).shards:
        part = record_checks.Part(storage.join(dataset.folder, shard.name), shard.examples)
        examination = record_checks.Examination(part, dataset.labels.num_classes)
        yield from _scan_shard(examination, part, split, dataset.labels.num_classes)
        found = examination.result()
        kind = "damaged_record" if storage.exists(part.path) else "missing_shard"
        for fault in found.faults:
            name = part.path if kind == "missing_shard" else f"{part.path} {fault.where}"
            yield Fault(kind, name, fault.reason)
        if found.sha256 not in (None, shard.sha256):
            what = f"sound, but not the shard that {records.DATASET_FILE} describes (another SHA-256)"
            yield Fault("changed_shard", part.path, f"{what}: copied from elsewhere, or converted again")


def _scan_shard(
    examination: record_checks.Examination, part: record_checks.Part, split: str, num_classes: int
) -> Iterator[tuple[PictureFacts, bytes, bytes] | Fault]:
    shard = part.path.rpartition("/")[2]
    number, measured = 0, True  # number of the next record; past a stretch of unknown content it is not known
    for looked in examination:
        where = f"record {number}" if measured else f"byte {looked.frame.offset}"
        number += looked.frame.data is not None
        measured &= looked.frame.measured
        if looked.fault is not None or number > part.examples:
            continue
        features = tf.train.Example.FromString(looked.frame.data).features.feature
        image, mask = (features[key].bytes_list.value[0] for key in (records.IMAGE, records.MASK))
        facts = PictureFacts(split, f"{shard} {where} ({looked.name})")
        facts = scan_bytes(facts, image, mask, Encoding(num_classes))
        yield facts, image, mask
        stated = tuple(features[key].int64_list.value[0] for key in (records.HEIGHT, records.WIDTH))
        if facts.mask_size is not None and stated != facts.mask_size:
            sizes = " x ".join(map(str, stated)), " x ".join(map(str, facts.mask_size))
            what = f"{records.HEIGHT} and {records.WIDTH} say {sizes[0]}, but its pictures have {sizes[1]} pixels"
            yield Fault("damaged_record", f"{part.path} {where} ({looked.name})", what)
