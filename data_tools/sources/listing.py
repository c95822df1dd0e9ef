"""The picture files of a folder and its subfolders, local or remote, and which of them share a stem."""

import dataclasses
import functools
import os

from data_tools.pairs import Problem, shown
from kseg import storage
from kseg.errors import RunError
from kseg.photos import EXTENSIONS

MASK_EXTENSIONS = (".png",)
# What never names a folder: on s3:// each question is a request, and Cityscapes has a .json beside every mask.
NO_FOLDERS = (*EXTENSIONS, ".json", ".txt", ".xml", ".csv", ".db", ".ini")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images or the masks of one folder.

    Attributes:
        kind: "image" or "mask", for messages.
        folder: its path.
        extensions: of the files that count, in lower case.
        files: sorted paths, relative to `folder`, of all files there, those that do not count too.
        suffix: what every stem ends in and what is left off; a file without it does not count.
        problems: met in listing.
    """

    kind: str
    folder: str
    extensions: tuple[str, ...]
    files: tuple[str, ...]
    suffix: str = ""
    problems: tuple[Problem, ...] = ()

    @functools.cached_property
    def names(self) -> dict[str, list[str]]:
        """Stem, without `suffix` -> the files that count and have it."""
        names = {}
        for name in self.files:
            stem, extension = os.path.splitext(name)
            if extension.lower() in self.extensions and stem.endswith(self.suffix):
                names.setdefault(stem.removesuffix(self.suffix), []).append(name)
        return names

    def path(self, stem: str) -> str:
        """Path of the first file of a stem."""
        return storage.join(self.folder, self.names[stem][0])


def images_of(folder: str, suffix: str = "", leave_out: str | None = None) -> Listing:
    """The images in a folder; see `files_of`."""
    files, problems = files_of(folder, leave_out)
    return Listing("image", folder, EXTENSIONS, files, suffix, problems)


def masks_of(folder: str, suffix: str = "", leave_out: str | None = None) -> Listing:
    """The masks in a folder; see `files_of`."""
    files, problems = files_of(folder, leave_out)
    return Listing("mask", folder, MASK_EXTENSIONS, files, suffix, problems)


def refuse_missing(*folders: str) -> None:
    """Raises RunError naming those of `folders` that are not there."""
    missing = [folder for folder in folders if not storage.is_dir(folder)]
    if missing:
        raise RunError("\n".join(f"{shown(folder)}: no such folder; expected one of pictures" for folder in missing))


def files_of(folder: str, leave_out: str | None = None) -> tuple[tuple[str, ...], tuple[Problem, ...]]:
    """All files of a folder and its subfolders, those of symbolic links too.

    Names that start with a dot (.DS_Store, ._x.jpg) are passed over.

    Args:
        folder: local or remote; must be there.
        leave_out: a folder in it that is passed over.

    Returns:
        sorted paths relative to `folder`, with "/" between their parts, and a problem for every link that leads nowhere
        or back to a folder on the way to it.

    Raises:
        RunError: naming the folder that cannot be listed.
    """
    files, problems = [], []
    waiting = [("", (_real(folder),))]  # not by recursion: hostile trees are deeper than Python's stack
    while waiting:
        inside, way = waiting.pop()
        for name in storage.list_dir(storage.join(folder, inside) if inside else folder):
            if not name or name.startswith("."):  # no name: the object that S3's console makes for an empty folder
                continue
            relative = f"{inside}/{name}" if inside else name
            path = storage.join(folder, relative)
            no_folder = os.path.splitext(name)[1].lower() in NO_FOLDERS
            if not no_folder and storage.is_dir(path):
                if leave_out is None or os.path.normpath(path) != os.path.normpath(leave_out):
                    further = _further(way, path)
                    if further is not None:
                        waiting.append((relative, further))
                    else:
                        problems.append(Problem(path, f"a symbolic link back to {shown(_real(path))}; remove it"))
            elif not no_folder and _is_link(path) and not os.path.exists(path):
                problems.append(Problem(path, f"a symbolic link to {shown(os.readlink(path))}, which is not there"))
            else:
                files.append(relative)
    return tuple(sorted(files)), tuple(sorted(problems))


def _further(way: tuple[str, ...], path: str) -> tuple[str, ...] | None:
    """The way to a folder in the last one of `way`; None for a link back to where the way has been.

    A way is the true path of the folder reached, and before it of each from which a link led on. Those above them need
    not be kept: whatever leads back to one of them holds these too.
    """
    if not _is_link(path):
        return (*way[:-1], f"{way[-1]}/{os.path.basename(path)}")
    real = _real(path)
    return None if any(f"{above}/".startswith(f"{real.rstrip('/')}/") for above in way) else (*way, real)


def _real(path: str) -> str:
    return path if "://" in path else os.path.realpath(path)


def _is_link(path: str) -> bool:
    return "://" not in path and os.path.islink(path)
