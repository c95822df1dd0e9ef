"""How the masks of a split say their classes: the rules from file values or colours to class numbers, and back."""

import dataclasses
import functools
import json
from collections.abc import Iterable, Mapping

import numpy as np

from data_tools.colors import ColorTable, read_text
from kseg.config.values import MAX_CLASSES
from kseg.errors import UsageError
from kseg.labels import IGNORE

FILE_VALUES = 65536  # of a 16-bit PNG
UNMAPPED = MAX_CLASSES  # 254: in tables of classes what no rule makes a class of; no class can have this number
LABEL_MAP = "{split}_label_map.json"  # where each split has its own
REFUSE, TO_IGNORE = "refuse", "ignore"
INDEX, COLOR = "index", "color"
FORM = '{"scale": 3}, or {"map": {"0": 5, "1": [7, 8]}} (class: value or values in the file; class 255: ignored)'


@dataclasses.dataclass(frozen=True)
class Encoding:
    """Rules from what stands in a mask file to class numbers, applied in this order.

    A colour counts as its place in `colors`, ignored colours as 255. Then `ignore_values` become 255, and 255 stays 255
    unless `mapping` lists it. Of the other values `scale`, `mapping` or `reduce_zero_label` make class numbers.

    Attributes:
        num_classes: 2 to 254.
        scale: class = value // scale; None = no such rule.
        mapping: (class or 255, values in the file) of every class of the label map; None = no such rule.
        colors: for masks whose colours are the classes.
        palette: what counts in a palette PNG: its "index", or its "color" by `colors`.
        ignore_values: values in the file, rising.
        reduce_zero_label: 0 becomes 255 and n becomes n - 1.
        unmapped: "refuse" the mask whose value or colour is no class then, or "ignore" (255) those pixels.
    """

    num_classes: int
    scale: int | None = None
    mapping: tuple[tuple[int, tuple[int, ...]], ...] | None = None
    colors: ColorTable | None = None
    palette: str = INDEX
    ignore_values: tuple[int, ...] = ()
    reduce_zero_label: bool = False
    unmapped: str = REFUSE

    @property
    def changes_values(self) -> bool:
        """Whether a class may be called otherwise in the files than in the records."""
        return bool(self.scale or self.mapping or self.colors or self.reduce_zero_label)

    @property
    def allowed(self) -> str:
        """The values a mask may hold, for a message."""
        last = self.num_classes - 1
        if self.mapping is not None:
            values = sorted(value for _, listed in self.mapping for value in listed)
            rule = f"{_runs(values)} by the label map"
        elif self.scale is not None:
            rule = f"0 to {self.num_classes * self.scale - 1}, as value // {self.scale} is the class"
        elif self.reduce_zero_label:
            rule = f"1 to {self.num_classes}, as value - 1 is the class, 0 = ignore"
        else:
            rule = f"0 to {last}"
        ignored = sorted(
            {*self.ignore_values, IGNORE} - {value for _, listed in self.mapping or () for value in listed}
        )
        return f"{rule}, {' or '.join(map(str, ignored))} = ignore" if ignored else rule

    def original(self) -> dict | None:
        """What each class is called in the files: {"values": [v or None a class]} or {"colors": [(r, g, b) or None]}.

        Of several values the label map's first, else the lowest. None where class numbers are the files' own values.
        """
        if not self.changes_values:
            return None
        table, first = value_classes(self), {}
        for number, listed in self.mapping or ():
            first[number] = listed[0]
        for value in np.flatnonzero(table < self.num_classes).tolist():
            first.setdefault(int(table[value]), value)
        values = [first.get(number) for number in range(self.num_classes)]
        if self.colors is None:
            return {"values": values}
        there = self.colors.colors
        return {"colors": [None if value is None or value >= len(there) else list(there[value]) for value in values]}

    def to_dict(self) -> dict | None:
        """As it stands in dataset.json; None where masks hold class numbers and nothing else was asked for."""
        rules = {}
        if self.scale is not None:
            rules["scale"] = self.scale
        if self.mapping is not None:
            rules["map"] = {str(number): list(listed) for number, listed in self.mapping}
        if self.colors is not None:
            rules["colors"] = [list(color) for color in self.colors.colors]
            rules["ignored_colors"] = [list(color) for color in self.colors.ignored]
            rules["palette"] = self.palette
        if self.reduce_zero_label:
            rules["reduce_zero_label"] = True
        if self.ignore_values:
            rules["ignore_values"] = list(self.ignore_values)
        if not rules and self.unmapped == REFUSE:
            return None
        return rules | {"unmapped": self.unmapped, "original": self.original()}


