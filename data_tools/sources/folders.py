"""A folder of images and a folder of masks -> pairs of the same stem, and everything that has no partner."""

import dataclasses
import os

from data_tools.pairs import Offered, Place, shown
from data_tools.sources.listing import images_of, masks_of, refuse_missing
from data_tools.sources.pairing import pair_up
from data_tools.sources.places import suffix_of
from kseg import storage
from kseg.errors import RunError, UsageError

LAYOUT = "images/ and masks/: one split, pictures and PNG masks of the same stem; --images and --masks name them apart"
IMAGES, MASKS = "images", "masks"


def fits(input: str) -> bool:
    """Whether the path is a folder that holds images/ and masks/."""
    return storage.is_dir(storage.join(input, IMAGES)) and storage.is_dir(storage.join(input, MASKS))


def find_folders(place: Place) -> Offered:
    """Pairs images with masks (png) of the same stem, or the same but for `place.mask_suffix` at the mask's end.

    Subfolders are searched too and a stem includes them: images/a/x.jpg belongs to masks/a/x.png. Names that start
    with a dot (.DS_Store, ._x.jpg) and other kinds of files are passed over. One folder may lie inside the other; with
    a suffix, which tells image from mask, they may be the same.

    Args:
        place: `images` and `masks`, or `input` with folders of these names in it.

    Raises:
        UsageError: unless just these are given.
        RunError: if a folder is missing, both are the same without a suffix, or there is neither an image nor a mask.
    """
    images, masks = _both(place)
    suffix = suffix_of(place)
    refuse_missing(images, masks)
    same = os.path.normpath(images) == os.path.normpath(masks)
    if same and not suffix:
        raise RunError(
            f"{shown(images)}: given for both images and masks; expected two folders, "
            "or --mask_suffix to tell the files apart"
        )
    mask_list = masks_of(masks, suffix, leave_out=None if same else images)
    if same:
        are_masks = {name for names in mask_list.names.values() for name in names}
        image_list = images_of(images)
        image_list = dataclasses.replace(
            image_list, files=tuple(name for name in image_list.files if name not in are_masks), problems=()
        )
    else:
        image_list = images_of(images, leave_out=masks)
    return Offered({place.split or "": pair_up(image_list, mask_list)})


def _both(place: Place) -> tuple[str, str]:
    """The two folders."""
    given = place.images is not None, place.masks is not None
    if place.input is None and all(given):
        return place.images, place.masks
    if place.input is not None and not any(given):
        return storage.join(place.input, IMAGES), storage.join(place.input, MASKS)
    raise UsageError(
        "--source=folders: allowed: --images and --masks, or --input alone, a folder with images/ and masks/ in it"
    )
