"""Class names, colours and the ignore value, and how a mask becomes a picture."""

import colorsys
import dataclasses
import json
import pathlib

import numpy as np

from kseg.config.values import MAX_CLASSES
from kseg.errors import UsageError

IGNORE = 255
IGNORE_COLOR = (224, 224, 224)
SAVED_MODEL_LABELS = "assets.extra/labels.json"  # place of the class list in an exported SavedModel


def default_colors(count: int) -> tuple[tuple[int, int, int], ...]:
    """`count` colours that stay apart: hues by the golden ratio, brightness in three turns; class 0 is black."""
    colors = [(0, 0, 0)]
    for index in range(1, count):
        hue = (index * 0.618034) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, (1.0, 0.75, 0.55)[index % 3])
        colors.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colors[:count])


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The classes of a data set: train id -> name and RGB colour; IGNORE (255) is no class.

    Attributes:
        names: one per class, 2 to 254 of them; index = train id.
        colors: (red, green, blue), 0 to 255, one per class.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    @classmethod
    def from_names(cls, names) -> "LabelMap":
        """Names in the order of their train ids, with default colours."""
        names = tuple(names)
        return cls(names, default_colors(len(names)))

    @classmethod
    def numbered(cls, num_classes: int) -> "LabelMap":
        """Classes without names of their own: class_0, class_1, …"""
        return cls.from_names(f"class_{index}" for index in range(num_classes))

    @classmethod
    def from_names_file(cls, path: str) -> "LabelMap":
        """Reads one class name a line, the first line being class 0.

        Raises:
            UsageError: naming the file, if it cannot be read, a name is empty or repeated, or there are not 2 to 254.
        """
        try:
            names = pathlib.Path(path).read_text(encoding="utf-8-sig").rstrip().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--classes={path}: cannot be read ({error}); allowed: one class name a line") from None
        names = [name.strip() for name in names]
        for line, name in enumerate(names, 1):
            if not name or name in names[: line - 1]:
                fault = "is empty" if not name else f"repeats {name!r}"
                raise UsageError(f"--classes={path}: line {line} {fault}; allowed: one distinct class name a line")
        if not 2 <= len(names) <= MAX_CLASSES:
            raise UsageError(f"--classes={path}: {len(names)} names; allowed: 2 to {MAX_CLASSES}")
        return cls.from_names(names)

    @property
    def num_classes(self) -> int:
        """Number of classes, IGNORE not counted."""
        return len(self.names)

    def to_dict(self) -> dict:
        """As it stands in dataset.json and labels.json."""
        classes = [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(zip(self.names, self.colors, strict=True))
        ]
        return {"classes": classes, "ignore": IGNORE}

    @classmethod
    def from_dict(cls, value: dict) -> "LabelMap":
        """The inverse of `to_dict`."""
        classes = value["classes"]
        return cls(tuple(entry["name"] for entry in classes), tuple(tuple(entry["color"]) for entry in classes))

    def to_json(self) -> str:
        """labels.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def colorize(self, mask: np.ndarray) -> np.ndarray:
        """Class ids uint8 [H, W] -> colours uint8 [H, W, 3]; IGNORE is light grey."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.colors
        table[IGNORE] = IGNORE_COLOR
        return table[mask]

    def overlay(self, image: np.ndarray, mask: np.ndarray, alpha: float = 0.5) -> np.ndarray:
        """`image` uint8 [H, W, 3] with the colours of `mask` uint8 [H, W] laid over it at share `alpha`."""
        mixed = image.astype(np.float32) * (1 - alpha) + self.colorize(mask).astype(np.float32) * alpha
        return np.round(mixed).astype(np.uint8)
