"""The command convert-dataset: folders of images and masks -> sharded TFRecords and dataset.json."""

import dataclasses
import re
import sys

from data_tools.sources import SOURCES
from kseg import command
from kseg.config.values import FOLDER, MAX_CLASSES, POSITIVE
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, OneOf, Range, check, knob
from kseg.labels import LabelMap
from kseg.registry import find


@dataclasses.dataclass(frozen=True)
class ConvertConfig:
    """Flags of convert-dataset.

    Raises:
        UsageError: for a value out of range, a missing one, or not exactly one of classes and num_classes.
    """

    source: str = knob("folders", "How images and masks are laid out.", allowed=OneOf(tuple(SOURCES)))
    images: str = knob(
        REQUIRED,
        "Where the images are (jpg, jpeg, png, bmp). Subfolders are searched too and are part of the stem.",
        allowed=FOLDER,
    )
    masks: str = knob(
        REQUIRED,
        "Where the masks are: for every image a PNG of the same stem and size, 8-bit palette or grey, whose pixel "
        "value is the class and 255 = ignore.",
        allowed=FOLDER,
    )
    split: str = knob(
        REQUIRED,
        "Name of the split to write, as train or validation. One of this name in --output is replaced.",
        allowed="letters, digits, _ and -",
    )
    output: str = knob(REQUIRED, "Where the shards and dataset.json go; other splits there are kept.", allowed=FOLDER)
    classes: str = knob(
        None,
        "The names of the classes, class 0 first. Exactly one of --classes and --num_classes.",
        allowed="a text file, one name a line",
    )
    num_classes: int = knob(
        None, "Number of classes, background included, where they have no names.", allowed=Range(2, MAX_CLASSES)
    )
    num_shards: int = knob(
        None,
        "Files to write; if not set, some 128 MB each, at least 8 where each holds 8 pictures.",
        allowed=POSITIVE,
        unit="files",
    )
    workers: int = knob(
        None,
        "Processes that check pictures; if not set, one a processor where the files are many enough to pay for them. "
        "The shards do not depend on it.",
        allowed=POSITIVE,
        unit="processes",
    )

    def __post_init__(self):
        check(self)
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.split):
            raise UsageError(f"--split={self.split}: allowed: letters, digits, _ and -")
        if (self.classes is None) == (self.num_classes is None):
            given = "neither" if self.classes is None else "both"
            raise UsageError(f"--classes, --num_classes: {given} given; allowed: exactly one of them")

    @property
    def labels(self) -> LabelMap:
        """The classes; raises UsageError naming the file if its names cannot be used."""
        return LabelMap.numbered(self.num_classes) if self.classes is None else LabelMap.from_names_file(self.classes)


def run(config: ConvertConfig) -> None:
    """Converts, and prints a summary."""
    labels = config.labels
    from data_tools import writer  # TensorFlow: 3 s that --help and wrong flags should not pay

    found = find("source", SOURCES, config.source)(config.images, config.masks)
    entry = writer.write_split(
        found, config.output, config.split, labels, num_shards=config.num_shards, workers=config.workers
    )
    print(summary(entry, config.output, config.split, labels))
    for name, pixels in zip(labels.names, entry.pixels_per_class, strict=True):
        if not pixels:
            hint = "; 255 always means ignore: is it meant as a class?" if entry.ignored_pixels else ""
            print(f"convert-dataset: class {name!r} has no pixel in {config.split}{hint}", file=sys.stderr)


def summary(entry, output: str, split: str, labels: LabelMap) -> str:
    """What was written, for a person.

    Args:
        entry: kseg.records.Split.
        output: folder of the data set.
        split: its name.
        labels: names of the classes.
    """
    (low_height, high_height), (low_width, high_width) = entry.height_range, entry.width_range
    sizes = f"{low_width} x {low_height}"
    if (low_width, low_height) != (high_width, high_height):
        sizes += f" to {high_width} x {high_height}"
    total_bytes = sum(shard.bytes for shard in entry.shards)
    lines = [
        f"{split}: {entry.examples} images of {sizes} pixels in {len(entry.shards)} shards, {total_bytes / 1e6:.1f} MB",
        "share of the pixels:",
    ]
    total = sum(entry.pixels_per_class) + entry.ignored_pixels
    shares = [*zip(labels.names, entry.pixels_per_class, strict=True), ("(ignored, 255)", entry.ignored_pixels)]
    width = max(len(name) for name, _ in shares)
    lines += [f"  {name:<{width}}  {pixels / total:7.2%}" for name, pixels in shares]
    return "\n".join([*lines, f"written to {output}"])


def main(argv: list[str] | None = None) -> None:
    """Entry point of convert-dataset."""
    command.launch(
        "convert-dataset", "folders of images and masks -> TFRecords and dataset.json", ConvertConfig, run, argv
    )
