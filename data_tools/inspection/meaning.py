"""What the values or colours of the masks mean: as the user said, or else as they themselves suggest."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from data_tools import colors as color_files
from data_tools.colors import ColorTable
from data_tools.encoding import UNMAPPED, Encoding, value_classes
from data_tools.inspection.facts import PictureFacts
from data_tools.inspection.scaling import ranked, scaling
from kseg.config.values import MAX_CLASSES
from kseg.labels import IGNORE, LabelMap, default_colors

SMOOTHED = 0.15  # PictureFacts.ramps from here on: values between the classes were made up (see alignment.ramps)
# A value counts as meant from this share of the masks on (and two of them). A stray one is in one mask, a true class
# of CamVid in 52 % of them at least; in fewer than MANY masks a class may be in one alone.
MEANT_SHARE, MANY = 0.01, 50
RARE_COLOR = 0.001  # share of a mask's pixels: colours that are rarer in every mask come from smoothed borders
FEWEST_COLORS, BUILT_IN_COLORS = 2, 3  # that make a table; that must be in a built-in table to take it for that


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the masks' values and colours are taken for.

    Attributes:
        labels: the classes.
        known: whether the user or the layout said them.
        maps: split -> {value: class} where the values are no class numbers themselves.
        causes: split -> why: "scaled_masks", "off_by_one" or "sparse_values".
        colors: for RGB masks whose colours nobody explained, if most masks are such; else None.
        built_in: name of the built-in table that `colors` is.
        left_out: colours that `colors` leaves out as smoothed borders.
    """

    labels: LabelMap
    known: bool
    maps: Mapping[str, Mapping[int, int]] = dataclasses.field(default_factory=dict)
    causes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    colors: ColorTable | None = None
    built_in: str | None = None
    left_out: int = 0

    def table(self, split: str, encoding: Encoding | None) -> np.ndarray:
        """The class of every value of a split: uint8 [65536] of classes, 255 and UNMAPPED."""
        if split not in self.maps and encoding is not None:
            return value_classes(encoding)
        if split not in self.maps:
            return value_classes(Encoding(self.labels.num_classes))
        table = np.full(65536, UNMAPPED, np.uint8)
        table[IGNORE] = IGNORE
        for value, number in self.maps[split].items():
            table[value] = number
        return table


def interpret(
    pictures: Sequence[PictureFacts], labels: LabelMap | None, encodings: Mapping[str, Encoding | None]
) -> Meaning:
    """Finds out what the masks' values mean.

    Args:
        pictures: of all splits.
        labels: the classes; None where nothing says them.
        encodings: split -> how its masks say them, None where nothing says it.
    """
    unexplained = [picture for picture in pictures if picture.colors and not _has_colors(encodings[picture.split])]
    single = [picture for picture in pictures if picture.values]
    if len(unexplained) > len(single):
        colors, built_in, left_out = _color_table(unexplained)
        if colors is not None:
            return Meaning(labels or _labels_of(colors), labels is not None, {}, {}, colors, built_in, left_out)
    plain = {split for split, encoding in encodings.items() if encoding is None or not _changes(encoding)}
    meant = _meant_values([picture for picture in single if picture.split in plain])
    num_classes = None if labels is None else labels.num_classes
    maps, causes = {}, {}
    for split, values in meant.items():
        found = scaling(values, num_classes)
        if found:
            maps[split], causes[split] = found, "scaled_masks"
    rest = {split: values for split, values in meant.items() if split not in maps}
    if labels is None:
        shifted, size = _infer(rest, maps)
        labels_found = _numbered(single, size, maps)
    else:
        shifted = {split: "off_by_one" for split, values in rest.items() if _is_shifted(values, num_classes)}
        size, labels_found = num_classes, labels
    for split, cause in shifted.items():
        causes[split] = cause
        off = cause == "off_by_one"
        maps[split] = {value: value - 1 for value in range(1, size + 1)} | {0: IGNORE} if off else _ranks(rest)
    return Meaning(labels_found, labels is not None, maps, causes)


def _has_colors(encoding: Encoding | None) -> bool:
    return encoding is not None and encoding.colors is not None


def _changes(encoding: Encoding) -> bool:
    return encoding.changes_values or bool(encoding.ignore_values)


def _meant_values(pictures: Sequence[PictureFacts]) -> dict[str, set[int]]:
    """Split -> the values that its masks use on purpose; stray ones of single masks are left out."""
    by_split = collections.defaultdict(list)
    for picture in [one for one in pictures if one.ramps < SMOOTHED] or pictures:
        by_split[picture.split].append(picture)
    everywhere = collections.Counter(value for group in by_split.values() for one in group for value in one.values)
    masks = sum(map(len, by_split.values()))
    meant = {value for value, count in everywhere.items() if count >= max(2, MEANT_SHARE * masks)}
    if masks < MANY:
        top = max(meant - {IGNORE}, default=-1)
        while top + 1 in everywhere:  # a class may be in one mask alone, if the numbers stay without a gap
            top += 1
            meant.add(top)
    meant |= {IGNORE} if masks > 1 else set(everywhere)
    return {split: {value for one in group for value in one.values} & meant for split, group in by_split.items()}


