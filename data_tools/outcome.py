"""What a conversion did, and the words for it."""

import dataclasses
from collections.abc import Mapping, Sequence

from data_tools.pairs import Problem
from kseg import records, storage
from kseg.errors import RunError
from kseg.labels import LabelMap

PROBLEMS_FILE = "problems.jsonl"
PROBLEMS_SHOWN = 20


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What was written.

    Attributes:
        entries: split -> its entry in dataset.json.
        problems: (split, problem) of everything that was left out.
        notes: what was changed in pictures -> in how many.
    """

    entries: Mapping[str, records.Split]
    problems: tuple[tuple[str, Problem], ...]
    notes: Mapping[str, int]


def refusal(problems: Sequence[Problem], checked: int, reason: str = "") -> RunError:
    """The error that lists problems: the first 20 by file, and the count."""
    shown = sorted(problems)[:PROBLEMS_SHOWN]
    counted = f"{_counted(len(problems), 'problem')}, {_counted(checked, 'pair')} checked, nothing written"
    head = f"{reason}: {counted}" if reason else counted
    if len(problems) > PROBLEMS_SHOWN:
        head += f"; the first {PROBLEMS_SHOWN}"
    error = "\n  ".join([f"{head}:", *map(str, shown)]) if shown else head
    hint = "" if reason else "\n--on_error=skip leaves such pairs out; inspect-dataset says more"
    return RunError(error + hint)


def summary(outcome: Outcome, output: str, labels: LabelMap) -> str:
    """What was written, for a person: a line a split, then the classes' shares of the pixels in each.

    Args:
        outcome: of `data_tools.writer.write_splits`.
        output: folder of the data set.
        labels: names of the classes.
    """
    lines = [_split_line(split, entry) for split, entry in outcome.entries.items()]
    names = [*labels.names, "(ignored, 255)"]
    width = max(len(name) for name in [*names, "share of the pixels"])
    columns = {split: max(7, len(split)) for split in outcome.entries}
    head = "  ".join(f"{split:>{size}}" for split, size in columns.items())
    lines.append(f"  {'share of the pixels':<{width}}  {head}")
    for index, name in enumerate(names):
        shares = (_shares(entry)[index] for entry in outcome.entries.values())
        row = "  ".join(f"{share:{size}.2%}" for share, size in zip(shares, columns.values(), strict=True))
        lines.append(f"  {name:<{width}}  {row}")
    return "\n".join([*lines, f"written to {output}"])


def _shares(entry: records.Split) -> list[float]:
    """Of all pixels: each class's, then the ignored ones'."""
    pixels = [*entry.pixels_per_class, entry.ignored_pixels]
    return [count / sum(pixels) for count in pixels]


def _split_line(split: str, entry: records.Split) -> str:
    (low_height, high_height), (low_width, high_width) = entry.height_range, entry.width_range
    sizes = f"{low_width} x {low_height}"
    if (low_width, low_height) != (high_width, high_height):
        sizes += f" to {high_width} x {high_height}"
    total_bytes = sum(shard.bytes for shard in entry.shards)
    images, shards = _counted(entry.examples, "image"), _counted(len(entry.shards), "shard")
    line = f"{split}: {images} of {sizes} pixels in {shards}, {total_bytes / 1e6:.1f} MB"
    return line + (f"; {entry.skipped} left out" if entry.skipped else "")


def remarks(outcome: Outcome, output: str, labels: LabelMap) -> list[str]:
    """What a person should know besides: changed pictures, classes without a pixel, and what was left out."""
    lines = [f"{_counted(count, 'picture')}: {note}" for note, count in sorted(outcome.notes.items())]
    for split, entry in outcome.entries.items():
        absent = [name for name, pixels in zip(labels.names, entry.pixels_per_class, strict=True) if not pixels]
        if absent:
            # Where nothing says what 255 is, somebody may have meant it as the last class.
            plain = entry.ignored_pixels and entry.label_map is None
            hint = "; 255 always means ignore: is it meant as a class?" if plain else ""
            lines.append(f"no pixel in {split} is of class {', '.join(absent)}{hint}")
    if outcome.problems:
        where = ", ".join(f"{entry.skipped} of {split}" for split, entry in outcome.entries.items() if entry.skipped)
        shown = [f"  {split}: {problem}" for split, problem in outcome.problems[:PROBLEMS_SHOWN]]
        if len(outcome.problems) > PROBLEMS_SHOWN:
            shown.append(f"  and {len(outcome.problems) - PROBLEMS_SHOWN} more")
        path = storage.join(output, PROBLEMS_FILE)
        lines.append("\n".join([f"pairs left out: {where}; all problems are in {path}:", *shown]))
    return lines


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
