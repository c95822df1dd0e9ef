"""Files that mend what was found, in the forms that convert-dataset and kseg-train read."""

import dataclasses
import json
from collections.abc import Mapping, Sequence

from data_tools.inspection.class_checks import TRAIN
from data_tools.inspection.facts import Finding, SplitFacts
from data_tools.inspection.meaning import RARE_COLOR, Meaning
from kseg import storage

CONVERT_FLAGS, TRAIN_FLAGS, SUMMARY = "convert.flags", "train.flags", "summary.json"
COLORS, CLASSES, LABEL_MAP = "colors.txt", "classes.txt", "{split}_label_map.json"


def suggest(
    folder: str, meaning: Meaning, splits: Mapping[str, SplitFacts], given: Mapping[str, str] | None
) -> dict[str, str]:
    """What the data set needs beyond what the user said.

    Args:
        folder: where the files will lie: flags name them by it.
        meaning: what the masks' values are taken for.
        splits: the figures by split.
        given: flags of convert-dataset, by name, that the user gave; None where the data set is converted already.

    Returns:
        File name -> content: train.flags with class weights; before conversion convert.flags with where the pictures
        are, the classes and how the masks say them, a label map a split where one is needed, colors.txt for RGB masks,
        classes.txt where the classes have no names.
    """
    files = {TRAIN_FLAGS: _train_flags(meaning, splits)}
    if given is None:
        return files
    flags = dict(given)
    if meaning.colors is not None:
        files[COLORS] = _colors(meaning)
        flags["colors"] = meaning.built_in or storage.join(folder, COLORS)
        if len(meaning.colors.names) != meaning.labels.num_classes:  # the table then says how many classes there are
            flags = {name: value for name, value in flags.items() if name not in ("classes", "num_classes")}
    elif not meaning.known:
        files[CLASSES] = "\n".join(meaning.labels.names) + "\n"
        flags["classes"] = storage.join(folder, CLASSES)
    if meaning.maps:
        for split in splits:
            files[LABEL_MAP.format(split=split)] = _label_map(meaning, split)
        flags["label_map"] = folder
    lines = ["# convert-dataset --flagfile=THIS --output=FOLDER reads the masks as inspect-dataset took them"]
    lines += [f"--{name}={value}" for name, value in flags.items()]
    return files | {CONVERT_FLAGS: "\n".join(lines) + "\n"}


def _label_map(meaning: Meaning, split: str) -> str:
    """The original's form: class -> value, or values, in the file; one that changes nothing where none is needed."""
    values = {}
    identity = {number: number for number in range(meaning.labels.num_classes)}
    for value, number in sorted(meaning.maps.get(split, identity).items()):
        values.setdefault(number, []).append(value)
    numbers = {str(number): found[0] if len(found) == 1 else found for number, found in sorted(values.items())}
    return json.dumps({"map": numbers}) + "\n"


def _train_flags(meaning: Meaning, splits: Mapping[str, SplitFacts]) -> str:
    lines = ["# kseg-train --flagfile=THIS", f"--num_classes={meaning.labels.num_classes}"]
    weights = class_weights(splits)
    if weights:
        lines.append(f"--class_weights={','.join(f'{weight:.6g}' for weight in weights)}")
    return "\n".join(lines) + "\n"


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
    value |= {"splits": figures, "class_weights": list(class_weights(splits))}
    value["findings"] = [dataclasses.asdict(finding) for finding in findings]
    return json.dumps(value, indent=2) + "\n"
