"""A conversion as convert-dataset makes it, from Python."""

from drawn import CLASSES

from data_tools.encoding import make_encoding
from data_tools.jobs import Job
from data_tools.pairs import Found, Place
from data_tools.sources.folders import find_folders
from data_tools.writer import local_runner, write_splits
from kseg import records
from kseg.labels import LabelMap

LABELS = LabelMap.from_names(CLASSES)


def found_in(root) -> Found:
    """What `drawn.write_pairs` wrote below a folder, local or remote."""
    return find_folders(Place(images=f"{root}/images", masks=f"{root}/masks", split="any")).splits["any"]


def convert(root, output, split="train", labels=LABELS, workers=None, runner=None, **options) -> records.Split:
    """Writes one split; returns its entry in dataset.json."""
    job = Job(found_in(root), make_encoding(labels.num_classes))
    runner = runner or local_runner(workers)
    return write_splits({split: job}, str(output), labels, runner=runner, **options).entries[split]
