"""Findings about what masks hold: values that are no class, scaled, smoothed or coloured masks."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence

from data_tools.encoding import INDEX, UNMAPPED, Encoding
from data_tools.inspection.facts import Fault, Finding, PictureFacts
from data_tools.inspection.meaning import RARE_COLOR, SMOOTHED, Meaning
from data_tools.inspection.scaling import scaling
from kseg.labels import IGNORE

SHOWN = 6  # values or colours that a message names
STRAY_VALUES = 8  # values that are no class in one mask: so many may be noise, if there are slopes as well
SLOPES = 0.05  # PictureFacts.ramps of noise: right masks of CamVid have 0.033 at most, saved as JPEG 0.2
ONE_BIT = "1-bit grey"
RARE_COLORS = 16  # colours of less than RARE_COLOR of the pixels in one mask: its borders are smoothed
FAULTS = {  # kinds that scanning finds, and what is said of such files
    "unreadable_image": "cannot be read as images",
    "unreadable_mask": "cannot be read as masks",
    "lossy_mask": "are JPEG files, whose compression invents values between the classes",
    "unusable_mask": "are masks of a kind that says no class clearly",
    "missing_shard": "are missing",
    "changed_shard": "are not as they were written",
    "damaged_record": "are no records that training takes",
}


def fault_findings(faults: Iterable[Fault]) -> Iterator[Finding]:
    """What conversion or training refuses for the file's own sake."""
    by_kind = collections.defaultdict(list)
    for fault in faults:
        by_kind[fault.kind].append(fault)
    for kind, words in FAULTS.items():
        if faults := by_kind[kind]:
            first = min(faults, key=lambda fault: fault.file)
            text = f"{len(faults)} files {words}; the first: {first.what}"
            yield Finding("error", kind, text, tuple(sorted({fault.file for fault in faults})))


def value_findings(
    pictures: Sequence[PictureFacts], meaning: Meaning, encodings: Mapping[str, Encoding | None]
) -> Iterator[Finding]:
    """What is wrong with the values and colours of the masks that can be read.

    Args:
        pictures: of all splits.
        meaning: what their values are taken for.
        encodings: split -> how its masks say the classes, None where nothing says it.
    """
    by_values = [one for one in pictures if one.values and not _by_colors(one, encodings)]
    unknown = {id(one): unknown_values(one, meaning, encodings) for one in by_values}
    scaled = [one for one in by_values if _is_scaled_alone(one, unknown[id(one)], meaning)]
    told = {id(one) for one in scaled}
    blurred = [one for one in by_values if id(one) not in told and _is_blurred(one, unknown[id(one)])]
    blurred += [one for one in pictures if one.colors and _has_rare_colors(one, encodings)]
    told |= {id(one) for one in blurred}
    yield from _blurred(blurred)
    yield from _scaled_splits(by_values, meaning)
    yield from _scaled_masks(scaled)
    misread = [one for one in by_values if id(one) not in told and _is_misordered(one, meaning)]
    yield from _palettes(misread)
    told |= {id(one) for one in misread}
    yield from _doubts([one for one in by_values if id(one) not in told], meaning)
    strange = [one for one in by_values if unknown[id(one)] and id(one) not in told]
    yield from _unknown([(one, unknown[id(one)]) for one in strange], meaning)
    yield from _colored([one for one in pictures if one.colors and id(one) not in told], meaning, encodings)
    told |= {id(one) for one in strange}
    yield from _mixed([one for one in pictures if id(one) not in told])


def _is_blurred(one: PictureFacts, unknown: Mapping[int, int]) -> bool:
    return one.ramps >= SMOOTHED or (len(unknown) >= STRAY_VALUES and one.ramps >= SLOPES)


def _is_misordered(one: PictureFacts, meaning: Meaning) -> bool:
    return (one.split, one.name) in meaning.misread or any(fault.kind == "palette_order" for fault in one.faults)


def _by_colors(one: PictureFacts, encodings: Mapping[str, Encoding | None]) -> bool:
    """Whether a mask's classes are told by its colours, not by its values."""
    encoding = encodings[one.split]
    return encoding is not None and encoding.colors is not None and encoding.palette != INDEX


def unknown_values(one: PictureFacts, meaning: Meaning, encodings: Mapping[str, Encoding | None]) -> dict[int, int]:
    """Values of a mask that are no class, and their pixels; none where the user has such pixels ignored.

    Of a split whose numbering is in doubt nothing is unknown: that is told of as a whole.
    """
    encoding = encodings[one.split]
    if one.split in meaning.doubts or (encoding is not None and encoding.unmapped != "refuse"):
        return {}
    table = meaning.table(one.split, encoding)
    return {
        value: pixels
        for value, pixels in one.values.items()
        if table[value] == UNMAPPED or (value in meaning.ignored and one.split in meaning.maps)
    }