@functools.lru_cache(maxsize=8)
def value_classes(encoding: Encoding) -> np.ndarray:
    """The class of every file value: uint8 [65536] of classes, 255 = ignore and UNMAPPED."""
    values = np.arange(FILE_VALUES)
    if encoding.mapping is not None:
        classes = np.full(FILE_VALUES, UNMAPPED)
    elif encoding.scale is not None:
        classes = values // encoding.scale
    else:
        classes = values - 1 if encoding.reduce_zero_label else values
    table = np.where(classes < encoding.num_classes, classes, UNMAPPED).astype(np.uint8)  # reduced 0: -1 -> 255
    table[IGNORE] = IGNORE
    for number, listed in encoding.mapping or ():
        table[list(listed)] = number
    table[list(encoding.ignore_values)] = IGNORE
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=1)
def color_classes(encoding: Encoding) -> np.ndarray:
    """The class of every colour: uint8 [2^24] by red + 256 green + 65536 blue; 255 = ignore, UNMAPPED = no class.

    For a mask of 2048 x 1024 with 20 colours reading from this table takes 1.6 ms, searching the sorted colours 8.5,
    numpy.unique 83. It holds 16 MB a process.
    """
    table = np.full(1 << 24, UNMAPPED, np.uint8)
    for (red, green, blue), value in encoding.colors.values.items():
        table[red | green << 8 | blue << 16] = value_classes(encoding)[value]
    table.flags.writeable = False
    return table


def make_encoding(
    num_classes: int,
    *,
    label_map: Mapping | None = None,
    label_map_file: str | None = None,
    colors: ColorTable | None = None,
    palette: str = INDEX,
    ignore_values: Iterable[int] = (),
    reduce_zero_label: bool = False,
    unmapped: str = REFUSE,
) -> Encoding:
    """Checks the rules and puts them together; see Encoding for what they do.

    Args:
        num_classes: 2 to 254.
        label_map: parsed JSON, {"scale": 3} or {"map": {"0": 5, "1": [7, 8]}}, as `read_label_map` gives it.
        label_map_file: where it was read from, for messages.
        colors: for masks whose colours are the classes.
        palette: "index" or "color".
        ignore_values: values in the file, 0 to 65535.
        reduce_zero_label: 0 becomes 255 and n becomes n - 1.
        unmapped: "refuse" or "ignore".

    Raises:
        UsageError: for a label map of another form (naming its file), or rules that do not go together.
    """
    named = _named(label_map_file)
    scale, mapping = (None, None) if label_map is None else _rules(label_map, named)
    ignored = tuple(sorted(set(ignore_values)))
    encoding = Encoding(num_classes, scale, mapping, colors, palette, ignored, reduce_zero_label, unmapped)
    _refuse_contradictions(encoding, named)
    return encoding


def _refuse_contradictions(encoding: Encoding, named: str) -> None:
    """UsageError for values out of range and rules that do not go together; `named` is the label map."""
    for name, choices in (("palette", (INDEX, COLOR)), ("unmapped", (REFUSE, TO_IGNORE))):
        if getattr(encoding, name) not in choices:
            raise UsageError(f"--{name}={getattr(encoding, name)}: allowed: {', '.join(choices)}")
    ignored = encoding.ignore_values
    if not all(0 <= value < FILE_VALUES for value in ignored):
        raise UsageError(f"--ignore_values={','.join(map(str, ignored))}: allowed: 0 to {FILE_VALUES - 1}")
    if encoding.palette == COLOR and encoding.colors is None:
        raise UsageError("--palette=color: which colour is which class? Allowed: with --colors")
    if encoding.reduce_zero_label and (encoding.scale or encoding.mapping):
        raise UsageError(f"--reduce_zero_label: contradicts {named}; allowed: one of them")
    void = None if encoding.scale is None else IGNORE // encoding.scale
    if void is not None and void * encoding.scale == IGNORE and void < encoding.num_classes:
        values = ", ".join(f'"{number}": {number * encoding.scale}' for number in range(min(void + 1, 6)))
        raise UsageError(
            f"{named}: scale {encoding.scale} makes class {void} of value {IGNORE}, which is ignored; if it is a class "
            f'list the values, {{"map": {{{values}{", …" if void > 5 else ""}}}}}'
        )
    for number, listed in encoding.mapping or ():
        if number >= encoding.num_classes and number != IGNORE:
            raise UsageError(
                f"{named}: class {number}; allowed: 0 to {encoding.num_classes - 1}, the classes, and {IGNORE} = ignore"
            )
        if number != IGNORE and (twice := sorted(set(listed) & set(ignored))):
            raise UsageError(f"--ignore_values={twice[0]}: {named} lists this value for {number}; allowed: one of them")


