"""One pair -> what is to be known about it. A bad file is a fact too: nothing here raises for one."""

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from data_tools.encoding import COLOR, TO_IGNORE, UNMAPPED, Encoding, color_classes, value_classes
from data_tools.images import CheckedImage, check_image
from data_tools.inspection import alignment, duplicates
from data_tools.inspection.facts import Fault, PictureFacts
from data_tools.masks import RawMask, check_mask, read_mask
from data_tools.pairs import Pair
from data_tools.reading import PictureError, decoding
from data_tools.reading_ahead import Reader
from kseg.config.values import MAX_CLASSES

MOST_COLORS = 512  # kept of an RGB mask: one saved as JPEG may have 100,000
SMALLEST_DECODED = 256  # pixels: sides of the image that thumbnails and edges are taken from, where it is larger
JPEG_START = b"\xff\xd8\xff"
# Stands in while nothing says the classes: refuses what no meaning of the values could mend (2-bit grey, alpha, EXIF).
ANY_CLASSES = Encoding(MAX_CLASSES, unmapped=TO_IGNORE)


def scan_pair(item: tuple[tuple[str, Pair], Reader], encodings: Mapping[str, Encoding | None]) -> PictureFacts:
    """Reads a pair from its files; imports no TensorFlow for local ones.

    Args:
        item: (split, pair) and what reads its files, as `data_tools.reading_ahead.read_ahead` gives it.
        encodings: split -> what its masks' values mean, None where that is not known.
    """
    (split, pair), read = item
    facts = PictureFacts(split, pair.stem, pair.image, pair.mask)
    files, faults = [], []
    for path, kind in ((pair.image, "unreadable_image"), (pair.mask, "unreadable_mask")):
        try:
            files.append(read(path))
        except PictureError as error:
            files.append(None)
            faults.append(Fault(kind, path, str(error)))
    return scan_bytes(dataclasses.replace(facts, faults=tuple(faults)), *files, encodings[split])


def scan_bytes(facts: PictureFacts, image: bytes | None, mask: bytes | None, encoding: Encoding | None) -> PictureFacts:
    """Completes facts that have the names alone.

    Args:
        facts: split, names and the faults met so far.
        image: the image file's content, None if it cannot be read.
        mask: the mask file's content, likewise.
        encoding: what the mask's values mean, None if that is not known.
    """
    faults = list(facts.faults)
    checked = raw = None
    if image is not None:
        try:
            checked = check_image(image)
        except PictureError as error:
            faults.append(Fault("unreadable_image", facts.image_name, str(error)))
    if mask is not None:
        try:
            raw = read_mask(mask)
        except PictureError as error:
            kind = "lossy_mask" if mask.startswith(JPEG_START) else "unreadable_mask"
            faults.append(Fault(kind, facts.mask_name, str(error)))
    found = {}
    if raw is not None:
        found |= _mask_facts(raw)
        try:
            histogram = check_mask(mask, encoding or ANY_CLASSES).histogram
            found["classes"] = None if encoding is None else histogram
        except PictureError as error:
            faults.append(Fault(_mask_fault(raw, encoding), facts.mask_name, str(error)))
    if checked is not None:
        found |= {"size": checked.full_size, "digest": hashlib.sha256(image).hexdigest(), "turn": checked.orientation}
        found |= _looks(checked, raw)
    return dataclasses.replace(facts, faults=tuple(faults), **found)


def _mask_facts(raw: RawMask) -> dict:
    """What a mask says by itself, as arguments of PictureFacts."""
    found = {"mask_kind": raw.kind, "mask_size": (raw.height, raw.width)}
    shown = raw.values if raw.values is not None else raw.rgb
    if shown is None:
        return found
    digest = hashlib.sha256(repr(shown.shape).encode() + np.ascontiguousarray(shown).tobytes())
    found["mask_digest"] = digest.hexdigest()
    if raw.values is None:
        packed = _packed(raw.rgb)
        numbers, pixels = np.unique(packed, return_counts=True)
        order = np.argsort(-pixels, kind="stable")[:MOST_COLORS]
        found["colors"] = {
            (number >> 16, number >> 8 & 255, number & 255): count
            for number, count in zip(numbers[order].tolist(), pixels[order].tolist(), strict=True)
        }
        return found
    pixels = np.bincount(raw.values.ravel())
    used = np.flatnonzero(pixels).tolist()
    found["values"] = {value: int(pixels[value]) for value in used}
    found["ramps"] = alignment.ramps(raw.values)
    if raw.palette is not None:
        found["palette"] = {value: tuple(raw.palette[value].tolist()) for value in used if value < len(raw.palette)}
    return found


def _packed(rgb: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] -> 65536 red + 256 green + blue, uint32 [H, W]."""
    wide = rgb.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _mask_fault(raw: RawMask, encoding: Encoding | None) -> str:
    """The kind of what `check_mask` refuses in a mask that can be read."""
    colors = encoding.colors if encoding else None
    if raw.rgb is not None and raw.alpha_opaque:
        if colors is None:
            return "rgb_masks"
        known = color_classes(encoding)[_swapped(_packed(raw.rgb))]
        return "unknown_colors" if (known == UNMAPPED).any() else "unusable_mask"
    if raw.values is None or encoding is None:
        return "unusable_mask"
    if raw.kind == "palette" and colors is not None:
        return "unknown_colors" if encoding.palette == COLOR else "palette_order"
    return "unknown_values" if (value_classes(encoding)[raw.values] == UNMAPPED).any() else "unusable_mask"


def _swapped(packed: np.ndarray) -> np.ndarray:
    """The numbers of `_packed` as those that `data_tools.encoding.color_classes` counts by."""
    return packed >> 16 | packed & 0xFF00 | (packed & 0xFF) << 16


def _looks(checked: CheckedImage, raw: RawMask | None) -> dict:
    """What the image's pixels say, and how the mask lies on them, as arguments of PictureFacts."""
    with decoding("a picture"):
        image, box = duplicates.opened(checked.encoded, SMALLEST_DECODED)
    found = {"thumbnail": duplicates.thumbnail(image, box)}
    shown = None if raw is None or raw.values is None else raw.values
    if raw is not None and raw.rgb is not None:
        shown = _packed(raw.rgb)
    if shown is None or shown.shape != checked.full_size or min(shown.shape) < alignment.SIDE:
        return found
    side = alignment.SIDE
    grey = image.convert("L").resize((side, side), Image.Resampling.BILINEAR, box)
    rows, columns = ((np.arange(side) + 0.5) * length / side for length in shown.shape)
    mask = shown[rows.astype(int)[:, None], columns.astype(int)]
    return found | {"fits": alignment.fits(np.asarray(grey, np.float32), mask)}
