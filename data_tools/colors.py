"""Which colour in a mask is which class: tables from a file, and those of three public data sets."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable

from data_tools import color_tables
from kseg.config.values import MAX_CLASSES
from kseg.errors import UsageError
from kseg.labels import IGNORE

Color = tuple[int, int, int]  # red, green, blue, each 0 to 255

IGNORED_NAMES = ("void", "ignore", "unlabeled")
VOC_BORDER = (224, 224, 192)
EXPECTED = "a text file of a class a line, name r g b"


@dataclasses.dataclass(frozen=True)
class ColorTable:
    """Colours of classes.

    Attributes:
        names: one a class, class 0 first.
        colors: one a class.
        ignored: colours that are no class and are left out of training.
    """

    names: tuple[str, ...]
    colors: tuple[Color, ...]
    ignored: tuple[Color, ...] = ()

    @functools.cached_property
    def values(self) -> dict[Color, int]:
        """Colour -> its class's number, IGNORE for the ignored. Colours that two classes share are not in it."""
        values = dict.fromkeys(self.ignored, IGNORE)
        values |= {color: value for value, color in enumerate(self.colors)}
        return {color: value for color, value in values.items() if color not in self.shared}

    @functools.cached_property
    def shared(self) -> dict[Color, tuple[str, ...]]:
        """Colour -> the classes that share it, which no mask tells apart (in ade20k road and skyscraper)."""
        twice = (color for color, count in Counter(self.colors).items() if count > 1)
        return {
            color: tuple(self.names[at] for at, other in enumerate(self.colors) if other == color) for color in twice
        }

    def nearest(self, color: Color) -> tuple[str, Color]:
        """Name and colour of the entry nearest to `color` by Euclidean distance; ignored ones are called "ignored"."""
        entries = [*zip(self.names, self.colors, strict=True), *(("ignored", other) for other in self.ignored)]
        return min(entries, key=lambda entry: sum((one - two) ** 2 for one, two in zip(entry[1], color, strict=True)))


def voc_color(index: int) -> Color:
    """Colour `index`, 0 to 255, of PASCAL VOC's palette (VOCcode/VOClabelcolormap.m of its development kit).

    Bits 0, 3 and 6 of the index become red's bits 7, 6 and 5, bits 1, 4 and 7 green's, bits 2 and 5 blue's.
    """
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(3)) for channel in range(3)
    )
    return red, green, blue


def _voc() -> str:
    names = [*(name.strip() for name in color_tables.VOC_NAMES.split(","))]
    lines = [f"{name} {' '.join(map(str, voc_color(index)))}" for index, name in enumerate(names)]
    return ",".join([*lines, f"void {' '.join(map(str, VOC_BORDER))}"])


BUILT_IN = {"cityscapes": color_tables.CITYSCAPES, "voc": _voc(), "ade20k": color_tables.ADE20K}


def read_colors(name_or_path: str) -> ColorTable:
    """A table by its name (cityscapes, voc, ade20k), or from a file, local or remote.

    A line of the file is `name r g b`; the name may have spaces. The first is class 0. Lines whose name is void, ignore
    or unlabeled are colours to ignore, and count as no class. Empty lines and lines that start with # mean nothing.

    Raises:
        UsageError: naming the file and the line, for a line of another form, a name or colour that is there twice, or
            fewer than 2 or more than 254 classes; naming the file if it cannot be read.
    """
    if name_or_path in BUILT_IN:
        entries = enumerate(BUILT_IN[name_or_path].replace("\n", " ").split(","), 1)
        return _table([_entry(line, f"{name_or_path}, entry {number}") for number, line in entries])
    flag = f"--colors={name_or_path}"
    text = read_text(name_or_path, flag, f"{EXPECTED}, or {', '.join(BUILT_IN)}")
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    entries = [_entry(line, f"{flag}: line {number}") for number, line in lines if line and not line.startswith("#")]
    for at, (name, color) in enumerate(entries):
        for before, there in entries[:at]:
            if color == there:
                raise UsageError(
                    f"{flag}: {before!r} and {name!r} have the colour {color}; allowed: {EXPECTED}, all different"
                )
            if name == before and name.lower() not in IGNORED_NAMES:
                raise UsageError(f"{flag}: {name!r} is there twice; allowed: {EXPECTED}, all names different")
    table = _table(entries)
    if not 2 <= len(table.names) <= MAX_CLASSES:
        raise UsageError(f"{flag}: {len(table.names)} classes; allowed: 2 to {MAX_CLASSES}")
    return table


def read_text(path: str, flag: str, expected: str) -> str:
    """The text of a file that a flag names, local or remote; UTF-8, with or without a byte-order mark.

    Raises:
        UsageError: "FLAG: cannot be read (…); allowed: EXPECTED".
    """
    try:
        if "://" in path:
            from kseg import storage  # TensorFlow: 3 s that local files should not cost
            from kseg.errors import RunError

            try:
                return storage.read_bytes(path).decode("utf-8-sig")
            except RunError as error:
                raise UsageError(f"{flag}: {str(error).removeprefix(f'{path}: ')}; allowed: {expected}") from None
        with open(path, encoding="utf-8-sig") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{flag}: cannot be read ({error.strerror}); allowed: {expected}") from None
    except ValueError as error:  # not UTF-8, or a path with a zero byte
        raise UsageError(f"{flag}: cannot be read ({error}); allowed: {expected}") from None


def _entry(line: str, where: str) -> tuple[str, Color]:
    """name r g b -> name, colour; raises UsageError beginning with `where`."""
    words = line.split()
    name, numbers = " ".join(words[:-3]), words[-3:]
    if not name or not all(number.isdecimal() and len(number) < 4 and int(number) <= 255 for number in numbers):
        hint = "; the name comes first" if len(words) > 3 and all(word.isdecimal() for word in words[:3]) else ""
        raise UsageError(f"{where}: {line.strip()!r}; allowed: name r g b, with r, g and b from 0 to 255{hint}")
    red, green, blue = map(int, numbers)
    return name, (red, green, blue)


def _table(entries: Iterable[tuple[str, Color]]) -> ColorTable:
    classes = [(name, color) for name, color in entries if name.lower() not in IGNORED_NAMES]
    ignored = tuple(color for name, color in entries if name.lower() in IGNORED_NAMES)
    return ColorTable(tuple(name for name, _ in classes), tuple(color for _, color in classes), ignored)
