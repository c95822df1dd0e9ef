"""Flags that say where pictures are and how masks say their classes: those of convert-dataset and inspect-dataset."""

import dataclasses
import re

from data_tools.encoding import COLOR, FILE_VALUES, INDEX, REFUSE, TO_IGNORE
from data_tools.sources import SOURCES
from data_tools.splitting import read_ratios
from kseg.config.values import FOLDER, MAX_CLASSES
from kseg.errors import UsageError
from kseg.knobs import OneOf, Range, knob

AUTO = "auto"
SPLIT_NAME, SPLIT_CHARACTERS = r"[A-Za-z0-9_-]+", "letters, digits, _ and -"
VALUES = Range(0, FILE_VALUES - 1)
BUILT_IN_COLORS = "a file, or one of cityscapes, voc, ade20k"


@dataclasses.dataclass(frozen=True)
class SourceFlags:
    """Where the pictures are."""

    source: str = knob(
        AUTO,
        "How images and masks are laid out; auto sees it from --input, and is folders with --images and --masks.",
        allowed=OneOf((AUTO, *SOURCES)),
    )
    input: str = knob(
        None,
        "The root of a layout (folders: images/, masks/; sagemaker: train/, train_annotation/, validation/, …; voc: "
        "the year's folder; cityscapes: leftImg8bit/, gtFine/; ade20k: images/, annotations/), or a list of pairs "
        "(manifest: JSON Lines with source-ref and another …-ref; csv: image,mask a line), whose relative paths count "
        "from its own folder. All its splits are taken but dummies and overlaps (Cityscapes' test, VOC's trainval), "
        "which --split may name.",
        allowed="a folder or a file, local or remote",
    )
    images: str = knob(
        None,
        "For --source=folders: where the images are (jpg, png, bmp, gif, webp, tif). Subfolders are searched too and "
        "are part of the stem.",
        allowed=FOLDER,
    )
    masks: str = knob(
        None,
        "For --source=folders: where the masks are, for every image a PNG of the same stem and size.",
        allowed=FOLDER,
    )
    mask_suffix: str = knob(
        None,
        "For folders and sagemaker: what the stem of a mask has more than that of its image: _L pairs a.jpg with "
        "a_L.png. PNG files without it are passed over.",
        allowed="text",
    )
    split: str = knob(
        None,
        "The split's name, as train or validation, where the layout has none; else the only one to take.",
        allowed=SPLIT_CHARACTERS,
    )
    split_ratio: str = knob(
        None,
        "Splits pictures that are not: shares of train, validation and, if there are three, test. A hash of each stem "
        "decides, so that adding files moves no other, and shares are met on average only; frames of one video may "
        "come apart, which makes scores too good.",
        allowed="two or three numbers above 0 that add up to 1, as 0.8,0.1,0.1",
    )

    def _check_source(self):
        if self.split is not None and not re.fullmatch(SPLIT_NAME, self.split):
            raise UsageError(f"--split={self.split}: allowed: {SPLIT_CHARACTERS}")
        if self.split_ratio is not None:
            read_ratios(self.split_ratio)
            if self.split is not None:
                raise UsageError("--split, --split_ratio: both given; allowed: one of them")


@dataclasses.dataclass(frozen=True)
class MaskFlags:
    """What the classes are, and how a mask says them."""

    classes: str = knob(
        None,
        "The names of the classes, class 0 first. One of --classes and --num_classes, but where the layout or --colors "
        "names them.",
        allowed="a text file, one name a line",
    )
    num_classes: int = knob(
        None, "Number of classes, background included, where they have no names.", allowed=Range(2, MAX_CLASSES)
    )
    label_map: str = knob(
        None,
        'Which value in the masks is which class: {"scale": "3"} (value // 3), or {"map": {"0": 5, "1": [7, 8]}} '
        "(class: value or values in the file). 255 stays 255 unless the map lists it. A folder is searched for "
        "SPLIT_label_map.json. --source=sagemaker finds its own in label_map/.",
        allowed="a JSON file, or a folder of SPLIT_label_map.json",
    )
    colors: str = knob(
        None,
        "For masks whose colours are the classes: a line a class, name r g b, class 0 first; a line named void, ignore "
        "or unlabeled is 255 and no class.",
        allowed=BUILT_IN_COLORS,
    )
    palette: str = knob(
        INDEX,
        "What counts in a palette PNG: index, or color, by --colors.",
        allowed=OneOf((INDEX, COLOR)),
    )
    ignore_values: str = knob(
        None, "Values in the masks that become 255.", allowed=f"integers, {VALUES}, joined by commas"
    )
    reduce_zero_label: bool = knob(
        None, "0 becomes 255, and n becomes n - 1, as in ADE20K. --source=ade20k does so by itself."
    )
    unmapped: str = knob(
        REFUSE,
        "A value or colour that is no class: refuse its file by name, or ignore, which makes it 255.",
        allowed=OneOf((REFUSE, TO_IGNORE)),
    )

    def _check_masks(self):
        if self.classes is not None and self.num_classes is not None:
            raise UsageError("--classes, --num_classes: both given; allowed: one of them")
        if self.palette == COLOR and self.colors is None:
            raise UsageError("--palette=color: allowed: with --colors")
        if self.reduce_zero_label and self.label_map is not None:
            raise UsageError("--label_map, --reduce_zero_label: both given; allowed: one of them")
        self.ignored_values  # noqa: B018  (raises)

    @property
    def ignored_values(self) -> tuple[int, ...]:
        """--ignore_values as numbers; raises UsageError naming the flag."""
        words = [] if self.ignore_values is None else self.ignore_values.split(",")
        if not all(word.strip().isdecimal() and len(word.strip()) < 6 and int(word) in VALUES for word in words):
            raise UsageError(f"--ignore_values={self.ignore_values}: allowed: integers, {VALUES}, joined by commas")
        return tuple(int(word) for word in words)