def _is_shifted(values: set[int], num_classes: int) -> bool:
    """Whether classes are counted from 1."""
    inner = values - {IGNORE}
    return bool(inner) and min(inner) >= 1 and max(inner) == num_classes


def _infer(rest: dict[str, set[int]], maps: Mapping) -> tuple[dict[str, str], int]:
    """Splits that need a map, and why; and the number of classes."""
    least = max((number + 1 for found in maps.values() for number in found.values()), default=2)
    used = set().union(*rest.values()) - {IGNORE}
    if not used:
        return {}, max(2, least)
    from_one = {split for split, values in rest.items() if values and min(values) == 1 and max(values - {IGNORE}) > 1}
    others = set().union(*(values for split, values in rest.items() if split not in from_one)) - {IGNORE}
    shifted = [split for split in from_one if not others or max(rest[split] - {IGNORE}) == max(others) + 1]
    if shifted and (not others or 0 in others):
        return dict.fromkeys(shifted, "off_by_one"), max(2, least, max(used))
    if 2 * len(used) < max(used) + 1 or max(used) >= MAX_CLASSES:
        return dict.fromkeys(rest, "sparse_values"), min(MAX_CLASSES, max(2, least, len(used)))
    return {}, max(2, least, max(used) + 1)


def _ranks(rest: dict[str, set[int]]) -> dict[int, int]:
    return {value: number for value, number in ranked(set().union(*rest.values())).items() if number < MAX_CLASSES}


def _numbered(single: Sequence[PictureFacts], size: int, maps: Mapping) -> LabelMap:
    """Classes by number, in the colours of the masks' palettes where these are different for each."""
    labels = LabelMap.numbered(size)
    palette = majority_palette(single) if not maps else {}
    chosen = tuple(palette.get(index, labels.colors[index]) for index in range(size))
    return LabelMap(labels.names, chosen) if len(set(chosen)) == size else labels


def majority_palette(pictures: Iterable[PictureFacts]) -> dict[int, tuple[int, int, int]]:
    """Value -> the colour that most palette masks show it in."""
    votes = collections.defaultdict(collections.Counter)
    for picture in pictures:
        for value, color in picture.palette.items():
            votes[value][color] += 1
    return {value: counts.most_common(1)[0][0] for value, counts in votes.items()}


def _color_table(pictures: Sequence[PictureFacts]) -> tuple[ColorTable | None, str | None, int]:
    """The colours of RGB masks, most pixels first; the built-in table that holds them all; how many are left out."""
    pixels, kept = collections.Counter(), set()
    for picture in pictures:
        pixels.update(picture.colors)
        total = sum(picture.colors.values())
        kept |= {color for color, count in picture.colors.items() if count >= RARE_COLOR * total}
    if len(kept) < FEWEST_COLORS:
        return None, None, 0
    for name in color_files.BUILT_IN if len(kept) >= BUILT_IN_COLORS else ():
        table = color_files.read_colors(name)
        if kept <= table.values.keys():
            return table, name, len(pixels) - len(kept)
    chosen = [color for color, _ in pixels.most_common() if color in kept][:MAX_CLASSES]
    names = tuple(f"class_{index}" for index in range(len(chosen)))
    return ColorTable(names, tuple(chosen)), None, len(pixels) - len(chosen)


def _labels_of(table: ColorTable) -> LabelMap:
    distinct = len(set(table.colors)) == len(table.colors)
    return LabelMap(table.names, table.colors if distinct else default_colors(len(table.names)))


def classified(picture: PictureFacts, meaning: Meaning, encoding: Encoding | None) -> PictureFacts:
    """The picture with its pixels of each class where the scan could not know them; None where it has other values."""
    if picture.classes is not None and picture.split not in meaning.maps:
        return picture
    counts = np.zeros(256, np.int64)
    if picture.values and picture.mask_kind and not _has_colors(encoding):
        table = meaning.table(picture.split, encoding)
        for value, pixels in picture.values.items():
            counts[table[value]] += pixels
    elif picture.colors and meaning.colors is not None and not meaning.known:
        for color, pixels in picture.colors.items():
            counts[meaning.colors.values.get(color, UNMAPPED)] += pixels
        # Smoothed borders are no class; where there is more of them the mask is left out of the figures.
        counts[UNMAPPED] = 0 if counts[UNMAPPED] < len(picture.colors) * RARE_COLOR * counts.sum() else counts[UNMAPPED]
    if not counts.any() or counts[UNMAPPED]:
        return dataclasses.replace(picture, classes=None)
    return dataclasses.replace(picture, classes=tuple(counts.tolist()))
