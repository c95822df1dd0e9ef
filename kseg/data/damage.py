"""What training and evaluation read, and how an error while reading comes to name the record that is at fault."""

import contextlib
import dataclasses
from collections.abc import Iterator

import tensorflow as tf

from kseg import retries
from kseg.errors import RunError
from kseg.record_checks import Part, examine

MEND = "run convert-dataset again, or --on_bad_record=skip to go on without it"
# TensorFlow's errors at files that are not what they should be, or not there; others (memory, network) are no damage.
DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)
DAMAGE += (tf.errors.OutOfRangeError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)


@dataclasses.dataclass(frozen=True)
class Source:
    """The shards of a split as training or evaluation reads them.

    Attributes:
        parts: in order.
        num_classes: of the data set; a mask holds less, or 255.
    """

    parts: tuple[Part, ...]
    num_classes: int

    @property
    def paths(self) -> list[str]:
        """Of the shards."""
        return [part.path for part in self.parts]

    @property
    def examples(self) -> int:
        """Pictures in all of them."""
        return sum(part.examples for part in self.parts)


@contextlib.contextmanager
def named(*sources: Source) -> Iterator[None]:
    """Around reading pipelines of these sources: an error of TensorFlow's becomes one that names the record.

    Raises:
        RunError: of `refuse`, if a file is at fault, or if the storage was given up; else the error goes on as it is.
    """
    try:
        yield
    except tf.errors.UnknownError:  # as an error in Python's part of the pipeline comes
        retries.check()
        raise
    except DAMAGE:
        for source in sources:
            for part in source.parts:
                refuse(part, source.num_classes)
        raise


def refuse(part: Part, num_classes: int, remark: str = "") -> None:
    """Reads and decodes every record of a shard, to name the first that is at fault.

    Args:
        part: the shard.
        num_classes: of the data set.
        remark: what else is known about the file, for the message.

    Raises:
        RunError: naming the shard, the record, and the picture where its name can be read.
    """
    faults = examine(part, num_classes).faults
    if faults:
        first = str(faults[0])
        raise RunError("; ".join([first] + [remark] * bool(remark and remark not in first) + [MEND]))
