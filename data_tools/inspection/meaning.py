"""What the values or colours of the masks mean: as the user said, or else as they themselves suggest."""

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from data_tools import colors as color_files
from data_tools.colors import ColorTable
from data_tools.encoding import REFUSE, UNMAPPED, Encoding, value_classes
from data_tools.inspection.facts import PictureFacts
from data_tools.inspection.palettes import majority_palette, misordered
from data_tools.inspection.scaling import is_dense, outliers, ranked, scaling
from kseg.config.values import MAX_CLASSES
from kseg.labels import IGNORE, LabelMap, default_colors

SCALED, OFF_BY_ONE, SPARSE, VOID = "scaled_masks", "off_by_one", "sparse_values", "void_value"  # causes
SMOOTHED = 0.15  # PictureFacts.ramps from here on: values between the classes were made up (see alignment.ramps)
# A value counts as meant from this share of the masks on (and two of them). A stray one is in one mask, a true class
# of CamVid in 52 % of them at least; in fewer than MANY masks a class may be in one alone.
MEANT_SHARE, MANY = 0.01, 50
RARE_COLOR = 0.001  # share of a mask's pixels: colours that are rarer in every mask come from smoothed borders
# Where 0 is what is ignored, most masks hold a little of it: CamVid's void is 3.6 % of the pixels and in all masks; its
# class 0, sky, 16 %. The value above the classes concerns the whole split if HELD of its masks, and two, hold it.
VOID_SHARE, VOID_MASKS, HELD = 0.1, 0.8, 0.2
FEWEST_COLORS, BUILT_IN_COLORS = 2, 3  # that make a table; that must be in a built-in table to take it for that


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What the masks' values and colours are taken for.

    Attributes:
        labels: the classes.
        known: whether the user or the layout said them.
        maps: split -> {value: class} where the values are no class numbers themselves.
        causes: split -> why: SCALED, OFF_BY_ONE, SPARSE or VOID.
        ignored: values that are taken for a second 255 (VOID).
        doubts: split -> N, where the values are 0 to N instead of 0 to N - 1 and 255: either the classes are counted
            from 1 and 0 is ignored, or N is ignored. Its masks are not counted.
        misread: (split, name) of palette masks whose colours are in another order; not counted either.
        colors: for RGB masks whose colours nobody explained, if most masks are such; else None.
        built_in: name of the built-in table that `colors` is.
        left_out: colours that `colors` leaves out as smoothed borders.
    """

    labels: LabelMap
    known: bool
    maps: Mapping[str, Mapping[int, int]] = dataclasses.field(default_factory=dict)
    causes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ignored: tuple[int, ...] = ()
    doubts: Mapping[str, int] = dataclasses.field(default_factory=dict)
    misread: Collection[tuple[str, str]] = ()
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
            labels_found = labels or _labels_of(colors)
            return Meaning(labels_found, labels is not None, colors=colors, built_in=built_in, left_out=left_out)
    misread = misordered(one for one in single if not _has_colors(encodings[one.split]))
    plain = {split for split, encoding in encodings.items() if encoding is None or not _changes(encoding)}
    read = [one for one in single if one.split in plain and (one.split, one.name) not in misread]
    refused = all(encoding is None or encoding.unmapped == REFUSE for encoding in encodings.values())
    return dataclasses.replace(_of_values(read, single, labels, refused), misread=misread)


def _of_values(
    read: Sequence[PictureFacts], single: Sequence[PictureFacts], labels: LabelMap | None, refused: bool
) -> Meaning:
    """What the values of the pictures `read` mean.

    `single`: all masks of one channel; `refused`: whether values that are no class are, and not ignored as the user has
    asked for.
    """
    read = [one for one in read if one.ramps < SMOOTHED] or read
    meant = _meant_values(read)
    num_classes = None if labels is None else labels.num_classes
    maps, causes = {}, {}
    for split, values in meant.items():
        found = scaling(values, num_classes)
        if found:
            maps[split], causes[split] = found, SCALED
    rest = {split: values for split, values in meant.items() if split not in maps}
    used = set().union(*rest.values(), *(one.values for one in read if one.split in rest and num_classes))
    far = outliers(used, num_classes) if refused else ()
    ignored = tuple(value for value in far if any(value in group for group in rest.values()))
    rest = {split: values - {*ignored} for split, values in rest.items()}
    shares = {split: _Shares.of([one for one in read if one.split == split]) for split in rest}
    doubts = {split: top for split in rest if refused and (top := _doubted(split, rest, shares, num_classes))}
    whole = _Shares.of([one for one in read if one.split in doubts])
    voids = {split for split, top in doubts.items() if whole.is_void_like(top)}
    if labels is None:
        shifted, size = _infer({split: rest[split] for split in rest if split not in doubts}, shares, maps)
        labels_found = _numbered(single, size, maps)
    else:
        ones = [split for split, values in rest.items() if _is_shifted(values, shares[split], num_classes)]
        shifted, size, labels_found = dict.fromkeys(ones, OFF_BY_ONE), num_classes, labels
    shifted |= dict.fromkeys(voids, OFF_BY_ONE)
    if ignored:
        shifted = dict.fromkeys(rest, VOID) | shifted
    maps |= {split: _row(cause, size, rest) | dict.fromkeys(ignored, IGNORE) for split, cause in shifted.items()}
    doubts = {split: top for split, top in doubts.items() if split not in voids}
    return Meaning(labels_found, labels is not None, maps, causes | shifted, ignored, doubts)


def _row(cause: str, size: int, rest: dict[str, set[int]]) -> dict[int, int]:
    """Value -> class, for OFF_BY_ONE, SPARSE or VOID."""
    if cause == OFF_BY_ONE:
        return {0: IGNORE} | {number + 1: number for number in range(size)}
    return _ranks(rest) if cause == SPARSE else {number: number for number in range(size)}


@dataclasses.dataclass(frozen=True)
class _Shares:
    """Of a split's masks: how many there are, how many hold each value, and each value's share of the pixels."""

    masks: int
    holders: Mapping[int, int]
    pixels: Mapping[int, float]

    @classmethod
    def of(cls, pictures: Sequence[PictureFacts]) -> "_Shares":
        holders, pixels = collections.Counter(), collections.Counter()
        for one in pictures:
            holders.update(one.values.keys())
            pixels.update(one.values)
        total = pixels.total()
        return cls(len(pictures), holders, {value: count / total for value, count in pixels.items()})

    def is_void_like(self, top: int) -> bool:
        """Whether 0 looks like what is ignored: a little of most masks, and of more of them than `top`."""
        spread = self.holders[0] >= VOID_MASKS * self.masks and self.holders[0] > self.holders[top]
        return spread and self.pixels[0] < VOID_SHARE


def _doubted(split: str, rest: Mapping[str, set[int]], shares: Mapping[str, _Shares], num_classes: int | None) -> int:
    """N where a split holds 0 to N and no 255, though its classes are N; else 0."""
    values, own = rest[split], shares[split]
    top = max(values - {IGNORE}, default=0)
    if 0 not in values or IGNORE in own.holders or own.holders[top] < max(2, HELD * own.masks) or not is_dense(values):
        return 0
    if num_classes is None:
        if values != {*range(top + 1)}:
            return 0
        others = set().union(*(rest[other] for other in rest if other != split))
        return top if {0, IGNORE, top - 1} <= others and max(others - {IGNORE}) == top - 1 else 0
    return top if top == num_classes else 0


def _has_colors(encoding: Encoding | None) -> bool:
    return encoding is not None and encoding.colors is not None


def _changes(encoding: Encoding) -> bool:
    return encoding.changes_values or bool(encoding.ignore_values)


def _meant_values(pictures: Sequence[PictureFacts]) -> dict[str, set[int]]:
    """Split -> the values that its masks use on purpose; stray ones of single masks are left out."""
    by_split = collections.defaultdict(list)
    for picture in pictures:
        by_split[picture.split].append(picture)
    everywhere = collections.Counter(value for picture in pictures for value in picture.values)
    masks = len(pictures)
    meant = {value for value, count in everywhere.items() if count >= max(2, MEANT_SHARE * masks)}
    top = max(meant - {IGNORE}, default=-1)
    if is_dense(meant - {IGNORE}):
        meant |= {value for value in everywhere if value < top}  # the row has a place for them, 0 among them
    if masks < MANY:
        while top + 1 in everywhere:  # a class may be in one mask alone, if the numbers stay without a gap
            top += 1
            meant.add(top)
    meant |= {IGNORE} if masks > 1 else set(everywhere)
    return {split: {value for one in group for value in one.values} & meant for split, group in by_split.items()}


def _is_shifted(values: set[int], own: _Shares, num_classes: int) -> bool:
    """Whether classes are counted from 1: no mask of the split, not even one, has a 0."""
    inner = values - {IGNORE}
    return bool(inner) and max(inner) == num_classes and not own.holders[0]


def _infer(rest: dict[str, set[int]], shares: Mapping[str, _Shares], maps: Mapping) -> tuple[dict[str, str], int]:
    """Splits that need a map, and why; and the number of classes."""
    numbers = {number for found in maps.values() for number in found.values()} - {IGNORE}
    least = max(numbers, default=1) + 1
    used = set().union(*rest.values()) - {IGNORE}
    if not used:
        return {}, max(2, least)
    from_one = set()
    for split, values in rest.items():
        inner = values - {IGNORE}
        # Without a gap: of 150 classes a dozen pictures lack some, and 0 is as likely as any.
        if len(inner) > 1 and inner == {*range(1, max(inner) + 1)} and not shares[split].holders[0]:
            from_one.add(split)
    others = set().union(*(values for split, values in rest.items() if split not in from_one)) - {IGNORE}
    shifted = [split for split in from_one if not others or max(rest[split] - {IGNORE}) == max(others) + 1]
    if shifted and (not others or 0 in others):
        return dict.fromkeys(shifted, OFF_BY_ONE), max(2, least, max(used))
    if 2 * len(used) < max(used) + 1 or max(used) >= MAX_CLASSES:
        return dict.fromkeys(rest, SPARSE), min(MAX_CLASSES, max(2, least, len(used)))
    return {}, max(2, least, max(used) + 1)


def _ranks(rest: dict[str, set[int]]) -> dict[int, int]:
    return {value: number for value, number in ranked(set().union(*rest.values())).items() if number < MAX_CLASSES}


def _numbered(single: Sequence[PictureFacts], size: int, maps: Mapping) -> LabelMap:
    """Classes by number, in the colours of the masks' palettes where these are different for each."""
    labels = LabelMap.numbered(size)
    palette = majority_palette(single) if not maps else {}
    chosen = tuple(palette.get(index, labels.colors[index]) for index in range(size))
    return LabelMap(labels.names, chosen) if len(set(chosen)) == size else labels


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
    refused = any(fault.kind == "unusable_mask" for fault in picture.faults)
    if refused or picture.split in meaning.doubts or (picture.split, picture.name) in meaning.misread:
        return dataclasses.replace(picture, classes=None)
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
