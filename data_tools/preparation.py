"""One image file and its mask file -> what their record holds, or what is wrong with them."""

import dataclasses
from collections.abc import Mapping

from data_tools.encoding import Encoding
from data_tools.images import CheckedImage, check_image
from data_tools.masks import CheckedMask, check_mask
from data_tools.pairs import Pair, Problem, shown
from data_tools.reading import PictureError, read_file
from data_tools.reading_ahead import Reader


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What is done to every pair of a split.

    Attributes:
        encoding: how its masks say their classes.
        max_side: pixels; a longer picture is shrunk to it, None = none is.
        jpeg_quality: of the images that must be encoded again; None = lossless ones stay lossless, JPEG gets 95.
    """

    encoding: Encoding
    max_side: int | None = None
    jpeg_quality: int | None = None


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A pair that passed every check, ready for kseg.records.encode."""

    filename: str
    image: CheckedImage
    mask: CheckedMask


def prepare(pair: Pair, recipe: Recipe, read: Reader = read_file) -> Prepared | list[Problem]:
    """Reads and checks a pair; imports no TensorFlow for local files, so that worker processes start fast.

    Args:
        pair: its files.
        recipe: what is done to them.
        read: gives the content of each.

    Returns:
        the pair's content, or its problems.
    """
    problems = []
    image = mask = None
    try:
        image = check_image(read(pair.image), max_side=recipe.max_side, jpeg_quality=recipe.jpeg_quality)
    except PictureError as error:
        problems.append(Problem(pair.image, str(error), pair.stem))
    try:
        mask = check_mask(read(pair.mask), recipe.encoding, max_side=recipe.max_side)
    except PictureError as error:
        problems.append(Problem(pair.mask, str(error), pair.stem))
    if image is None or mask is None:
        return problems
    if image.full_size != mask.full_size:
        turned = f" once upright (EXIF orientation {image.orientation})" if image.orientation != 1 else ""
        what = (
            f"{mask.full_size[1]} x {mask.full_size[0]} pixels, but its image {shown(pair.image)} has "
            f"{image.full_size[1]} x {image.full_size[0]}{turned}; expected the same size"
        )
        return [Problem(pair.mask, what, pair.stem)]
    return Prepared(pair.filename, image, mask)


def prepare_of_split(recipes: Mapping[str, Recipe], item: tuple[tuple[str, Pair], Reader]) -> Prepared | list[Problem]:
    """`prepare` of a pair of one of several splits; here because worker processes import the module that it is in.

    Args:
        recipes: by split.
        item: (split, pair) and what reads its files, as `data_tools.reading_ahead.read_ahead` gives it.
    """
    (split, pair), read = item
    return prepare(pair, recipes[split], read)
