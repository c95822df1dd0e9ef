"""ADE20K as the scene parsing challenge of 2016 has it: images/ and annotations/, training and validation.

http://sceneparsing.csail.mit.edu, ADEChallengeData2016.zip: 150 classes. The full ADE20K, with its index file and a
folder for each kind of scene, is another layout and not read.
"""

from data_tools.colors import read_colors
from data_tools.pairs import Offered, Place
from data_tools.sources.listing import images_of, masks_of, refuse_missing
from data_tools.sources.pairing import pair_up
from data_tools.sources.places import input_folder, split_folders
from kseg import storage
from kseg.labels import LabelMap

LAYOUT = "images/training/, images/validation/, annotations/training/, annotations/validation/"
FOLDER = "ADEChallengeData2016"
SPLITS = {"train": "training", "validation": "validation"}


def fits(input: str) -> bool:
    """Whether the path is the root, or the folder that holds it."""
    root = _root(input)
    return any(storage.is_dir(storage.join(root, "annotations", name)) for name in SPLITS.values())


def find_ade20k(place: Place) -> Offered:
    """images/training/X.jpg pairs with annotations/training/X.png; the split "train". "validation" likewise.

    In the masks 0 is what has no class, and 1 to 150 are the classes (encoding: reduce_zero_label).

    Args:
        place: `input`, the folder that holds images/ and annotations/, or one with ADEChallengeData2016/ in it.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used; for another split.
        RunError: if a folder is missing or a split is empty.
    """
    root = _root(input_folder(place, "ade20k"))
    found = {}
    folders = split_folders(place, storage.join(root, "images"), storage.join(root, "annotations"), SPLITS, {})
    for split, (images, masks) in folders.items():
        refuse_missing(images, masks)
        found[split] = pair_up(images_of(images), masks_of(masks))
    table = read_colors("ade20k")
    return Offered(found, labels=LabelMap(table.names, table.colors), encoding={"reduce_zero_label": True})


def _root(input: str) -> str:
    inner = storage.join(input, FOLDER)
    return inner if storage.is_dir(inner) else input
