"""Findings about what the masks show: classes that a split lacks, masks that teach nothing or lie wrong."""

import collections
import statistics
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_tools.inspection import duplicates
from data_tools.inspection.alignment import TURNS
from data_tools.inspection.facts import Finding, PictureFacts, SplitFacts
from kseg.labels import IGNORE, LabelMap

TRAIN = "train"
MOSTLY = 0.5  # share of a split's pixels
FEW = 0.2  # share of a split's masks: constant ones beyond are a habit of the data set, as of one for cracks
# Of alignment.fits. Where images and masks fit on the whole (median from FITTING on; CamVid has 1.67, made-up scenes
# 1.4), a mask that fits better when turned, by FITS_BETTER, and nearly as well then as the usual one, was drawn for the
# turned image. Right masks of CamVid have 0.962 at most, merged to three classes 1.12; road against the rest 1.63, and
# lines of text on pages 1.13 of all: two classes say too little, and where the masks of a set differ much in how much
# better they fit as they are, one must stand out from them. Of turned ones 98 % (CamVid) and 80 % (made-up) are found.
FITTING, FITS_BETTER, NEARLY = 1.2, 1.1, 0.7
FEWEST_CLASSES, SPREADS = 3, 5
SMALLEST = 17  # pixels: kseg-train's crops are larger than 16
BLANK = duplicates.FLAT


def class_findings(splits: Mapping[str, Sequence[PictureFacts]], labels: LabelMap) -> Iterator[Finding]:
    """Classes missing from splits, and splits and masks without anything to learn.

    Args:
        splits: by name; pictures whose classes are not known are left out.
        labels: the classes.
    """
    known = {split: [one for one in pictures if one.classes is not None] for split, pictures in splits.items()}
    # Where most masks cannot be read, what they lack is no news.
    usable = {split: ones for split, ones in known.items() if 2 * len(ones) >= len(splits[split]) and ones}
    yield from _missing(usable, labels)
    for split, pictures in known.items():
        yield from _ignored(split, pictures)
        yield from _constant(split, pictures)


def _missing(splits: Mapping[str, Sequence[PictureFacts]], labels: LabelMap) -> Iterator[Finding]:
    figures = {split: SplitFacts.of(pictures, labels.num_classes) for split, pictures in splits.items()}
    learnt = TRAIN if TRAIN in figures else next(iter(figures), None)
    nowhere = []
    for split, facts in figures.items():
        missing = [index for index, count in enumerate(facts.images_per_class) if not count]
        elsewhere = [index for index in missing if any(other.images_per_class[index] for other in figures.values())]
        nowhere = [index for index in missing if index not in elsewhere]
        if not elsewhere:
            continue
        named = ", ".join(repr(labels.names[index]) for index in elsewhere)
        if split == learnt:
            where = ", ".join(
                name for name, other in figures.items() if any(other.images_per_class[i] for i in elsewhere)
            )
            text = f"no mask of {split} shows {named}, but those of {where} do: what is not shown cannot be learnt"
            yield Finding("error", "class_missing", text)
        else:
            text = f"no mask of {split} shows {named}: its scores will leave such a class out"
            yield Finding("warning", "class_missing", text)
    if nowhere:
        named = ", ".join(repr(labels.names[index]) for index in nowhere)
        yield Finding("warning", "class_unused", f"no mask of any split shows {named}; is the list of classes right?")


def _ignored(split: str, pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    empty = [one for one in pictures if one.classes[IGNORE] == sum(one.classes)]
    if empty:
        every = len(empty) == len(pictures)
        text = f"{len(empty)} masks of {split} are 255 (ignore) all over: nothing is learnt or scored from them"
        yield Finding("error" if every else "warning", "all_ignored", text, _names(empty))
    total = sum(sum(one.classes) for one in pictures)
    ignored = sum(one.classes[IGNORE] for one in pictures)
    if len(empty) < len(pictures) and ignored > MOSTLY * total:
        text = f"{ignored / total:.0%} of {split}'s pixels are 255 (ignore): is a class meant by it?"
        yield Finding("warning", "mostly_ignored", text)


def _constant(split: str, pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    constant = [one for one in pictures if _classes_in(one) == 1]
    if constant and len(constant) <= FEW * len(pictures):
        text = f"{len(constant)} masks of {split} show one class alone, where the others show more: were they drawn?"
        yield Finding("warning", "constant_mask", text, _names(constant))


def _classes_in(one: PictureFacts) -> int:
    return sum(pixels > 0 for pixels in one.classes[:IGNORE])


def picture_findings(pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    """What is wrong with an image, or between it and its mask, other than the values."""
    differing = [one for one in pictures if one.size and one.mask_size and one.size != one.mask_size]
    if differing:
        first = min(differing, key=lambda one: one.mask_name)
        (height, width), (mask_height, mask_width) = first.size, first.mask_size
        turned = ""
        if first.turn >= 5 and first.size == first.mask_size[::-1]:
            turned = f"; it fits the image as stored, but its EXIF orientation {first.turn} turns it: turn the mask too"
        text = (
            f"{len(differing)} masks are not of their image's size; the first: {mask_width} x {mask_height} pixels for "
            f"{width} x {height}{turned}"
        )
        yield Finding("error", "size_mismatch", text, _names(differing))
    yield from _turned(pictures)
    blank = [one for one in pictures if one.thumbnail and duplicates.contrast(one.thumbnail) < BLANK]
    if blank:
        text = f"{len(blank)} images are of one colour all over: a lens cap, or a file that came out empty?"
        yield Finding("warning", "blank_image", text, tuple(sorted(one.image_name for one in blank)))
    tiny = [one for one in pictures if one.size and min(one.size) < SMALLEST]
    if tiny:
        text = f"{len(tiny)} images have a side below {SMALLEST} pixels: thumbnails among the images?"
        yield Finding("warning", "tiny_image", text, tuple(sorted(one.image_name for one in tiny)))


def _turned(pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    """Masks that lie better on their image when turned; how one that several images share lies says nothing."""
    images = collections.defaultdict(set)
    for one in pictures:
        images[one.mask_digest].add(one.digest)
    telling = [one for one in pictures if one.fits and len(one.values.keys() - {IGNORE}) >= FEWEST_CLASSES]
    measured = [one for one in telling if len(images[one.mask_digest]) == 1]
    usual = statistics.median(one.fits[0] for one in measured) if measured else 0
    if usual < FITTING:
        return
    better = np.array([max(one.fits[1:]) / one.fits[0] for one in measured])
    # The lower half tells the spread: masks that are turned, up to half of all, are in the upper one.
    low, middle = np.quantile(better, (0.25, 0.5))
    least = max(FITS_BETTER, middle + SPREADS * (middle - low))
    by_turn = collections.defaultdict(list)
    for one, times in zip(measured, better, strict=True):
        fit = max(one.fits[1:])
        if times >= least and fit >= NEARLY * usual:
            by_turn[list(TURNS)[one.fits.index(fit) - 1]].append(one)
    for turn, ones in by_turn.items():
        stored = sum(one.turn != 1 for one in ones)
        exif = f" ({stored} of the images carry an EXIF orientation that the mask does not follow)" if stored else ""
        text = f"{len(ones)} masks would lie better on their image {turn}{exif}: look at the overlays"
        yield Finding("error", "turned_mask", text, _names(ones))


def _names(pictures: Sequence[PictureFacts]) -> tuple[str, ...]:
    return tuple(sorted(one.mask_name for one in pictures))
