"""An inspection as pictures: shares of the classes, sizes, and sheets of overlays.

Matplotlib is imported where something is drawn, for it takes half a second.
"""

import collections
import io
import os
import warnings
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data_tools.inspection.facts import Inspection, Sample, SplitFacts
from data_tools.inspection.table import counted, plain, share, shortened
from kseg.labels import IGNORE, IGNORE_COLOR, LabelMap

SHARES, SIZES = "class_shares.png", "sizes.png"
DPI = 100
NAME_LENGTH = 36  # characters of a class name beside its bars
NUMBERED = 8  # marks of sizes.png that bear a number, at most
NUMBERED_SHARE = 0.02  # of all images, at least, have the size of such a mark
COLUMNS, MAX_TILES = 4, 24
TILE = 280  # pixels, the longer side of a picture on a contact sheet
GAP, LINE = 10, 18  # pixels between tiles; height of a line of text
BORDER = (120, 120, 120)


def draw(inspection: Inspection) -> dict[str, bytes]:
    """Draws what there is to see.

    Args:
        inspection: its samples' images and masks may have any size.

    Returns:
        File name -> PNG: class_shares.png where there is a split, sizes.png where an image could be read, and
        contact_sheet_SPLIT.png for every split with samples.
    """
    charts = {}
    if inspection.splits:
        charts[SHARES] = class_shares(inspection)
    if any(facts.sizes for facts in inspection.splits.values()):
        charts[SIZES] = size_scatter(inspection.splits)
    for split, samples in inspection.samples.items():
        if samples:
            charts[f"contact_sheet_{split}.png"] = contact_sheet(samples, inspection.labels)
    return charts