def _has_rare_colors(one: PictureFacts, encodings: Mapping[str, Encoding | None]) -> bool:
    encoding, total = encodings[one.split], sum(one.colors.values())
    if encoding is not None and encoding.colors is not None:
        return len(one.colors.keys() - encoding.colors.values.keys()) >= STRAY_VALUES
    return sum(pixels < RARE_COLOR * total for pixels in one.colors.values()) >= RARE_COLORS


def _names(pictures: Sequence[PictureFacts]) -> tuple[str, ...]:
    return tuple(sorted({one.mask_name for one in pictures}))


def _blurred(pictures: list[PictureFacts]) -> Iterator[Finding]:
    if pictures:
        text = (
            f"{len(pictures)} masks have values or colours between those of the classes, as interpolation, smoothed "
            "borders and JPEG make them: wrong classes along every border; export them anew, or resize them from the "
            "originals to the nearest pixel"
        )
        yield Finding("error", "blurred_masks", text, _names(pictures))


def _scaled_splits(pictures: list[PictureFacts], meaning: Meaning) -> Iterator[Finding]:
    texts = {
        "scaled_masks": (
            "error",
            "the masks of {split} hold {values}: class numbers scaled to be seen; --label_map={split}_label_map.json, "
            "which is suggested, makes them {classes}",
        ),
        "off_by_one": (
            "error",
            "the masks of {split} count the classes from 1 ({values}), and 0 {zero}: {mend}, which is suggested, "
            "counts them from 0",
        ),
        "sparse_values": (
            "warning",
            "the masks of {split} hold {values}: numbers with gaps, where the classes should be a row from 0; "
            "--label_map={split}_label_map.json, which is suggested, makes them {classes}; or is it a known set of "
            "numbers, as Cityscapes' labelIds (--source=cityscapes)?",
        ),
    }
    for split, cause in meaning.causes.items():
        if cause not in texts:
            continue
        level, text = texts[cause]
        every_split = {one.split for one in pictures} <= {name for name, why in meaning.causes.items() if why == cause}
        zero = any(0 in one.values for one in pictures if one.split == split)
        mend = "--reduce_zero_label" if every_split else f"--label_map={split}_label_map.json"
        if cause == "off_by_one" and not meaning.known and every_split:
            level = "warning"  # class 0 would be there for nothing, but no pixel has a wrong label
        used = {number for number in meaning.maps[split].values() if number != IGNORE}
        values = sorted({value for one in pictures if one.split == split for value in one.values} - {IGNORE})
        if IGNORE in meaning.maps[split]:
            values.append(IGNORE)
        files = _names([one for one in pictures if one.split == split])
        words = "looks like what is ignored, a little of most masks" if zero else "does not occur"
        text = text.format(split=split, values=_listed(values), classes=f"0 to {max(used)}", zero=words, mend=mend)
        yield Finding(level, cause, text, files)


def _is_scaled_alone(one: PictureFacts, unknown: Mapping[int, int], meaning: Meaning) -> bool:
    """Whether a single mask, unlike its split, is scaled: two levels could be anything, three are no chance."""
    inner = one.values.keys() - {0, IGNORE}
    if not unknown or inner != unknown.keys() - {0, IGNORE}:
        return False
    found = scaling(one.values.keys(), meaning.labels.num_classes)
    return found is not None and len(found) >= 3


def _scaled_masks(pictures: list[PictureFacts]) -> Iterator[Finding]:
    if pictures:
        values = sorted({value for one in pictures for value in one.values})
        text = (
            f"{len(pictures)} masks hold class numbers scaled to be seen ({_listed(values)}), unlike the others of "
            "their split; export them anew as the others"
        )
        yield Finding("error", "scaled_masks", text, _names(pictures))


def _doubts(pictures: list[PictureFacts], meaning: Meaning) -> Iterator[Finding]:
    """Splits that use one number more than there are classes, and no 255."""
    every_split = {one.split for one in pictures} <= meaning.doubts.keys()
    mend = "--reduce_zero_label" if every_split else "a label map for this split"
    for split, top in meaning.doubts.items():
        text = (
            f"the masks of {split} hold 0 to {top} and no {IGNORE}, where the classes are 0 to {top - 1}: either they "
            f"are counted from 1 and 0 is ignored ({mend}), or "
            f"{top} is what is ignored (--ignore_values={top}), or a class is missing from the list; convert.flags "
            "has the lines to choose from"
        )
        yield Finding("error", "unknown_values", text, _names([one for one in pictures if one.split == split]))


