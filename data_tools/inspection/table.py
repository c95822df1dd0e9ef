"""An inspection as text for a terminal."""

import textwrap

from data_tools.inspection.facts import LEVELS, Finding, Inspection, SplitFacts
from kseg.labels import IGNORE

WIDTH = 120  # columns
NAME_MIN = 22  # columns that a class name keeps where many splits press on it
FEW = 3  # files named beneath a finding


def plain(text: str) -> str:
    """`text` with whatever is no visible character written as an escape.

    File names may hold line feeds, terminal commands and bytes that are no UTF-8 (lone surrogates, PEP 383), which
    would break a line, act on the terminal or stop the writing.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def shortened(text: str, length: int) -> str:
    """`text`, with "…" for its middle where it has more than `length` characters (at least 3)."""
    if len(text) <= length:
        return text
    kept = length - 1
    return f"{text[: kept - kept // 2]}…{text[-(kept // 2) :]}"


def share(pixels: int, total: int) -> str:
    """`pixels` of `total` in per cent: "12.34%", "<0.01%" for what would round to nothing, "-" for none."""
    if not pixels:
        return "-"
    return f"{pixels / total:.2%}" if pixels / total >= 0.00005 else "<0.01%"


def sizes(facts: SplitFacts) -> str:
    """The sizes of a split in pixels, width x height, from the least to the largest of each, and what has no size."""
    if not facts.sizes:
        return "no readable image"
    heights, widths = zip(*facts.sizes, strict=True)
    text = f"{min(widths)} x {min(heights)}"
    if len(set(facts.sizes)) > 1:
        text += f" to {max(widths)} x {max(heights)}"
    unreadable = facts.pictures - len(facts.sizes)
    return f"{text}, {unreadable} unreadable" if unreadable else text


def headline(inspection: Inspection) -> str:
    """What was inspected, in a line: "data: 701 pictures in 3 splits, 11 classes"."""
    pictures = sum(facts.pictures for facts in inspection.splits.values())
    held = f"{counted(pictures, 'picture')} in {counted(len(inspection.splits), 'split')}"
    return f"{plain(inspection.path)}: {held}, {counted(inspection.labels.num_classes, 'class', 'classes')}"


def verdict(findings: tuple[Finding, ...]) -> str:
    """The findings in figures: "1 error, 2 warnings", "2 warnings" or "nothing wrong found"."""
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    return ", ".join(counted(count, level) for level, count in counts.items() if count) or "nothing wrong found"


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun: "1 error", "2 errors"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def table(inspection: Inspection) -> str:
    """The inspection for a terminal, at most 120 columns where the names of splits and files allow.

    Args:
        inspection: its findings are printed in their order.

    Returns:
        Lines without a closing line feed: splits, classes, findings and, last, how many errors and warnings.
    """
    parts = [[headline(inspection)]]
    if inspection.splits:
        parts += [_splits(inspection), _classes(inspection)]
    parts += [_finding(finding) for finding in inspection.findings]
    parts.append([verdict(inspection.findings)])
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts)


def _splits(inspection: Inspection) -> list[str]:
    """A line a split."""
    width = max(len("split"), *(len(split) for split in inspection.splits))
    lines = [f"{'split':{width}}  pictures  size (width x height)"]
    return lines + [
        f"{split:{width}}  {facts.pictures:>8}  {sizes(facts)}" for split, facts in inspection.splits.items()
    ]


def class_rows(inspection: Inspection) -> list[tuple[int, str, list[str], list[str]]]:
    """(id, name, shares, images) a class, and last of what is ignored: a share and a number of images a split."""
    facts = list(inspection.splits.values())
    rows = []
    for index, name in enumerate(inspection.labels.names):
        shares = [share(entry.pixels_per_class[index], sum(entry.pixels_per_class)) for entry in facts]
        rows.append((index, plain(name), shares, [str(entry.images_per_class[index] or "-") for entry in facts]))
    ignored = [share(entry.ignored_pixels, entry.ignored_pixels + sum(entry.pixels_per_class)) for entry in facts]
    return [*rows, (IGNORE, "ignored, of all pixels", ignored, [""] * len(facts))]


def _classes(inspection: Inspection) -> list[str]:
    """A line a row of `class_rows` beneath two lines of titles."""
    splits = list(inspection.splits)
    rows = class_rows(inspection)
    widths = [max(len(split), len("100.00%")) for split in splits]
    titles = ("share of labelled pixels", "images with it")
    groups = [max(sum(widths) + 2 * (len(widths) - 1), len(title)) for title in titles]
    width = min(max(len(name) for _, name, _, _ in rows), max(WIDTH - 9 - sum(groups), NAME_MIN))

    def line(number, name: str, *parts: list[str]) -> str:
        text = f"{number:>3}  {shortened(name, width):{width}}"
        for part, group in zip(parts, groups, strict=True):
            cells = "  ".join(f"{cell:>{size}}" for cell, size in zip(part, widths, strict=True))
            text += f"  {cells:>{group}}"
        return text

    head = " " * (5 + width) + "".join(f"  {title:>{group}}" for title, group in zip(titles, groups, strict=True))
    return [head, line("id", "class", splits, splits), *(line(*row) for row in rows)]


def _finding(finding: Finding) -> list[str]:
    """The message, and beneath it the first few files."""
    text = f"{finding.level} {finding.kind}: {plain(finding.message)}"
    lines = textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    lines += [f"    {plain(name)}" for name in finding.files[:FEW]]
    more = len(finding.files) - FEW
    return [*lines, f"    and {more} more"] if more > 0 else lines
