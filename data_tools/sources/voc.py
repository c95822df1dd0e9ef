"""PASCAL VOC: list files under ImageSets/Segmentation, JPEGImages/ and SegmentationClass/.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html. The masks of SBD (SegmentationClassAug), which
lists of their own come with, are not read.
"""

from data_tools.colors import read_colors
from data_tools.pairs import Found, Offered, Pair, Place, Problem, shown
from data_tools.sources.listing import Listing, images_of, masks_of, refuse_missing
from data_tools.sources.places import input_folder
from kseg import storage
from kseg.errors import RunError
from kseg.labels import LabelMap

LAYOUT = (
    "ImageSets/Segmentation/train.txt and val.txt, JPEGImages/, SegmentationClass/; or VOCdevkit/VOC2012/ with these"
)
LISTS = storage.join("ImageSets", "Segmentation")
IMAGES, MASKS = "JPEGImages", "SegmentationClass"
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # and, by name only, any other list, as trainval


def fits(input: str) -> bool:
    """Whether the path is the folder of a year, or one that holds such."""
    return bool(_roots(input))


def find_voc(place: Place) -> Offered:
    """A line of ImageSets/Segmentation/train.txt is a stem: JPEGImages/STEM.jpg and SegmentationClass/STEM.png.

    val.txt is the split "validation"; test.txt counts where at least one of its stems has a mask. Any other list, as
    trainval.txt, is taken if it is `place.split`. The masks' values are the classes, and 255 their borders.

    Args:
        place: `input`, the folder of a year, VOCdevkit or the folder that holds it.

    Raises:
        UsageError: if `input` is missing, or a flag given that is not used.
        RunError: if a folder is missing, there are several years, or a list is missing or empty.
    """
    root = _root(input_folder(place, "voc"))
    refuse_missing(storage.join(root, IMAGES), storage.join(root, MASKS))
    images, masks = images_of(storage.join(root, IMAGES)), masks_of(storage.join(root, MASKS))
    found = {}
    for split, path in _lists(root, place.split).items():
        stems = _read_list(path)
        if place.split or split != "test" or any(stem in masks.names for _, stem in stems):
            found[split] = _pairs(path, stems, images, masks)
    if not found:
        raise RunError(
            f"{shown(storage.join(root, LISTS))}: no train.txt or val.txt there; --split=NAME takes NAME.txt"
        )
    table = read_colors("voc")
    return Offered(found, labels=LabelMap(table.names, table.colors))


def _roots(input: str) -> list[str]:
    """The folders that hold lists: `input` itself, or those named VOC… in it and in its VOCdevkit/."""
    if storage.is_dir(storage.join(input, LISTS)):
        return [input]
    if not storage.is_dir(input):
        return []
    devkit = storage.join(input, "VOCdevkit")
    years = [
        storage.join(folder, name)
        for folder in ([input, devkit] if storage.is_dir(devkit) else [input])
        for name in storage.list_dir(folder)
        if name.startswith("VOC")
    ]
    return [folder for folder in years if storage.is_dir(storage.join(folder, LISTS))]


def _root(input: str) -> str:
    roots = _roots(input)
    if not roots:
        raise RunError(f"{shown(input)}: no {LISTS}/ there; expected {LAYOUT}")
    if len(roots) > 1:
        raise RunError(f"{shown(input)}: several data sets: {', '.join(roots)}; give one of them as --input")
    return roots[0]


def _lists(root: str, wanted: str | None) -> dict[str, str]:
    """Split -> path of its list."""
    folder = storage.join(root, LISTS)
    names = set(storage.list_dir(folder))
    own = {split: name for split, name in SPLITS.items() if wanted in (None, split, name)}
    splits = own or {wanted: wanted}
    lists = {split: storage.join(folder, f"{name}.txt") for split, name in splits.items() if f"{name}.txt" in names}
    if wanted is not None and not lists:
        raise RunError(
            f"{shown(folder)}: no {', '.join(splits.values())}.txt there for --split={wanted}; there: "
            f"{', '.join(sorted(names))}"
        )
    return lists


def _read_list(path: str) -> list[tuple[int, str]]:
    """(number of the line, stem) of every line that is not empty."""
    lines = storage.read_text(path).removeprefix("\ufeff").split("\n")
    stems = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not stems:
        raise RunError(f"{shown(path)}: lists nothing; expected a stem a line")
    return stems


def _pairs(path: str, stems: list[tuple[int, str]], images: Listing, masks: Listing) -> Found:
    """The pairs of a list, and a problem for every stem that is listed twice or lacks a file."""
    first, again, problems, pairs = {}, set(), [], {}
    for number, stem in stems:
        line = f"{path}:{number}"
        if stem in first:
            problems.append(Problem(line, f"lists {shown(stem)} again, after line {first[stem]}; remove one", stem))
            again.add(stem)
            continue
        first[stem] = number
        faults = [_fault(stem, listing) for listing in (images, masks)]
        if any(faults):
            problems.append(Problem(line, f"lists {shown(stem)}, but {' and '.join(filter(None, faults))}", stem))
        else:
            pairs[stem] = Pair(stem, images.names[stem][0], images.path(stem), masks.path(stem))
    kept = tuple(pairs[stem] for stem in sorted(pairs.keys() - again))
    return Found(kept, tuple(problems))


def _fault(stem: str, listing: Listing) -> str | None:
    """Why there is not just one file of a stem."""
    there = listing.names.get(stem, [])
    if not there:
        return f"there is no {listing.kind} {shown(stem)} in {shown(listing.folder)}"
    return None if len(there) == 1 else f"there are {', '.join(map(shown, there))} in {shown(listing.folder)}"