def class_shares(inspection: Inspection) -> bytes:
    """Horizontal bars: a group a class, a bar a split, as long as the class's share of the split's labelled pixels.

    Every bar bears its figure, for a class of 0.1 % has no length to be seen; beside each name stands its colour.
    """
    from matplotlib.figure import Figure
    from matplotlib.transforms import offset_copy

    labels, splits = inspection.labels, inspection.splits
    places = np.arange(labels.num_classes)
    thick = 0.8 / len(splits)
    row = max(0.2, 0.11 * len(splits) + 0.06)  # inches: figures of 6 points stand 0.11 apart
    height = min(1.4 + row * labels.num_classes, 600)  # Agg draws less than 2**16 pixels
    figure = Figure(figsize=(9, height), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    for index, facts in enumerate(splits.values()):
        total = max(sum(facts.pixels_per_class), 1)
        lengths = 100 * np.array(facts.pixels_per_class) / total
        bars = axes.barh(places + thick * (index + 0.5) - 0.4, lengths, 0.9 * thick, color=f"C{index}")
        figures = [share(pixels, total) if pixels else "none" for pixels in facts.pixels_per_class]
        axes.bar_label(bars, figures, padding=2, fontsize=6)
    colors = np.array(labels.colors) / 255
    beside = offset_copy(axes.get_yaxis_transform(), figure, x=-7, units="points")
    axes.scatter(0 * places, places, 36, colors, marker="s", transform=beside, clip_on=False, ec="grey", lw=0.5)
    names = [f"{index} {shortened(plain(name), NAME_LENGTH)}" for index, name in enumerate(labels.names)]
    axes.set_yticks(places, names, fontsize=8, parse_math=False)
    axes.tick_params("y", length=0, pad=13)
    axes.set_ylim(labels.num_classes - 0.4, -0.6)
    axes.set_xlim(0, 1.1 * max(axes.get_xlim()[1], 1))
    axes.set_xlabel("share of labelled pixels, %")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    _legend(figure, list(splits))
    return _png(figure)


def size_scatter(splits: Mapping[str, SplitFacts]) -> bytes:
    """A mark for every size of a split, its area the share of the split's images that have it; width x height.

    The most frequent sizes bear the number of images, of all splits together.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 7.2), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    together, reach, names = collections.Counter(), {}, []
    # In points, for all images of one size. Later splits are smaller, so that none covers another where all share it.
    largest = [18 + 5 * (len(splits) - 1 - index) for index in range(len(splits))]
    for index, (split, facts) in enumerate(splits.items()):
        counts = collections.Counter(facts.sizes)
        together.update(counts)
        heights, widths = np.array(list(counts)).reshape(-1, 2).T
        diameters = 3 + largest[index] * np.sqrt(np.array(list(counts.values())) / max(len(facts.sizes), 1))
        for size, diameter in zip(counts, diameters, strict=True):
            reach[size] = max(reach.get(size, 0), diameter / 2)
        face = [(f"C{index}", 0.35)] * len(counts)
        axes.scatter(widths, heights, diameters**2, face, edgecolors=f"C{index}", lw=0.9)
        names.append(f"{split}: {counted(len(facts.sizes), 'image')}, {counted(len(counts), 'size')}")
    limit = 1.15 * max(max(size) for size in together)
    for size, count in _to_number(together, limit / 20):
        above = (0, reach[size] + 3)
        axes.annotate(str(count), size[::-1], above, textcoords="offset points", ha="center", fontsize=8)
    axes.axline((0, 0), slope=1, color="grey", lw=0.6, ls=":")
    axes.set(xlim=(0, limit), ylim=(0, limit), aspect="equal", xlabel="width, pixels", ylabel="height, pixels")
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    _legend(figure, names)
    return _png(figure)


def _to_number(counts: collections.Counter, apart: float) -> list[tuple[tuple[int, int], int]]:
    """The frequent ones of `counts`, most frequent first, `apart` pixels or more from each other."""
    chosen = []
    for (height, width), count in counts.most_common():
        if len(chosen) == NUMBERED or count < NUMBERED_SHARE * counts.total():
            break
        if all(max(abs(height - other[0]), abs(width - other[1])) >= apart for other, _ in chosen):
            chosen.append(((height, width), count))
    return chosen


def _legend(figure, names: list[str]) -> None:
    """The splits' colours above the axes, where they cover nothing, as many in a row as there is room for."""
    from matplotlib.lines import Line2D

    marks = [Line2D([], [], color=f"C{index}", marker="s", markersize=7, ls="") for index in range(len(names))]
    columns = max(1, int(13 * figure.get_figwidth()) // (6 + max(len(name) for name in names)))
    legend = figure.legend(marks, names, loc="outside upper center", ncols=columns, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # "$" is no formula


def _png(figure) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # DejaVu has no Chinese, Japanese or Korean: such names become boxes behind their class number.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def contact_sheet(samples: tuple[Sample, ...], labels: LabelMap) -> bytes:
    """Overlays in rows of 4, 24 at most, their names beneath them, and last what the colours mean: a PNG."""
    import matplotlib

    # Its DejaVu, for Pillow's own font knows little beyond English.
    font = ImageFont.truetype(os.path.join(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), 11)
    samples = samples[:MAX_TILES]
    columns = max(2, min(COLUMNS, len(samples)))  # two at least, or the legend has no room
    cells, shown = [], set()
    for sample in samples:
        cell, classes = _cell(sample, labels, font)
        cells.append(cell)
        shown |= classes
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    rows += _legend_rows(labels, shown, columns, font)
    heights = [max(cell.height for cell in row) for row in rows]
    sheet = Image.new("RGB", (columns * (TILE + GAP) + GAP, sum(heights) + 2 * GAP), "white")
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            sheet.paste(cell, (GAP + column * (TILE + GAP), top))
        top += height
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _cell(sample: Sample, labels: LabelMap, font) -> tuple[Image.Image, set[int]]:
    """The overlay, at most TILE x TILE, above its name; and the classes in it."""
    image = Image.open(io.BytesIO(sample.image_png)).convert("RGB")
    mask = Image.open(io.BytesIO(sample.mask_png))
    scale = TILE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    # Mixed at twice the size at most: poles and wires outlive the last step, and memory is bounded.
    mixed_size = (2 * size[0], 2 * size[1]) if scale < 0.5 else image.size
    classes = np.array(mask.resize(mixed_size, Image.Resampling.NEAREST))
    overlay = labels.overlay(np.array(image.resize(mixed_size, Image.Resampling.BOX)), classes)
    method = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    cell = Image.new("RGB", (TILE, size[1] + LINE + GAP), "white")
    cell.paste(Image.fromarray(overlay).resize(size, method), (0, 0))
    ImageDraw.Draw(cell).text((0, size[1] + 2), _fitted(sample.name, TILE, font), "black", font)
    return cell, set(np.unique(classes).tolist())


def _legend_rows(labels: LabelMap, shown: set[int], columns: int, font) -> list[list[Image.Image]]:
    """A cell a class in `shown`, going down the columns, and one for what is ignored."""
    entries = [(labels.colors[index], f"{index} {labels.names[index]}") for index in range(labels.num_classes)]
    entries = [entry for index, entry in enumerate(entries) if index in shown]
    if IGNORE in shown:
        entries.append((IGNORE_COLOR, f"{IGNORE} ignored"))
    cells = []
    for color, name in entries:
        cell = Image.new("RGB", (TILE, LINE), "white")
        pen = ImageDraw.Draw(cell)
        pen.rectangle((0, 2, 13, 15), color, BORDER)
        pen.text((20, 2), _fitted(name, TILE - 20, font), "black", font)
        cells.append(cell)
    rows = -(-len(cells) // columns)
    return [cells[row::rows] for row in range(rows)]


def _fitted(text: str, width: int, font) -> str:
    """`text` in a line of at most `width` pixels, its middle left out where it is longer."""
    text = plain(text)
    length = min(len(text), width)  # no character of it is narrower than a pixel
    while font.getlength(shortened(text, length)) > width:
        length -= 1
    return shortened(text, length)
