"""What a source of pictures offers: pairs by split, what is wrong with the rest, and what the layout itself settles."""

import dataclasses
from collections.abc import Mapping

from kseg.labels import LabelMap


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask, by path.

    Attributes:
        stem: what both share: the path inside their folder without extension; unique in a split.
        filename: the image's path inside its folder, kept in the record.
        image: path of the image file.
        mask: path of the mask file.
    """

    stem: str
    filename: str
    image: str
    mask: str

    def files(self) -> tuple[str, str]:
        """Both paths."""
        return self.image, self.mask


@dataclasses.dataclass(frozen=True, order=True)
class Problem:
    """Why a file cannot go into the data set; `str()` is the line that a person reads.

    Attributes:
        file: its path.
        what: what was found and what is expected.
        stem: of the pair that is thereby left out.
    """

    file: str
    what: str
    stem: str = ""

    def __str__(self) -> str:
        return f"{shown(self.file)}: {self.what}"


def shown(name: str) -> str:
    """A file name for a message: as it is, or as Python would write it where a line break or the like is in it."""
    return name if name.isprintable() else repr(name)


@dataclasses.dataclass(frozen=True)
class Found:
    """The pairs of one split, sorted by stem, and the problems met in looking for them."""

    pairs: tuple[Pair, ...]
    problems: tuple[Problem, ...] = ()


@dataclasses.dataclass(frozen=True)
class Place:
    """Where to look: the flags that say so, each None where it was not given.

    Attributes:
        input: folder or file that holds it all; its meaning is the source's.
        images: folder of images, where the two are named apart.
        masks: folder of masks.
        split: the only split that is wanted, or the name of the one there is.
        mask_suffix: what the stem of a mask has more than that of its image ("_L").
        label_map: given for all splits, so that those in the layout do not count.
    """

    input: str | None = None
    images: str | None = None
    masks: str | None = None
    split: str | None = None
    mask_suffix: str = ""
    label_map: str | None = None


@dataclasses.dataclass(frozen=True)
class Offered:
    """What a source found.

    Attributes:
        splits: by name. The one entry of a source without splits of its own is named `Place.split`, or "" if None.
        labels: the classes, where the layout settles them (PASCAL VOC, Cityscapes, ADE20K).
        label_maps: split -> path of the label map that lies in the layout.
        encoding: arguments of `data_tools.encoding.make_encoding` that the layout settles, {"reduce_zero_label": True}.
    """

    splits: Mapping[str, Found]
    labels: LabelMap | None = None
    label_maps: Mapping[str, str] = dataclasses.field(default_factory=dict)
    encoding: Mapping = dataclasses.field(default_factory=dict)
