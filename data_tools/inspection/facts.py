"""What an inspection knows: about a pair, a split, the data set, and what it finds wrong."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from kseg.labels import IGNORE, LabelMap

# Of a Finding: "error" would train or score wrong, and makes the exit status 1; "warning" is worth a look.
LEVELS = ("error", "warning")


@dataclasses.dataclass(frozen=True)
class Fault:
    """What conversion would refuse about one file.

    Attributes:
        kind: as `Finding.kind`.
        file: its path, or the name of the record.
        what: what was found and what is expected.
    """

    kind: str
    file: str
    what: str


@dataclasses.dataclass(frozen=True)
class PictureFacts:
    """One pair, in folders or in a record.

    Attributes:
        split: its split.
        name: how messages call it: the stem, or "train-00000-of-00008.tfrecord record 3 (a/x.jpg)".
        image: path of the image file; None in a record.
        mask: path of the mask file; None in a record.
        size: (height, width) of the image in pixels, upright; None if it cannot be read.
        mask_size: (height, width) of the mask in pixels; None if it cannot be read.
        digest: SHA-256 of the image file's bytes; None if it cannot be read.
        turn: EXIF orientation of the image file, 1 to 8; 1 = upright.
        thumbnail: of `data_tools.inspection.duplicates.thumbnail`, for the search of near-identical images.
        mask_kind: as `data_tools.masks.RawMask.kind`; None if it cannot be read.
        mask_digest: SHA-256 of what the mask shows, however it is compressed; None if it cannot be read.
        values: file value -> pixels, for masks of one channel.
        colors: (red, green, blue) -> pixels, for RGB masks; of more than 512 the most frequent ones.
        palette: value -> its colour, of the values that a palette mask uses.
        ramps: share of the steps between values that go through a value in between, as of a smoothed picture; 0 to 1.
        fits: how well the image's edges lie on the mask's borders, as it is and turned by each of
            `data_tools.inspection.alignment.TURNS`; 1 = no better than by chance. () where it was not measured.
        classes: pixels of each of the 256 class numbers after the encoding (255 = ignore); None where the mask cannot
            be read so, or while it is not known what its values mean.
        faults: what conversion would refuse.
    """

    split: str
    name: str
    image: str | None = None
    mask: str | None = None
    size: tuple[int, int] | None = None
    mask_size: tuple[int, int] | None = None
    digest: str | None = None
    turn: int = 1
    thumbnail: bytes | None = None
    mask_kind: str | None = None
    mask_digest: str | None = None
    values: Mapping[int, int] = dataclasses.field(default_factory=dict)
    colors: Mapping[tuple[int, int, int], int] = dataclasses.field(default_factory=dict)
    palette: Mapping[int, tuple[int, int, int]] = dataclasses.field(default_factory=dict)
    ramps: float = 0.0
    fits: tuple[float, ...] = ()
    classes: tuple[int, ...] | None = None
    faults: tuple[Fault, ...] = ()

    @property
    def image_name(self) -> str:
        """What messages call the image: its path, or the record."""
        return self.image or self.name

    @property
    def mask_name(self) -> str:
        """What messages call the mask: its path, or the record."""
        return self.mask or self.name


@dataclasses.dataclass(frozen=True)
class SplitFacts:
    """A split in figures.

    Attributes:
        pictures: pairs in it, readable or not.
        sizes: (height, width) of every readable image.
        pixels_per_class: over the split, one for each class.
        images_per_class: pictures in which the class occurs.
        ignored_pixels: of value 255.
    """

    pictures: int
    sizes: tuple[tuple[int, int], ...]
    pixels_per_class: tuple[int, ...]
    images_per_class: tuple[int, ...]
    ignored_pixels: int

    @classmethod
    def of(cls, pictures: Sequence[PictureFacts], num_classes: int) -> "SplitFacts":
        """The figures of a split; masks whose classes are not known count as pictures only."""
        known = [picture.classes for picture in pictures if picture.classes is not None]
        counts = np.array(known, np.int64).reshape(-1, IGNORE + 1)
        return cls(
            len(pictures),
            tuple(picture.size for picture in pictures if picture.size is not None),
            tuple(counts[:, :num_classes].sum(0).tolist()),
            tuple((counts[:, :num_classes] > 0).sum(0).tolist()),
            int(counts[:, IGNORE].sum()),
        )


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something wrong.

    Attributes:
        level: one of LEVELS.
        kind: a word for it that stays the same ("scaled_masks", "duplicate_across_splits").
        message: what was found, how many, what it does to a training, how to mend it; one line.
        files: names of the pictures or files concerned, sorted.
    """

    level: str
    kind: str
    message: str
    files: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Sample:
    """A picture for the contact sheet: image uint8 [H, W, 3] and classes uint8 [H, W] as encoded PNG bytes."""

    name: str
    image_png: bytes
    mask_png: bytes


@dataclasses.dataclass(frozen=True)
class Inspection:
    """The result: `data_tools.inspection` draws and prints it.

    Attributes:
        path: what was inspected.
        labels: the classes, given or suggested.
        splits: by name, in the order train, validation, test, then others.
        findings: errors first.
        suggestions: file name -> content, of what mends the data set (convert.flags, train_label_map.json …).
        samples: split -> pictures for the contact sheet.
    """

    path: str
    labels: LabelMap
    splits: Mapping[str, SplitFacts]
    findings: tuple[Finding, ...]
    suggestions: Mapping[str, str]
    samples: Mapping[str, tuple[Sample, ...]]
