"""A folder tree of images and masks to plant faults in, and how what was planted is compared with what was found."""

import dataclasses
import io
import pathlib
import shutil

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Tree:
    """A data set under `root`, with classes 0 to num_classes - 1."""

    root: pathlib.Path
    num_classes: int

    def image(self, split: str, stem: str) -> pathlib.Path:
        return self.root / split / f"{stem}.jpg"

    def mask(self, split: str, stem: str) -> pathlib.Path:
        return self.root / f"{split}_annotation" / f"{stem}.png"

    def photo(self, split: str, stem: str) -> Image.Image:
        return Image.open(io.BytesIO(self.image(split, stem).read_bytes())).convert("RGB")

    def values(self, split: str, stem: str) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(self.mask(split, stem).read_bytes())))

    def palette(self, split: str, stem: str) -> list[int]:
        return Image.open(io.BytesIO(self.mask(split, stem).read_bytes())).getpalette()

    def put(self, path: pathlib.Path, picture: Image.Image | np.ndarray | bytes, **options) -> str:
        """Writes a file anew, as a palette PNG where it is a uint8 array; returns its path below the root."""
        path.unlink(missing_ok=True)
        if isinstance(picture, bytes):
            path.write_bytes(picture)
            return str(path.relative_to(self.root))
        if isinstance(picture, np.ndarray) and picture.dtype == np.uint8:
            palette, picture = options.pop("palette"), Image.frombytes("P", picture.shape[::-1], picture.tobytes())
            picture.putpalette(palette)
        elif isinstance(picture, np.ndarray):
            picture = Image.fromarray(picture)
        buffer = io.BytesIO()
        jpeg = path.suffix in (".jpg", ".jpeg")
        picture.save(buffer, options.pop("format", "JPEG" if jpeg else "PNG"), **options)
        return self.put(path, buffer.getvalue())

    def put_values(self, split: str, stem: str, values: np.ndarray) -> str:
        return self.put(self.mask(split, stem), values, palette=self.palette(split, stem))

    def names(self, split: str, stem: str) -> tuple[str, str]:
        return tuple(str(path.relative_to(self.root)) for path in (self.image(split, stem), self.mask(split, stem)))


def linked_copy(source: pathlib.Path, target: pathlib.Path) -> None:
    """A copy of hard links, or of files across disks."""

    def link(one: str, other: str) -> None:
        try:
            pathlib.Path(other).hardlink_to(one)
        except OSError:
            shutil.copyfile(one, other)

    shutil.copytree(source, target, copy_function=link)


def expected(planted) -> dict[tuple[str, str], set[str]]:
    """What several faults give together: (level, kind) -> files."""
    found = {}
    for level, kind, files in planted:
        found.setdefault((level, kind), set()).update([files] if isinstance(files, str) else files)
    return found


def reported(findings, root) -> dict[tuple[str, str], set[str]]:
    """What an inspection found, likewise."""
    found = {}
    for finding in findings:
        files = {str(pathlib.Path(file).relative_to(root)) for file in finding.files}
        found.setdefault((finding.level, finding.kind), set()).update(files)
    return found
