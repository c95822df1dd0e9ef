"""Files that mend what was found, in the forms that convert-dataset and kseg-train read."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from data_tools.encoding import LABEL_MAP
from data_tools.inspection.class_checks import TRAIN
from data_tools.inspection.facts import LEVELS, Finding, SplitFacts
from data_tools.inspection.meaning import OFF_BY_ONE, RARE_COLOR, VOID, Meaning
from kseg import storage
from kseg.labels import IGNORE

CONVERT_FLAGS, TRAIN_FLAGS, SUMMARY = "convert.flags", "train.flags", "summary.json"
COLORS, CLASSES = "colors.txt", "classes.txt"
# Findings after which classes were, or may have been, counted as others: weights of such counts would train wrong.
MISREAD = ("unknown_values", "palette_order", "blurred_masks", "rgb_masks", "unknown_colors", "one_bit_masks")


def suggest(
    folder: str,
    meaning: Meaning,
    splits: Mapping[str, SplitFacts],
    given: Mapping[str, str] | None,
    findings: Sequence[Finding] = (),
) -> dict[str, str]:
    """What the data set needs beyond what the user said.

    Args:
        folder: where the files will lie: flags name them by it.
        meaning: what the masks' values are taken for.
        splits: the figures by split.
        given: flags of convert-dataset, by name, that the user gave; None where the data set is converted already.
        findings: what is wrong.

    Returns:
        File name -> content: train.flags with class weights, unless masks were misread; before conversion convert.flags
        with where the pictures are, the classes and how the masks say them, a label map a split where one is needed,
        colors.txt for RGB masks, classes.txt where the classes have no names.
    """
    files = {TRAIN_FLAGS: _train_flags(meaning, splits, findings)}
    if given is None:
        return files
    flags = dict(given)
    if meaning.colors is not None:
        files[COLORS] = _colors(meaning)
        flags["colors"] = meaning.built_in or storage.join(folder, COLORS)
        if not meaning.built_in or meaning.colors.names != meaning.labels.names:
            # The table says how many classes there are, and in which order: names in another would be mixed up.
            flags = {name: value for name, value in flags.items() if name not in ("classes", "num_classes")}
    elif not meaning.known:
        files[CLASSES] = "\n".join(meaning.labels.names) + "\n"
        flags["classes"] = storage.join(folder, CLASSES)
    added, maps, choices = _numbering(folder, meaning, splits, flags.get("ignore_values"))
    files |= maps
    lines = ["# convert-dataset --flagfile=THIS --output=FOLDER reads the masks as inspect-dataset took them"]
    lines += [f"--{name}={value}" for name, value in (flags | added).items()]
    lines += choices
    return files | {CONVERT_FLAGS: "\n".join(lines) + "\n"}


def _numbering(
    folder: str, meaning: Meaning, splits: Mapping[str, SplitFacts], ignored: str | None
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Flags that number the classes from 0, label maps (file name -> content), and lines to choose from.

    `ignored`: --ignore_values as the user gave it.
    """
    flags, files = {}, {}
    if meaning.ignored:
        flags["ignore_values"] = ",".join([*filter(None, [ignored]), *map(str, meaning.ignored)])
    mapped = {split: cause for split, cause in meaning.causes.items() if cause != VOID}
    if mapped.keys() == splits.keys() and {*mapped.values()} == {OFF_BY_ONE}:
        return flags | {"reduce_zero_label": "True"}, files, []
    if mapped:
        flags["label_map"] = folder
    if mapped or (meaning.doubts and meaning.doubts.keys() != splits.keys()):
        files = {LABEL_MAP.format(split=split): _label_map(meaning, split) for split in splits}
    return flags, files, _choices(folder, meaning, splits, bool(mapped))


def _choices(folder: str, meaning: Meaning, splits: Mapping[str, SplitFacts], mapped: bool) -> list[str]:
    """Lines of convert.flags for the user to choose from, where a split's numbering is in doubt.

    Args:
        folder: where the label maps lie.
        meaning: has the doubts.
        splits: all.
        mapped: whether they are in use for another reason; they then cannot be taken up for this one.
    """
    if not meaning.doubts:
        return []
    lines = [f"# {split}: 0 to {top} where the classes are 0 to {top - 1}" for split, top in meaning.doubts.items()]
    counted = "--reduce_zero_label" if meaning.doubts.keys() == splits.keys() else f"--label_map={folder}"
    tops = ",".join(map(str, sorted({*meaning.doubts.values()})))
    if not mapped:
        lines += ["# if classes are counted from 1 there, and 0 is ignored:", f"#{counted}"]
    lines += [f"# if {tops} is what is ignored:", f"#--ignore_values={tops}"]
    return lines