def read_label_map(path: str) -> dict:
    """Reads a label map: the JSON object {"scale": 3} or {"map": {"0": 5, "1": [7, 8]}}; numbers may be strings.

    Args:
        path: local or remote.

    Raises:
        UsageError: naming the file, if it cannot be read or is of another form.
    """
    named = _named(path)
    text = read_text(path, named, FORM)
    try:
        value = json.loads(text, object_pairs_hook=lambda pairs: _distinct(pairs, named))
    except UsageError:  # of `_distinct`
        raise
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{named}: not JSON ({error}); allowed: {FORM}") from None
    _rules(value, named)
    return value


def _runs(values: list[int]) -> str:
    """Rising numbers for a message: 0, 2 to 5."""
    runs = []
    for value in values:
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{low}" if low == high else f"{low} to {high}" for low, high in runs)


def _named(path: str | None) -> str:
    return "the label map" if path is None else f"label map {path}"


def _distinct(pairs: list[tuple[str, object]], named: str) -> dict:
    """The pairs of a JSON object; Python's own reader would keep the last of two with one key."""
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"{named}: {key!r} is there twice; allowed: {FORM}")
    return dict(pairs)


def _rules(value, named: str) -> tuple[int | None, tuple[tuple[int, tuple[int, ...]], ...] | None]:
    """Parsed JSON -> scale and mapping, one of them None; UsageError beginning with `named` for another form."""
    if not isinstance(value, Mapping) or len(value) != 1 or not {"scale", "map"} >= value.keys():
        found = (
            f"the keys {', '.join(map(repr, value)) or '(none)'}" if isinstance(value, Mapping) else f"{value!r:.40}"
        )
        raise UsageError(f"{named}: {found}; allowed: {FORM}")
    if "scale" in value:
        scale = _number(value["scale"])
        if scale is None or not 1 <= scale < FILE_VALUES:
            raise UsageError(f"{named}: scale {value['scale']!r:.40}; allowed: an integer from 1 to {FILE_VALUES - 1}")
        return scale, None
    entries = value["map"]
    if not isinstance(entries, Mapping) or not entries:
        raise UsageError(f"{named}: map {entries!r:.40}; allowed: {FORM}")
    mapping, class_of = {}, {}
    for key, listed in entries.items():
        number = _number(key)
        if number is None or not (0 <= number < MAX_CLASSES or number == IGNORE) or number in mapping:
            raise UsageError(f"{named}: class {key!r:.40}; allowed: each class once, and {IGNORE} = ignore, as {FORM}")
        values = [_number(item) for item in (listed if isinstance(listed, list | tuple) else [listed])]
        if not values or not all(item is not None and 0 <= item < FILE_VALUES for item in values):
            raise UsageError(
                f"{named}: {listed!r:.40} for class {number}; allowed: 0 to {FILE_VALUES - 1}, or a list of such"
            )
        for item in values:
            if item in class_of:
                raise UsageError(
                    f"{named}: value {item} is listed for {class_of[item]} and for {number}; allowed: each value once"
                )
            class_of[item] = number
        mapping[number] = tuple(values)
    return None, tuple(sorted(mapping.items()))


def _number(value) -> int | None:
    """An integer, or one as a string; None for anything else (True and 1.5 included)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and len(value) < 8 and value.strip().removeprefix("-").isdecimal():
        return int(value)
    return None
