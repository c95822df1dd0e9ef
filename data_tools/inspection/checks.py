"""Everything that is wrong with a data set, from the facts about its pictures."""

import collections
from collections.abc import Iterator, Mapping, Sequence

from data_tools.encoding import Encoding
from data_tools.inspection import class_checks, duplicates, value_checks
from data_tools.inspection.facts import LEVELS, Fault, Finding, PictureFacts
from data_tools.inspection.meaning import Meaning
from data_tools.pairs import Problem

SHOWN = 3  # groups of duplicates that a message names
HABIT = 0.2  # share of the masks: so many equal ones are meant so, as of a camera that does not move
PAIRING = {  # how the text of a Problem of pairing starts -> the kind of the Finding, and what is said of such files
    "no mask ": ("image_without_mask", "images have no mask"),
    "no image ": ("mask_without_image", "masks have no image"),
    "has the stem of ": ("repeated_stem", "files share their stem with another"),
}


def find_all(
    splits: Mapping[str, Sequence[PictureFacts]],
    meaning: Meaning,
    encodings: Mapping[str, Encoding | None],
    problems: Sequence[Problem] = (),
    faults: Sequence[Fault] = (),
) -> tuple[Finding, ...]:
    """All findings, errors first.

    Args:
        splits: the pictures by split, their classes settled by `data_tools.inspection.meaning.classified`.
        meaning: what the masks' values are taken for.
        encodings: split -> how its masks say the classes, None where nothing says it.
        problems: met in pairing images and masks.
        faults: of shards and records.
    """
    pictures = [one for ones in splits.values() for one in ones]
    findings = [
        *pairing_findings(problems),
        *value_checks.fault_findings([*faults, *(fault for one in pictures for fault in one.faults)]),
        *class_checks.picture_findings(pictures),
        *value_checks.value_findings(pictures, meaning, encodings),
        *class_checks.class_findings(splits, meaning.labels),
        *duplicate_findings(pictures),
    ]
    return in_order(findings)


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Errors first, otherwise as they are."""
    return tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level)))


def pairing_findings(problems: Sequence[Problem]) -> Iterator[Finding]:
    """Images and masks that are in no pair."""
    by_kind = collections.defaultdict(list)
    for problem in problems:
        found = [kind for start, kind in PAIRING.items() if problem.what.startswith(start)]
        by_kind[found[0] if found else ("unusable_file", "files cannot be used")].append(problem)
    for (kind, words), ones in by_kind.items():
        first = min(ones)
        yield Finding(
            "error", kind, f"{len(ones)} {words}; the first: {first.what}", tuple(sorted({one.file for one in ones}))
        )


def duplicate_findings(pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    """Images that are there twice, byte by byte or nearly, and masks that were copied from one image to another."""
    groups = collections.defaultdict(list)
    for one in pictures:
        if one.digest:
            groups[one.digest].append(one)
    same = [ones for ones in groups.values() if len(ones) > 1]
    yield from _across([ones for ones in same if len({one.split for one in ones}) > 1], "duplicate_across_splits")
    inside = [ones for group in same for ones in _by_split(group)]
    differing = [ones for ones in inside if len({one.mask_digest for one in ones}) > 1]
    if differing:
        text = (
            f"{_counted(differing)} are the same file with different masks, so that one is wrong; {_named(differing)}"
        )
        yield Finding("error", "duplicate_with_other_mask", text, _files(differing))
    equal = [ones for ones in inside if len({one.mask_digest for one in ones}) == 1]
    if equal:
        text = f"{_counted(equal)} are the same file within a split, and count twice; {_named(equal)}"
        yield Finding("warning", "duplicate_in_split", text, _files(equal))
    seen = [ones[0] for ones in groups.values() if ones[0].thumbnail]
    pairs = [
        ([seen[first], seen[second]], mirrored)
        for first, second, mirrored in duplicates.alike([one.thumbnail for one in seen])
    ]
    yield from _near(pairs)
    yield from _repeated_masks(pictures, {frozenset((one.digest, two.digest)) for (one, two), _ in pairs})


def _by_split(ones: Sequence[PictureFacts]) -> list[list[PictureFacts]]:
    """The groups of two and more that are in one split."""
    by_split = collections.defaultdict(list)
    for one in ones:
        by_split[one.split].append(one)
    return [group for group in by_split.values() if len(group) > 1]


def _across(groups: Sequence[Sequence[PictureFacts]], kind: str, words: str = "the same file") -> Iterator[Finding]:
    if groups:
        text = (
            f"{_counted(groups)} are {words} in more than one split: what was trained on is scored, and the scores "
            f"flatter; {_named(groups)}; keep each in one split"
        )
        yield Finding("error", kind, text, _files(groups))


def _near(pairs: Sequence[tuple[list[PictureFacts], bool]]) -> Iterator[Finding]:
    words = "nearly the same (compressed anew, resized, brightened or mirrored)"
    across = [ones for ones, _ in pairs if ones[0].split != ones[1].split]
    yield from _across(across, "near_duplicate_across_splits", words)
    inside = [ones for ones, _ in pairs if ones[0].split == ones[1].split]
    if inside:
        text = f"{_counted(inside)} are {words} within a split; {_named(inside)}"
        yield Finding("warning", "near_duplicate_in_split", text, _files(inside))


def _repeated_masks(pictures: Sequence[PictureFacts], alike: set[frozenset]) -> Iterator[Finding]:
    """One mask for images that differ; masks of one class are alike by nature."""
    groups = collections.defaultdict(dict)
    for one in pictures:
        if one.mask_digest and one.digest and max(len(one.values), len(one.colors)) > 1:
            groups[one.mask_digest].setdefault(one.digest, one)
    repeated = [
        list(ones.values())
        for ones in groups.values()
        if len(ones) > 1 and not any(pair <= ones.keys() for pair in alike)
    ]
    if repeated:
        text = (
            f"{_counted(repeated)} differ, but their masks are the same to the pixel: was one saved under another's "
            f"name? {_named(repeated, of_masks=True)}"
        )
        files = tuple(sorted(one.mask_name for ones in repeated for one in ones))
        level = "warning" if len(files) > max(2, HABIT * len(pictures)) else "error"
        yield Finding(level, "repeated_mask", text, files)


def _counted(groups: Sequence[Sequence[PictureFacts]]) -> str:
    return f"{len({id(one) for ones in groups for one in ones})} images"


def _named(groups: Sequence[Sequence[PictureFacts]], of_masks: bool = False) -> str:
    """The first groups by file."""
    names = sorted(sorted(one.mask_name if of_masks else one.image_name for one in ones) for ones in groups)
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(" = ".join(group) for group in names[:SHOWN]) + more


def _files(groups: Sequence[Sequence[PictureFacts]]) -> tuple[str, ...]:
    return tuple(sorted({one.image_name for ones in groups for one in ones}))