def _label_map(meaning: Meaning, split: str) -> str:
    """The original's form: class -> value, or values, in the file; one that changes nothing where none is needed.

    Where the numbering is in doubt, it is that for classes counted from 1.
    """
    values = {}
    row = {number: number for number in range(meaning.labels.num_classes)}
    if split in meaning.doubts:
        row = {0: IGNORE} | {number + 1: number for number in row}
    for value, number in sorted(meaning.maps.get(split, row).items()):
        if value not in meaning.ignored:  # --ignore_values says it
            values.setdefault(number, []).append(value)
    numbers = {str(number): found[0] if len(found) == 1 else found for number, found in sorted(values.items())}
    return json.dumps({"map": numbers}) + "\n"


def _train_flags(meaning: Meaning, splits: Mapping[str, SplitFacts], findings: Sequence[Finding]) -> str:
    lines = ["# kseg-train --flagfile=THIS", f"--num_classes={meaning.labels.num_classes}"]
    if is_misread(findings):
        lines.append("# no class weights: errors of the masks make the counts of pixels uncertain; mend them first")
    elif weights := class_weights(splits):
        lines.append(f"--class_weights={','.join(f'{weight:.6g}' for weight in weights)}")
    return "\n".join(lines) + "\n"


def is_misread(findings: Sequence[Finding]) -> bool:
    """Whether an error concerns what the masks' values mean, so that the figures of the classes are uncertain."""
    return any(finding.level == LEVELS[0] and finding.kind in MISREAD for finding in findings)


def class_weights(splits: Mapping[str, SplitFacts]) -> tuple[float, ...]:
    """What kseg-train --class_weights=balanced computes from the split train, else from the first: a weight a class.

    All labelled pixels / (classes that have some * pixels of the class); 0 for a class without pixels. Equivalent:
    kseg.losses.build.balanced_weights. () where no pixel has a class.
    """
    if not splits:
        return ()
    pixels_per_class = (splits.get(TRAIN) or next(iter(splits.values()))).pixels_per_class
    total, present = sum(pixels_per_class), sum(pixels > 0 for pixels in pixels_per_class)
    return tuple(total / (present * pixels) if pixels else 0.0 for pixels in pixels_per_class) if total else ()


def _colors(meaning: Meaning) -> str:
    """A table for --colors."""
    lines = []
    if meaning.built_in:
        lines.append(f"# the built-in table: --colors={meaning.built_in} says the same")
    else:
        lines.append(
            "# name r g b, class 0 first: give the classes their names and their order; a line named ignore is 255"
        )
    if meaning.left_out:
        lines.append(
            f"# left out: {meaning.left_out} colours of less than {RARE_COLOR:.1%} of the pixels of every mask"
        )
    table = meaning.colors
    for name, color in zip(table.names, table.colors, strict=True):
        lines.append(f"{name} {' '.join(map(str, color))}")
    lines += [f"ignore {' '.join(map(str, color))}" for color in table.ignored]
    return "\n".join(lines) + "\n"


def summary(path: str, meaning: Meaning, splits: Mapping[str, SplitFacts], findings: Sequence[Finding]) -> str:
    """All figures and findings for programs, as JSON."""
    figures = {}
    for split, facts in splits.items():
        heights, widths = [[size[side] for size in facts.sizes] for side in (0, 1)]
        figures[split] = {
            "pictures": facts.pictures,
            "readable_images": len(facts.sizes),
            "height_range": [min(heights), max(heights)] if heights else None,
            "width_range": [min(widths), max(widths)] if widths else None,
            "pixels_per_class": list(facts.pixels_per_class),
            "images_per_class": list(facts.images_per_class),
            "ignored_pixels": facts.ignored_pixels,
        }
    value = {"path": path, "classes_known": meaning.known} | meaning.labels.to_dict()
    weights = () if is_misread(findings) else class_weights(splits)
    value |= {"splits": figures, "class_weights": list(weights)}
    value["findings"] = [dataclasses.asdict(finding) for finding in findings]
    return json.dumps(value, indent=2) + "\n"
