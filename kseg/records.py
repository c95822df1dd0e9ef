"""THE TFRecord contract: feature keys, encode, parse, shard names, dataset.json.

The keys are those of TF Model Garden's segmentation decoder, so the shards load there too.
"""

import dataclasses
import json

import tensorflow as tf

from kseg import storage
from kseg.errors import RunError
from kseg.labels import LabelMap

FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
NOT_THERE = f"listed in {DATASET_FILE} but not there"

IMAGE = "image/encoded"
FORMAT = "image/format"
FILENAME = "image/filename"
HEIGHT = "image/height"
WIDTH = "image/width"
CHANNELS = "image/channels"
MASK = "image/segmentation/class/encoded"
MASK_FORMAT = "image/segmentation/class/format"

# Depth and colour type in a PNG's header. Of other kinds decode_png(channels=1) makes grey levels: they train wrong.
PNG_KIND, GREY_8_BIT = slice(24, 26), b"\x08\x00"


def encode(image: bytes, image_format: str, filename: str, height: int, width: int, mask: bytes) -> bytes:
    """One serialised tf.train.Example; the same arguments give the same bytes.

    Args:
        image: an encoded JPEG or PNG that decodes to uint8 [height, width, 3].
        image_format: "jpeg" or "png".
        filename: the picture's own name, for messages.
        height: of the image and of the mask, pixels.
        width: of the image and of the mask, pixels.
        mask: 8-bit single-channel PNG of train ids, 255 = ignore.
    """

    def text(value: bytes) -> tf.train.Feature:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    def number(value: int) -> tf.train.Feature:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))

    features = {
        IMAGE: text(image),
        FORMAT: text(image_format.encode()),
        FILENAME: text(filename.encode()),
        HEIGHT: number(height),
        WIDTH: number(width),
        CHANNELS: number(3),
        MASK: text(mask),
        MASK_FORMAT: text(b"png"),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Serialised Examples, string [] or [n] -> {key: string or int64 of that shape}, images still encoded."""
    strings = dict.fromkeys((IMAGE, FORMAT, FILENAME, MASK), tf.io.FixedLenFeature([], tf.string))
    numbers = dict.fromkeys((HEIGHT, WIDTH), tf.io.FixedLenFeature([], tf.int64))
    return tf.io.parse_example(serialized, strings | numbers)


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """An encoded JPEG, PNG, BMP or GIF (its first frame), string [] -> uint8 [H, W, 3].

    Grey becomes three equal channels, alpha is dropped, EXIF orientation is not looked at.
    Raises tf.errors.InvalidArgumentError for anything else.
    """
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    return tf.ensure_shape(image, [None, None, 3])


def decode_mask(encoded: tf.Tensor) -> tf.Tensor:
    """An encoded mask, string [] -> uint8 [H, W]."""
    return tf.io.decode_png(encoded, channels=1)[..., 0]


def decode(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
    """A parsed record -> image uint8 [H, W, 3] and mask uint8 [H, W]."""
    return decode_image(record[IMAGE]), decode_mask(record[MASK])


def shard_name(split: str, index: int, count: int) -> str:
    """train-00000-of-00008.tfrecord."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One shard file: its name in the folder, examples in it, its size in bytes and its SHA-256."""

    name: str
    examples: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """One split of a data set.

    Attributes:
        shards: in order; `examples` is their sum.
        pixels_per_class: pixels of every train id over the split.
        ignored_pixels: pixels of value 255.
        height_range: lowest and highest image height, pixels.
        width_range: lowest and highest image width, pixels.
        label_map: how the masks' files said the classes, with "original", what each class is called there; None where
            the values in the files are the train ids.
        skipped: pairs that convert-dataset --on_error=skip left out.
    """

    shards: tuple[Shard, ...]
    pixels_per_class: tuple[int, ...]
    ignored_pixels: int
    height_range: tuple[int, int]
    width_range: tuple[int, int]
    label_map: dict | None = None
    skipped: int = 0

    @property
    def examples(self) -> int:
        """Pictures in the split."""
        return sum(shard.examples for shard in self.shards)

    @classmethod
    def from_dict(cls, value: dict) -> "Split":
        """From its entry in dataset.json."""
        value = {key: item for key, item in value.items() if key != "examples"}
        for key in ("pixels_per_class", "height_range", "width_range"):
            value[key] = tuple(value[key])
        return cls(**value | {"shards": tuple(Shard(**shard) for shard in value["shards"])})


@dataclasses.dataclass(frozen=True)
class Dataset:
    """What dataset.json says: the classes and the splits. `folder` is where it was read from."""

    folder: str
    labels: LabelMap
    splits: dict[str, Split]
    converter_version: str

    def split(self, name: str) -> Split:
        """A split by its name.

        Raises:
            RunError: if there is none of that name; lists those there are.
        """
        if name not in self.splits:
            there = ", ".join(self.splits) or "none"
            raise RunError(
                f"{self.folder}: no split {name!r} in {DATASET_FILE}; there: {there}; convert-dataset --split={name} "
                "makes it"
            )
        return self.splits[name]

    def shard_paths(self, split: str) -> list[str]:
        """Paths of a split's shards, in order, each checked to be there at its recorded size.

        Raises:
            RunError: naming the first shard that is missing or of another size.
        """
        paths = []
        for shard in self.split(split).shards:
            path, fault = storage.join(self.folder, shard.name), self.shard_fault(shard)
            if fault is not None:
                raise RunError(f"{path}: {fault}; run convert-dataset again")
            paths.append(path)
        return paths

    def shard_fault(self, shard: Shard) -> str | None:
        """What is wrong with a shard, None if it is there at its recorded size."""
        path = storage.join(self.folder, shard.name)
        if not storage.exists(path):
            return NOT_THERE
        size = storage.size(path)
        return None if size == shard.bytes else f"{size} bytes, {DATASET_FILE} says {shard.bytes}"

    def to_json(self) -> str:
        """The content of dataset.json."""
        splits = {
            name: {"examples": split.examples} | dataclasses.asdict(split)
            for name, split in sorted(self.splits.items())
        }
        value = {"format_version": FORMAT_VERSION, "converter_version": self.converter_version}
        return json.dumps(value | self.labels.to_dict() | {"splits": splits}, indent=2) + "\n"


def read_dataset(folder: str) -> Dataset:
    """Reads FOLDER/dataset.json.

    Raises:
        RunError: if it is missing, not JSON, or of a format this version does not know.
    """
    path = storage.join(folder, DATASET_FILE)
    if not storage.exists(path):
        raise RunError(f"{path}: not there; expected a folder that convert-dataset wrote")
    try:
        value = json.loads(storage.read_text(path))
        if value["format_version"] != FORMAT_VERSION:
            raise RunError(f"{path}: format_version {value['format_version']}; this kseg reads {FORMAT_VERSION}")
        splits = {name: Split.from_dict(split) for name, split in value["splits"].items()}
        return Dataset(folder, LabelMap.from_dict(value), splits, value["converter_version"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: not a data set description ({error!r}); run convert-dataset again") from None