def _unknown(strange: list[tuple[PictureFacts, dict[int, int]]], meaning: Meaning) -> Iterator[Finding]:
    if not strange:
        return
    counts = collections.Counter()
    for _, values in strange:
        counts.update(values)
    top = meaning.labels.num_classes
    words = _listed([f"{value} ({pixels} pixels)" for value, pixels in sorted(counts.items())])
    files = _names([one for one, _ in strange])
    if counts.keys() <= {*meaning.ignored}:
        values = ",".join(map(str, sorted(counts)))
        text = (
            f"{len(strange)} masks hold {words}, far above the classes 0 to {top - 1}: one more value for what is "
            f"ignored? --ignore_values={values}, which is suggested, makes it {IGNORE}"
        )
        yield Finding("error", "unknown_values", text, files)
        return
    taken = f"classes are 0 to {top - 1}" if meaning.known else f"the classes are taken for 0 to {top - 1}"
    mend = "correct them, or leave such pixels out by --unmapped=ignore or --ignore_values"
    if top in counts:
        if not meaning.known:
            mend = f"if {top} is a class, say --num_classes={top + 1}; else {mend}"
        shifted = sum(0 not in one.values for one, _ in strange)
        if set(counts) == {top} and shifted:
            mend = f"{shifted} of them have no 0: is 1 added to every class? Correct them"
    text = f"{len(strange)} masks hold values that are no class: {words}; {taken}, {IGNORE} = ignore; {mend}"
    yield Finding("error", "unknown_values", text, files)


def _colored(
    pictures: list[PictureFacts], meaning: Meaning, encodings: Mapping[str, Encoding | None]
) -> Iterator[Finding]:
    """RGB masks; those whose alpha channel says something are told of elsewhere."""
    pictures = [one for one in pictures if not any(fault.kind == "unusable_mask" for fault in one.faults)]
    with_table = [one for one in pictures if encodings[one.split] and encodings[one.split].colors]
    unexplained = [one for one in pictures if encodings[one.split] is None or encodings[one.split].colors is None]
    if unexplained:
        mend = "export them as the others, with one channel"
        if meaning.built_in:
            mend = f"their colours are those of {meaning.built_in}: --colors={meaning.built_in}"
        elif meaning.colors is not None:
            mend = (
                "--colors=colors.txt, which is suggested, lists the colours by their pixels, most first: put its lines "
                "in the order of the classes, and fill in the names there, before you convert"
            )
        text = f"{len(unexplained)} masks are RGB, and colours are no class numbers; {mend}"
        yield Finding("error", "rgb_masks", text, _names(unexplained))
    faulty = [one for one in with_table if any(fault.kind == "unknown_colors" for fault in one.faults)]
    if faulty:
        fault = next(fault for fault in faulty[0].faults if fault.kind == "unknown_colors")
        text = f"{len(faulty)} masks hold colours that are in no line of --colors; the first: {fault.what}"
        yield Finding("error", "unknown_colors", text, _names(faulty))


def _palettes(odd: list[PictureFacts]) -> Iterator[Finding]:
    """Palette masks that say by one index what most say by another: a program put the colours in its own order."""
    if odd:
        text = (
            f"{len(odd)} palette masks have the usual colours under other indices, so that their classes are mixed up; "
            "export them anew, or go by the colours with --palette=color and --colors"
        )
        yield Finding("error", "palette_order", text, _names(odd))


def _mixed(pictures: Sequence[PictureFacts]) -> Iterator[Finding]:
    """Masks of another kind than most; RGB ones are an error of their own."""
    sound = [one for one in pictures if one.mask_kind and not one.faults and not one.colors]
    kinds = collections.Counter(one.mask_kind for one in sound)
    if len(kinds) > 1:
        usual = kinds.most_common(1)[0][0]
        odd = [one for one in sound if one.mask_kind != usual]
        single = [one for one in odd if one.mask_kind == ONE_BIT]
        most = max(len(one.values.keys() - {IGNORE}) for one in sound if one.mask_kind == usual)
        if single and most > 2:
            text = (
                f"{len(single)} masks have 1 bit, which says 0 and 1 alone, among {kinds[usual]} {usual} ones with up "
                f"to {most} classes each: were the others lost? Export them anew"
            )
            yield Finding("error", "one_bit_masks", text, _names(single))
            odd = [one for one in odd if one.mask_kind != ONE_BIT]
            if not odd:
                return
        counts = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        text = f"masks of several kinds: {counts}; they may come from different tools: do their values mean the same?"
        yield Finding("warning", "mixed_mask_kinds", text, _names(odd))


def _listed(words: Sequence) -> str:
    shown = ", ".join(str(word) for word in words[:SHOWN])
    return f"{shown} and {len(words) - SHOWN} more" if len(words) > SHOWN else shown
