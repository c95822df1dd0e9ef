"""Pictures for the contact sheet: a few of each split, small, with their classes."""

import io
from collections.abc import Container, Sequence

import numpy as np
from PIL import Image

from data_tools.encoding import UNMAPPED, Encoding
from data_tools.images import check_image
from data_tools.inspection.duplicates import opened
from data_tools.inspection.facts import PictureFacts, Sample
from data_tools.inspection.meaning import Meaning
from data_tools.masks import check_mask, read_mask
from data_tools.reading import decoding
from kseg.labels import IGNORE

COUNT = 12  # a split
LONGEST = 480  # pixels a side; the sheet shows about half of that


def spread(count: int, wanted: int = COUNT) -> list[int]:
    """`wanted` numbers below `count`, evenly apart; all of them if there are no more."""
    return sorted({index * count // wanted for index in range(wanted)}) if count else []


def choose(pictures: Sequence[PictureFacts], kept: Container[tuple[str, str]] | None) -> list[PictureFacts]:
    """Some pictures of a split, of those whose image and mask are in order.

    Args:
        pictures: of the split.
        kept: (split, name) of those whose content is still at hand; None = all are.
    """
    sound = (one for one in pictures if one.classes is not None and one.size and one.size == one.mask_size)
    sound = (one for one in sound if not one.faults)
    there = [one for one in sound if kept is None or (one.split, one.name) in kept]
    return [there[index] for index in spread(len(there))]


def sample(picture: PictureFacts, content: tuple[bytes, bytes], meaning: Meaning, encoding: Encoding | None) -> Sample:
    """A picture that the scan found in order, no longer than LONGEST.

    Args:
        picture: its facts.
        content: of its image and of its mask.
        meaning: what the masks' values are taken for.
        encoding: how the masks of its split say the classes, None where nothing says it.
    """
    image_data, mask_data = content
    with decoding("a picture"):
        image, _ = opened(check_image(image_data).encoded, LONGEST)
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.BOX)
        mask = Image.fromarray(_classes(picture, mask_data, meaning, encoding))
        mask = mask.resize(image.size, Image.Resampling.NEAREST)
    return Sample(picture.name, _png(image), _png(mask))


def _classes(picture: PictureFacts, data: bytes, meaning: Meaning, encoding: Encoding | None) -> np.ndarray:
    """Uint8 [H, W], 255 = ignore."""
    if encoding is not None and picture.split not in meaning.maps:
        return np.asarray(Image.open(io.BytesIO(check_mask(data, encoding).encoded)))
    raw = read_mask(data)
    if raw.values is not None:
        classes = meaning.table(picture.split, encoding)[raw.values]
    else:
        classes = np.full(raw.rgb.shape[:2], IGNORE, np.uint8)
        for color, number in meaning.colors.values.items():
            classes[(raw.rgb == color).all(-1)] = number
    return np.where(classes == UNMAPPED, np.uint8(IGNORE), classes)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
