"""What is wrong with a record or with a shard, in words that name the file, the record and the picture."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import itertools
import os
import re
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from kseg import records, storage
from kseg.errors import RunError
from kseg.frames import Frame, read_frames
from kseg.labels import IGNORE

# The field of an Example that holds each key which `records.parse` wants, and what to call it.
KEYS = dict.fromkeys((records.IMAGE, records.FORMAT, records.FILENAME, records.MASK), ("bytes_list", "string"))
KEYS |= dict.fromkeys((records.HEIGHT, records.WIDTH), ("int64_list", "number"))
# A name of less than 16,384 bytes in a serialised Example: key, then Feature, BytesList and value, each with its length
# as a varint (https://protobuf.dev/programming-guides/encoding).
_VARINT = rb"([\x80-\xff]?)([\0-\x7f])"
_NAME = re.compile(records.FILENAME.encode() + rb"\x12" + rb"\x0a".join([_VARINT] * 3), re.DOTALL)
WINDOW = 32  # records in memory at once, to be decoded in parallel: 128 MB of 12-megapixel JPEG files


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
class Looked:
    """A frame of a shard, the picture's name where it can be read ("" else), and why the record cannot be used."""

    frame: Frame
    name: str
    fault: str | None

    def bare(self) -> "Looked":
        """Without the frame's data."""
        data = None if self.frame.data is None else b""
        return dataclasses.replace(self, frame=dataclasses.replace(self.frame, data=data))


@dataclasses.dataclass(frozen=True)
class Examined:
    """A shard that was read to its end.

    Attributes:
        faults: in the order of the file.
        good: the frames that are not at fault, without their data.
        sha256: of the file in hexadecimal; None where anything is at fault.
    """

    faults: list[Fault]
    good: list[Frame]
    sha256: str | None


def examine(part: Part, num_classes: int, done: Callable[[int], object] = lambda count: None) -> Examined:
    """Reads and decodes every record of a shard.

    Args:
        part: the shard; what it holds beyond `part.examples` records is at fault too.
        num_classes: of the data set.
        done: called with how many more records were looked at, for a progress bar.

    Raises:
        RunError: if the file is there and cannot be read.
    """
    examination = Examination(part, num_classes)
    for _ in examination:
        done(1)
    return examination.result()


class Examination:
    """`examine` for whoever wants to see the records: iterate over it to its end, then ask for the result.

    Iterating gives a `Looked` for every frame in order, with its data, 32 of them in memory at once.
    """

    def __init__(self, part: Part, num_classes: int):
        self._part, self._num_classes = part, num_classes
        self._looked: list[Looked] = []
        self._digest = hashlib.sha256()
        self._there = storage.exists(part.path)

    def __iter__(self) -> Iterator[Looked]:
        if not self._there:
            return
        look = functools.partial(_look, num_classes=self._num_classes)
        try:
            frames = read_frames(self._part.path, self._digest)
            with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
                while window := list(itertools.islice(frames, WINDOW)):
                    for looked in pool.map(look, window):
                        self._looked.append(looked.bare())
                        yield looked
        except (tf.errors.OpError, OSError) as error:
            raise RunError(f"{self._part.path}: cannot be read: {getattr(error, 'message', error)}") from None

    def result(self) -> Examined:
        """What was found."""
        if not self._there:
            return Examined([_absent(self._part, 0, records.NOT_THERE)], [], None)
        faults, good = _numbered(self._part, self._looked)
        return Examined(faults, good, None if faults else self._digest.hexdigest())


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


def _look(frame: Frame, num_classes: int) -> Looked:
    features = _features(frame.data or b"")
    value = features[records.FILENAME].bytes_list.value if features and records.FILENAME in features else ()
    name = (value[0] if value else _torn_name(frame.data or b"")).decode(errors="replace")
    fault = frame.fault or record_fault(frame.data, num_classes)
    return Looked(frame, name if name.isprintable() else repr(name), fault)


def _torn_name(serialized: bytes) -> bytes:
    """The picture's name in what is left of a serialised Example, b"" if it is not there."""
    found = _NAME.search(serialized)
    if found is None:
        return b""
    low, high = found.group(5), found.group(6)
    length = low[0] & 0x7F | high[0] << 7 if low else high[0]
    name = serialized[found.end() : found.end() + length]
    return name if len(name) == length else b""


def _numbered(part: Part, looked: list[Looked]) -> tuple[list[Fault], list[Frame]]:
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
