"""Cityscapes: leftImg8bit/ and gtFine/, a folder for each split and city, 34 label ids of which 19 are classes.

https://www.cityscapes-dataset.com; ids: cityscapesscripts/helpers/labels.py of github.com/mcordts/cityscapesScripts.
The coarse masks (gtCoarse, train_extra) are not read.
"""

from data_tools.colors import read_colors
from data_tools.pairs import Offered, Place
from data_tools.sources.listing import Listing, images_of, masks_of, refuse_missing
from data_tools.sources.pairing import pair_up
from data_tools.sources.places import input_folder, split_folders
from kseg import storage
from kseg.labels import IGNORE, LabelMap

LAYOUT = "leftImg8bit/train/CITY/, leftImg8bit/val/CITY/, gtFine/train/CITY/, gtFine/val/CITY/"
IMAGES, MASKS = "leftImg8bit", "gtFine"
IMAGE_SUFFIX, ID_SUFFIX, TRAIN_ID_SUFFIX = "_leftImg8bit", "_gtFine_labelIds", "_gtFine_labelTrainIds"
SPLITS = {"train": "train", "validation": "val"}
ON_DEMAND = {"test": "test"}  # its masks are dummies: the true ones are kept by the benchmark's server
LABEL_IDS = 34  # 0 to 33; the licence plate's -1 is not drawn into masks
# By train id, from road to bicycle.
CLASS_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
VOID_IDS = tuple(sorted(set(range(LABEL_IDS)) - set(CLASS_IDS)))


def fits(input: str) -> bool:
    """Whether the path is a folder that holds leftImg8bit/ or gtFine/."""
    return any(storage.is_dir(storage.join(input, name)) for name in (IMAGES, MASKS))


def find_cityscapes(place: Place) -> Offered:
    """leftImg8bit/S/CITY/X_leftImg8bit.png pairs with gtFine/S/CITY/X_gtFine_labelIds.png; the stem is CITY/X.

    val is the split "validation". Where there are no ..._labelIds.png but ..._labelTrainIds.png, these are taken, whose
    values are the classes.

    Args:
        place: `input`, the folder that holds leftImg8bit/ and gtFine/; `split` "test" for the images with dummy masks.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used; for another split.
        RunError: if a folder is missing or a split is empty.
    """
    root = input_folder(place, "cityscapes")
    listed = {}
    folders = split_folders(place, storage.join(root, IMAGES), storage.join(root, MASKS), SPLITS, ON_DEMAND)
    for split, (images, masks) in folders.items():
        refuse_missing(images, masks)
        listed[split] = images_of(images, IMAGE_SUFFIX), masks_of(masks, ID_SUFFIX)
    by_train_id = {split: (images, _train_ids(masks)) for split, (images, masks) in listed.items()}
    has_ids = any(masks.names for _, masks in listed.values())
    if not has_ids and any(masks.names for _, masks in by_train_id.values()):
        listed, encoding = by_train_id, {}
    else:
        encoding = {"label_map": label_map()}
    table = read_colors("cityscapes")
    found = {split: pair_up(*both) for split, both in listed.items()}
    return Offered(found, labels=LabelMap(table.names, table.colors), encoding=encoding)


def label_map() -> dict:
    """Label ids -> train ids: {"map": {"0": 7, ..., "255": [void ids]}}."""
    classes = {str(train_id): label_id for train_id, label_id in enumerate(CLASS_IDS)}
    return {"map": {**classes, str(IGNORE): list(VOID_IDS)}}


def _train_ids(masks: Listing) -> Listing:
    """The same folder's masks by train ids."""
    return Listing(masks.kind, masks.folder, masks.extensions, masks.files, TRAIN_ID_SUFFIX, masks.problems)
