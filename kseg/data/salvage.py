"""--on_bad_record: which shards a training or an evaluation reads, and what to do about damaged ones."""

import contextlib
import os
import tempfile

import tensorflow as tf

from kseg import records, storage
from kseg.config.values import SKIP
from kseg.data.damage import Source, refuse
from kseg.errors import RunError
from kseg.frames import Frame
from kseg.pieces import Pieces
from kseg.progress import bar, say
from kseg.record_checks import Fault, Part, examine

LISTED = 20  # faults told one by one


class Shards(contextlib.AbstractContextManager):
    """Opens the splits of a data set for reading.

    With "refuse" a shard that is missing or not of its size in dataset.json is an error at once; other damage shows
    when it is read (`kseg.data.damage.named`). With "skip" every record is read and decoded once before (520 a second
    of 480 x 360 pixels on 2 cores); a sound shard of another checksum than dataset.json says is used with a warning.
    Shards without damage are used where they are; of each other a copy of what is sound lies in a temporary folder
    until `close`. So the same files always give the same records in the same order.

    Args:
        dataset: of dataset.json.
        on_bad_record: "refuse" or "skip".
    """

    def __init__(self, dataset: records.Dataset, on_bad_record: str):
        self._dataset, self._skip = dataset, on_bad_record == SKIP
        self._opened: dict[str, Source] = {}
        self._folder: tempfile.TemporaryDirectory | None = None

    def open(self, split: str) -> Source:
        """The shards of a split, looked at once: on remote storage that is a request a shard at least.

        Raises:
            RunError: if there is no such split, a shard is missing or not of its size ("refuse"), or no record is
                sound ("skip").
        """
        if split not in self._opened:
            self._opened[split] = self._sound(split) if self._skip else self._whole(split)
        return self._opened[split]

    def close(self) -> None:
        """Removes the copies."""
        if self._folder is not None:
            self._folder.cleanup()

    def __exit__(self, *exception) -> None:
        self.close()

    def _parts(self, split: str) -> list[Part]:
        shards = self._dataset.split(split).shards
        return [Part(storage.join(self._dataset.folder, shard.name), shard.examples) for shard in shards]

    def _whole(self, split: str) -> Source:
        """Every shard, checked to be there at its size."""
        parts, num_classes = self._parts(split), self._dataset.labels.num_classes
        for part, shard in zip(parts, self._dataset.split(split).shards, strict=True):
            fault = self._dataset.shard_fault(shard)
            if fault is not None:
                refuse(part, num_classes, fault)
                # As many sound records, but of another conversion: nothing in dataset.json is about them.
                raise RunError(f"{part.path}: {fault}; run convert-dataset again")
        return Source(tuple(parts), num_classes)

    def _sound(self, split: str) -> Source:
        """Every record that can be used; tells which cannot."""
        kept, faults, damaged, others = [], [], 0, []
        total = self._dataset.split(split).examples
        with bar(total, "records", f"checking {split}", leave=False) as progress:
            for part, shard in zip(self._parts(split), self._dataset.split(split).shards, strict=True):
                found = examine(part, self._dataset.labels.num_classes, progress.update)
                faults += found.faults
                damaged += bool(found.faults)
                if found.sha256 not in (None, shard.sha256):
                    others.append(part.path)
                if found.good:
                    kept.append(self._copy(part, found.good) if found.faults else part)
        source = Source(tuple(kept), self._dataset.labels.num_classes)
        for path in others:
            say(
                f"warning: {path}: sound, but not the shard that {records.DATASET_FILE} describes (another SHA-256): "
                "was it copied from elsewhere?"
            )
        if faults:
            _report(split, faults, damaged, source.examples)
        if not kept:
            raise RunError(f"{self._dataset.folder}: no record of {split} is sound; run convert-dataset again")
        return source

    def _copy(self, part: Part, good: list[Frame]) -> Part:
        """A shard of the same name with the sound frames of `part` as they stand there.

        Raises:
            RunError: if it cannot be written.
        """
        try:
            if self._folder is None:
                self._folder = tempfile.TemporaryDirectory(prefix="kseg-", ignore_cleanup_errors=True)
            path = os.path.join(self._folder.name, os.path.basename(part.path))
            with Pieces(part.path) as source, open(path, "wb") as target:
                for frame in good:
                    target.write(source.read(frame.offset, frame.size))
        except (OSError, tf.errors.OpError) as error:
            reason = getattr(error, "message", error)
            raise RunError(
                f"{part.path}: its sound records cannot be copied to {tempfile.gettempdir()}: {reason}; the "
                "environment variable TMPDIR names another folder"
            ) from None
        return Part(path, len(good))


def _report(split: str, faults: list[Fault], damaged: int, kept: int) -> None:
    """One line a fault, then how many records are left out of how many."""
    for fault in faults[:LISTED]:
        say(f"skipped: {fault}")
    if len(faults) > LISTED:
        say(f"skipped: … and {len(faults) - LISTED} more places")
    lost = sum(fault.count for fault in faults)
    say(f"skipped {lost} of {kept + lost} records of {split} ({damaged} {'shard' if damaged == 1 else 'shards'})")
