"""The four directories of SageMaker's semantic segmentation: train/, train_annotation/, validation/, ….

https://docs.aws.amazon.com/sagemaker/latest/dg/semantic-segmentation.html, "Training with the File Format".
"""

from data_tools.encoding import LABEL_MAP
from data_tools.pairs import Offered, Place, shown
from data_tools.sources.listing import images_of, masks_of
from data_tools.sources.pairing import pair_up
from data_tools.sources.places import input_folder, suffix_of
from kseg import storage
from kseg.errors import RunError

LAYOUT = "train/, train_annotation/, validation/, validation_annotation/ and, if need be, label_map/"
ANNOTATION = "_annotation"
LABEL_MAPS = "label_map"
OWN_SPLITS = ("train", "validation")  # a folder of one of these names is a split, even if its masks are missing


def fits(input: str) -> bool:
    """Whether the path is a folder that holds some X/ and X_annotation/, or train_annotation/ alone."""
    names = storage.list_dir(input) if storage.is_dir(input) else []
    return any(
        name.endswith(ANNOTATION)
        and (name.removesuffix(ANNOTATION) in names or name.removesuffix(ANNOTATION) in OWN_SPLITS)
        for name in names
    )


def find_sagemaker(place: Place) -> Offered:
    """Every X/ with X_annotation/ is the split X; its masks pair as in `data_tools.sources.folders`.

    label_map/X_label_map.json, where it is there, is the split's label map.

    Args:
        place: `input`, the folder with all these; `mask_suffix`; with a `label_map`, label_map/ is not looked at.

    Raises:
        UsageError: if `input` is missing, or `images` or `masks` given.
        RunError: if a folder has no partner, none is there, a split is empty, a file in label_map/ is no split's, or
            some splits have one there and others not.
    """
    root = input_folder(place, "sagemaker", suffix_used=True)
    suffix = suffix_of(place)
    every = _splits(root)
    wanted = every if place.split is None else [place.split]
    if place.split is not None and place.split not in every:
        raise RunError(f"{shown(root)}: no {place.split}/ with {place.split}{ANNOTATION}/; there: {', '.join(every)}")
    found = {}
    for split in wanted:
        masks = masks_of(storage.join(root, split + ANNOTATION), suffix)
        found[split] = pair_up(images_of(storage.join(root, split)), masks)
    there = {} if place.label_map is not None else _label_maps(root, every)
    label_maps = {split: path for split, path in there.items() if split in found}
    if lacking := [split for split in found if label_maps and split not in label_maps]:
        raise RunError(
            f"{shown(storage.join(root, LABEL_MAPS))}: {', '.join(label_maps)} has a label map, {', '.join(lacking)} "
            f"has none; expected {LABEL_MAP.format(split=lacking[0])} too, "
            'with {"scale": 1} where the values are the classes'
        )
    return Offered(found, label_maps=label_maps)


def _splits(root: str) -> list[str]:
    """Names of the splits: train and validation first."""
    names = set(storage.list_dir(root))
    annotated = {name.removesuffix(ANNOTATION) for name in names if name.endswith(ANNOTATION)}
    splits, missing = [], []
    for split in sorted((annotated | names.intersection(OWN_SPLITS)) - {""}):
        both = [storage.join(root, split), storage.join(root, split + ANNOTATION)]
        there = [folder for folder in both if storage.is_dir(folder)]
        if len(there) == 1:
            lacking = both[1 - both.index(there[0])]
            missing.append(f"{shown(lacking)}: no such folder; expected it beside {shown(there[0])}")
        elif there:
            splits.append(split)
    if missing:
        raise RunError("\n".join(missing))
    if not splits:
        raise RunError(f"{shown(root)}: no two folders as train/ and train{ANNOTATION}/ there; expected {LAYOUT}")
    return sorted(splits, key=lambda split: (*(split != own for own in OWN_SPLITS), split))


def _label_maps(root: str, splits: list[str]) -> dict[str, str]:
    """Split -> path of its label map."""
    folder = storage.join(root, LABEL_MAPS)
    if not storage.is_dir(folder):
        return {}
    known = {LABEL_MAP.format(split=split): split for split in splits}
    found = {}
    for name in storage.list_dir(folder):
        if name.startswith(".") or not name.endswith(".json"):
            continue
        if name not in known:
            raise RunError(
                f"{shown(storage.join(folder, name))}: belongs to no split; expected {' or '.join(known)}; "
                "rename or remove it, or name it by --label_map for every split"
            )
        found[known[name]] = storage.join(folder, name)
    return found
