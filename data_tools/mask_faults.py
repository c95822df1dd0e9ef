"""Why a mask cannot be read: one message a fault, with what to do about it."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from data_tools.colors import Color, ColorTable
from data_tools.encoding import Encoding
from data_tools.reading import GREY, PALETTE, PictureError
from kseg.labels import IGNORE
from kseg.photos import UNREADABLE

EXPECTED = "8-bit single-channel PNG (palette or grey)"
RGB_TYPES, ALPHA_TYPES = (2, 6), (4, 6)
COLOR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
OTHER_FORMATS = ("JPEG", "BMP", "TIFF", "GIF", "WEBP")  # Pillow finds MPO by its JPEG plugin, and not by name
SHOWN = 5  # of the wrong values or colours in a mask; an RGB picture turned grey may have 200
MOST_STEPS = 32  # between the values of a mask spread over 0 to 255: steps of 8 and more
IGNORE_HINT = "--unmapped=ignore sets such pixels to 255"
VALUES_HINT = "if they are void, --ignore_values lists them; --unmapped=ignore makes all such pixels 255"


def kind_of(bits: int, color_type: int) -> str:
    """What RawMask.kind says."""
    if color_type == PALETTE:
        return "palette"
    return COLOR_TYPES[color_type] if bits == 8 and color_type != GREY else f"{bits}-bit {COLOR_TYPES[color_type]}"


def refuse_format(data: bytes) -> None:
    """Raises PictureError if the file is a picture of another format than PNG."""
    try:
        found = Image.open(io.BytesIO(data), formats=OTHER_FORMATS).format
    except (UnidentifiedImageError, *UNREADABLE):
        return
    if found in ("JPEG", "MPO"):
        hint = "JPEG's compression invents values between the classes: export the masks anew from where they were drawn"
    else:
        hint = "save it as PNG, which keeps every value"
    raise PictureError(f"a {found} file; expected an {EXPECTED}: {hint}")


def refuse_kind(image: Image.Image, bits: int, color_type: int, encoding: Encoding) -> None:
    """Raises PictureError for a kind of PNG (loaded) that the encoding cannot read."""
    found = f"{'an' if bits == 8 else 'a'} {bits}-bit {COLOR_TYPES[color_type]} PNG"
    if color_type in RGB_TYPES and encoding.colors is None:
        hint = "colours are no class numbers; --colors says which is which"
        red, green, blue = np.asarray(image.convert("RGB")).reshape(-1, 3).T
        if np.array_equal(red, green) and np.array_equal(red, blue):
            hint = "all its pixels are grey (red = green = blue): save it with one channel"
        raise PictureError(f"{found}; expected an {EXPECTED}; {hint}")
    if bits == 16 and color_type in (*RGB_TYPES, *ALPHA_TYPES):
        raise PictureError(f"{found}; expected an {EXPECTED} or 8-bit colours")
    if color_type == GREY and bits in (2, 4):
        raise PictureError(
            f"{found}; expected an {EXPECTED}; whether 1 or the {255 // (2**bits - 1)} that viewers show for it is "
            "meant is unclear: save it with 8 bits"
        )
    if color_type not in (*RGB_TYPES, PALETTE) and encoding.colors is not None:
        raise PictureError(
            f"{found}, which has no colours; expected RGB or a palette; without --colors values are classes"
        )


def refuse_contradiction(palette: Sequence[Color], histogram: Sequence[int], colors: ColorTable) -> None:
    """Raises PictureError where a palette PNG's index is another class than its colour.

    Tools that save RGB with few colours as a palette number them as they come; taken for classes, the indices would be
    wrong without a sign.

    Args:
        palette: of the mask.
        histogram: pixels of each index.
        colors: the classes' colours.
    """
    for index in np.flatnonzero(histogram).tolist():
        if index >= len(palette):
            raise PictureError(f"index {index} is not in its palette of {len(palette)} colours")
        color = palette[index]
        allowed = colors.ignored if index == IGNORE else colors.colors[index : index + 1]
        if color in allowed:
            continue
        known = colors.values.get(color)
        meant = "which no class has" if known is None else f"that of {_entry(known, colors)}"
        raise PictureError(
            f"a palette PNG whose index {index} has the colour {color}, {meant}; --palette=color goes by the colours, "
            "and without --colors the indices are the classes"
        )


def wrong_values(counts: Mapping[int, int], used: Sequence[int], encoding: Encoding) -> PictureError:
    """For values that are no class.

    Args:
        counts: wrong value -> pixels.
        used: all values of the mask.
        encoding: what is allowed.
    """
    named = _listed([f"{value} ({pixels} pixels)" for value, pixels in counts.items()], "values")
    scaling = "" if encoding.changes_values else _scaling_hint(used, encoding.num_classes)
    hint = scaling or f"; {VALUES_HINT}"
    return PictureError(f"values that are no class: {named}; allowed: {encoding.allowed}{hint}")


def wrong_indices(counts: Mapping[int, int], palette: Sequence[Sequence[int]], encoding: Encoding) -> PictureError:
    """For palette indices (index -> pixels) whose colours are no class."""
    colors = {}
    for index, pixels in counts.items():
        if index >= len(palette):
            return PictureError(f"index {index} is not in its palette of {len(palette)} colours")
        color = tuple(palette[index])
        colors[color] = colors.get(color, 0) + pixels
    return wrong_colors(colors, encoding)


def wrong_colors(counts: Mapping[Color, int], encoding: Encoding) -> PictureError:
    """For colours (-> pixels) that are no class."""
    table, strange, words = encoding.colors, False, []
    for color, pixels in sorted(counts.items(), key=lambda item: -item[1]):
        if color in table.shared:
            why = f"of both {' and '.join(table.shared[color])}"
        elif color in table.values:
            why = f"{_entry(table.values[color], table)}; allowed: {encoding.allowed}"
        else:
            strange = True
            name, near = table.nearest(color) if len(words) < SHOWN else ("", ())
            why = f"nearest: {name} {near}"
        words.append(f"{color} ({pixels} pixels, {why})")
    hint = (
        "; JPEG compression, resizing and smoothed borders make colours in between: export the mask as PNG without them"
        if strange
        else ""
    )
    return PictureError(f"colours that are no class: {_listed(words, 'colours')}{hint}; {IGNORE_HINT}")


def _entry(value: int, colors: ColorTable) -> str:
    return f"{colors.names[value]} ({value})" if value < len(colors.names) else "pixels to ignore (255)"


def _listed(words: Sequence[str], noun: str) -> str:
    more = f" and {len(words) - SHOWN} other {noun}" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _scaling_hint(used: Sequence[int], num_classes: int) -> str:
    """The label map that undoes a scaling, as of masks that were made to be seen; "" where there is no sign of one."""
    inner = [value for value in used if value != IGNORE]
    steps = _steps(used) if IGNORE in used else None
    if steps is not None and steps < num_classes:
        values = {}
        for value in used:
            values.setdefault(round(value * steps / 255), []).append(value)
        pairs = ", ".join(f'"{number}": {one if len(one) > 1 else one[0]}' for number, one in values.items())
        return f'; they look spread over 0 to 255: a label map, {{"map": {{{pairs}}}}}, undoes it'
    step = math.gcd(*inner)
    if step > 1 and max(inner) // step < num_classes:
        return f'; all are multiples of {step}: a label map, {{"scale": {step}}}, undoes it if they are scaled'
    return ""


def _steps(used: Sequence[int]) -> int | None:
    """The least n for which all values are k * 255 / n, rounded to either side; None if none up to MOST_STEPS is."""
    for steps in range(1, MOST_STEPS + 1):
        spread = {limit(k * 255 / steps) for k in range(steps + 1) for limit in (math.floor, math.ceil)}
        if spread >= set(used):
            return steps
    return None
