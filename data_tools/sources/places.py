"""What the flags of a place must be for a source, and the folders of its splits."""

import os
from collections.abc import Mapping

from data_tools.pairs import Place, shown
from kseg import storage
from kseg.errors import RunError, UsageError


def input_of(place: Place, source: str, *, suffix_used: bool = False) -> str:
    """--input, for a source that needs it and neither --images nor --masks.

    Raises:
        UsageError: if it was not given, or a flag that the source does not use was.
    """
    for flag in ("images", "masks"):
        if (value := getattr(place, flag)) is not None:
            raise UsageError(f"--{flag}={value}: --source={source} does not use it; allowed: with --source=folders")
    if place.input is None:
        raise UsageError(f"--input is required with --source={source}: what it reads")
    if place.mask_suffix and not suffix_used:
        raise UsageError(
            f"--mask_suffix={place.mask_suffix}: --source={source} does not use it; "
            "allowed: with --source=folders and --source=sagemaker"
        )
    return place.input


def suffix_of(place: Place) -> str:
    """--mask_suffix; raises UsageError if it has what is no part of a stem."""
    suffix = place.mask_suffix
    if "/" in suffix or os.path.splitext(f"x{suffix}")[1].lower() == ".png":
        raise UsageError(f"--mask_suffix={suffix}: allowed: the end of a file name without its extension, as _L")
    return suffix


def input_folder(place: Place, source: str, *, suffix_used: bool = False) -> str:
    """`input_of`, which must be a folder; raises RunError naming it if not."""
    root = input_of(place, source, suffix_used=suffix_used)
    if not storage.is_dir(root):
        raise RunError(f"{shown(root)}: no such folder; expected the root of the layout --source={source}")
    return root


def split_folders(
    place: Place, images: str, masks: str, known: Mapping[str, str], on_demand: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """The folders of the splits, for a layout with a folder of images and one of masks for each.

    Args:
        place: its `split`, a split or the layout's name for it, is the only one taken.
        images: the folder with those of images.
        masks: the folder with those of masks.
        known: split -> the layout's name for it.
        on_demand: the same, of what is taken by name only.

    Returns:
        split -> (folder of images, folder of masks), where at least one of the two is there.

    Raises:
        UsageError: for an unknown split.
        RunError: if there is none.
    """
    folders = {**known, **on_demand}
    if place.split is None:
        wanted = known
    elif place.split in folders or place.split in folders.values():
        wanted = {split: name for split, name in folders.items() if place.split in (split, name)}
    else:
        raise UsageError(f"--split={place.split}: allowed: {', '.join(folders)}")
    found = {split: (storage.join(images, name), storage.join(masks, name)) for split, name in wanted.items()}
    found = {split: both for split, both in found.items() if any(map(storage.is_dir, both))}
    if not found:
        raise RunError(f"{shown(images)}: no folder {' or '.join(wanted.values())} there; is the root right?")
    return found
