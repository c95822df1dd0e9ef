"""What is wrong with a record or with a shard, in words that name the file, the record and the picture."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import os
import re
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from kseg import records, storage
from kseg.data.frames import Frame, read_frames
from kseg.errors import RunError
from kseg.labels import IGNORE

MEND = "run convert-dataset again, or --on_bad_record=skip to go on without it"
# The field of an Example that holds each key which `records.parse` wants, and what to call it.
KEYS = dict.fromkeys((records.IMAGE, records.FORMAT, records.FILENAME, records.MASK), ("bytes_list", "string"))
KEYS |= dict.fromkeys((records.HEIGHT, records.WIDTH), ("int64_list", "number"))
WINDOW = 32  # records in memory at once, to be decoded in parallel: 128 MB of 12-megapixel JPEG files
# TensorFlow's errors at files that are not what they should be, or not there; others (memory, network) are no damage.
DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)
DAMAGE += (tf.errors.OutOfRangeError, tf.errors.NotFoundError, tf.errors.PermissionDeniedError)


@dataclasses.dataclass(frozen=True)
class Fault:
    """Records of a shard that cannot be used.

    Attributes:
        path: the shard.
        where: in it, for a message: "record 3 (0003.jpg)", "records 3 to 5", "from record 3 on", "byte 4711".
        count: records that are lost by it, >= 0.
        reason: what is wrong.
    """

    path: str
    where: str
    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.where}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Part:
    """A shard to be read: its path and the examples that it should hold."""

    path: str
    examples: int


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
        RunError: of `refuse`, if a file is at fault; else the error goes on as it is.
    """
    try:
        yield
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
    faults, _ = examine(part, num_classes)
    if faults:
        first = str(faults[0])
        raise RunError("; ".join([first] + [remark] * bool(remark and remark not in first) + [MEND]))


def examine(
    part: Part, num_classes: int, done: Callable[[int], object] = lambda count: None
) -> tuple[list[Fault], list[Frame]]:
    """Reads and decodes every record of a shard.

    Args:
        part: the shard; what it holds beyond `part.examples` records is at fault too.
        num_classes: of the data set.
        done: called with how many more records were looked at, for a progress bar.

    Returns:
        What is at fault in the order of the file, and the frames that are not, without their data.

    Raises:
        RunError: if the file is there and cannot be read.
    """
    looked: list[_Looked] = []
    if not storage.exists(part.path):
        return [_absent(part, 0, records.NOT_THERE)], []
    try:
        frames = read_frames(part.path)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            while window := list(itertools.islice(frames, WINDOW)):
                looked += pool.map(functools.partial(_look, num_classes=num_classes), window)
                done(len(window))
    except (tf.errors.OpError, OSError) as error:
        raise RunError(f"{part.path}: cannot be read: {getattr(error, 'message', error)}") from None
    return _numbered(part, looked)


def record_fault(serialized: bytes, num_classes: int) -> str | None:
    """Why a record cannot be trained on, None if it can.

    Args:
        serialized: a tf.train.Example.
        num_classes: of the data set.
    """
    features = _features(serialized)
    if features is None:
        return "not a tf.train.Example"
    for key, (field, kind) in KEYS.items():
        if key not in features or features[key].WhichOneof("kind") is None:
            return f"lacks the key {key}"
        values = getattr(features[key], field).value
        if len(values) != 1:
            return f"key {key}: {len(values)} values of the type {kind}; expected one"
    try:
        with tf.device("CPU:0"):  # eager operations would go to a GPU and back
            what = "image"
            image = records.decode_image(features[records.IMAGE].bytes_list.value[0])
            what = "mask"
            encoded = features[records.MASK].bytes_list.value[0]
            mask = tf.io.decode_png(encoded, channels=1).numpy()[..., 0]
    except tf.errors.OpError as error:
        return f"its {what} cannot be decoded: {_plain(error.message)}"
    if encoded[records.PNG_KIND] != records.GREY_8_BIT:
        return "its mask is not a PNG of one grey channel of 8 bits"
    if image.shape[:2] != mask.shape:
        sizes = f"image {image.shape[0]} x {image.shape[1]}, mask {mask.shape[0]} x {mask.shape[1]}"
        return f"sizes differ: {sizes} (height x width)"
    return _value_fault(mask, num_classes)


def _value_fault(mask: np.ndarray, num_classes: int) -> str | None:
    counts = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    wrong = [value for value in range(num_classes, IGNORE) if counts[value]]
    if not wrong:
        return None
    values = ", ".join(str(value) for value in wrong[:5]) + (", …" if len(wrong) > 5 else "")
    return (
        f"its mask holds {values} ({counts[wrong].sum()} pixels); allowed: 0 to {num_classes - 1}, and {IGNORE} for "
        "what is no class"
    )


def _features(serialized: bytes):
    """The features of a serialised Example by key, None if it is none."""
    try:
        return tf.train.Example.FromString(serialized).features.feature
    except DecodeError:
        return None


def _plain(message: str) -> str:
    """What TensorFlow's message says, without the names of nodes and devices around it."""
    line = re.sub(r"\{\{.*?\}\} *", "", message).partition("\n")[0]
    return line.partition(" [Op:")[0].strip()


@dataclasses.dataclass(frozen=True)
class _Looked:
    """A frame without its data, the picture's name where it can be read, and why the record cannot be used."""

    frame: Frame
    name: str
    fault: str | None


def _look(frame: Frame, num_classes: int) -> _Looked:
    features = _features(frame.data or b"")
    value = features[records.FILENAME].bytes_list.value if features and records.FILENAME in features else ()
    name = value[0].decode(errors="replace") if value else ""
    fault = frame.fault or record_fault(frame.data, num_classes)
    bare = dataclasses.replace(frame, data=None if frame.data is None else b"")
    return _Looked(bare, name if name.isprintable() else repr(name), fault)


def _numbered(part: Part, looked: list[_Looked]) -> tuple[list[Fault], list[Frame]]:
    """What `examine` returns, from all parts of the file.

    Where a stretch ends at the next header that was found, records may be lost in it. How many follows from the number
    that the file should hold if there is one such stretch, or one record for each; else what comes after the first has
    no certain number.
    """
    frames = sum(entry.frame.data is not None for entry in looked)
    stretches = sum(not entry.frame.measured for entry in looked)
    lost = max(part.examples - frames, 0)
    one_each = lost == stretches == len(looked) - frames
    certain = lost == 0 or stretches == 1 or one_each
    faults, good, index, numbered = [], [], 0, True
    for entry in looked:
        count, fault, known = int(entry.frame.data is not None), entry.fault, numbered
        if not entry.frame.measured:
            more = 1 if one_each else lost
            count, lost, numbered = count + more, lost - more, certain
        elif index >= part.examples:
            fault = f"one more than the {part.examples} that {records.DATASET_FILE} lists"
        if fault is None:
            good.append(entry.frame)
        else:
            where = _records(index, count) if numbered and count else f"byte {entry.frame.offset}"
            where = f"from record {index} on" if known and not numbered else where
            name = f" ({entry.name})" if entry.name else ""
            faults.append(Fault(part.path, where + name, count, fault))
        index += count
    if index < part.examples:
        faults.append(_absent(part, index, f"not there: the file ends after {index} records"))
    return faults, good


def _absent(part: Part, first: int, reason: str) -> Fault:
    count = part.examples - first
    return Fault(part.path, _records(first, count), count, reason)


def _records(first: int, count: int) -> str:
    return f"record {first}" if count == 1 else f"records {first} to {first + count - 1}"
