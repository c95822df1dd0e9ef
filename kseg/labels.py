"""Class names, colours and the ignore value, and how a mask becomes a picture."""

import colorsys
import dataclasses
import json

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
        original: what the user's own mask files call each class: for all a value from 0 to 65535, or for all an RGB
            colour; None for a class that no file can say. None as a whole where files hold train ids.
    """

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    original: tuple[int | tuple[int, int, int] | None, ...] | None = None

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
    def from_names_text(cls, text: str, flag: str) -> "LabelMap":
        """One class name a line, the first line being class 0.

        Args:
            text: of the file.
            flag: that names the file, as --classes=FILE.

        Raises:
            UsageError: naming the flag, if a name is empty or repeated, or there are not 2 to 254.
        """
        names = [name.strip() for name in text.rstrip().splitlines()]
        for line, name in enumerate(names, 1):
            if not name or name in names[: line - 1]:
                fault = "is empty" if not name else f"repeats {name!r}"
                raise UsageError(f"{flag}: line {line} {fault}; allowed: one distinct class name a line")
        if not 2 <= len(names) <= MAX_CLASSES:
            raise UsageError(f"{flag}: {len(names)} names; allowed: 2 to {MAX_CLASSES}")
        return cls.from_names(names)

    @property
    def num_classes(self) -> int:
        """Number of classes, IGNORE not counted."""
        return len(self.names)

    def with_original(self, label_map: dict | None) -> "LabelMap":
        """With `original` as a split's entry in dataset.json has it.

        Args:
            label_map: of kseg.records.Split; its "original" is {"values": […]}, {"colors": [[r, g, b], …]} or None.

        Raises:
            ValueError, KeyError, TypeError: if that is not what stands there.
        """
        found = (label_map or {}).get("original")
        return dataclasses.replace(self, original=None if found is None else _original(found, self.num_classes))

    def to_dict(self) -> dict:
        """As it stands in dataset.json and labels.json; "original" only where there is one."""
        classes = [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(zip(self.names, self.colors, strict=True))
        ]
        value = {"classes": classes, "ignore": IGNORE}
        if self.original is None:
            return value
        is_color = any(isinstance(entry, tuple) for entry in self.original)
        return value | {"original": {"colors" if is_color else "values": self.original}}

    @classmethod
    def from_dict(cls, value: dict) -> "LabelMap":
        """The inverse of `to_dict`; raises ValueError, KeyError or TypeError for anything else."""
        classes = value["classes"]
        labels = cls(tuple(entry["name"] for entry in classes), tuple(tuple(entry["color"]) for entry in classes))
        return labels.with_original(value)

    def to_json(self) -> str:
        """labels.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    def colorize(self, mask: np.ndarray) -> np.ndarray:
        """Class ids uint8 [H, W] -> colours uint8 [H, W, 3]; IGNORE is light grey."""
        table = np.zeros((256, 3), np.uint8)
        table[: self.num_classes] = self.colors
        table[IGNORE] = IGNORE_COLOR
        return table[mask]

    def in_original(self, mask: np.ndarray) -> np.ndarray:
        """Class ids [H, W] of classes that have an original -> what the user's own files would hold.

        Returns:
            uint8 [H, W], uint16 [H, W] where a value is above 255, or uint8 [H, W, 3] for colours. Without `original`,
            the mask itself.
        """
        if self.original is None:
            return mask
        empty = (0, 0, 0) if any(isinstance(entry, tuple) for entry in self.original) else 0
        table = np.array([empty if entry is None else entry for entry in self.original])
        return table.astype(np.uint16 if table.max() > 255 else np.uint8)[mask]

    def overlay(self, image: np.ndarray, mask: np.ndarray, alpha: float = 0.5) -> np.ndarray:
        """`image` uint8 [H, W, 3] with the colours of `mask` uint8 [H, W] laid over it at share `alpha`."""
        mixed = image.astype(np.float32) * (1 - alpha) + self.colorize(mask).astype(np.float32) * alpha
        return np.round(mixed).astype(np.uint8)


def _original(value: dict, count: int) -> tuple:
    """{"values": […]} or {"colors": […]} -> LabelMap.original; raises ValueError, KeyError or TypeError."""
    ((kind, entries),) = dict(value).items()
    shape, most = {"values": ((), 65535), "colors": ((3,), 255)}[kind]
    for entry in (np.array(entry) for entry in entries if entry is not None):
        if entry.shape != shape or entry.dtype.kind != "i" or entry.min() < 0 or entry.max() > most:
            raise ValueError(f"{entry.tolist()!r} in original {kind}")
    if len(entries) != count:
        raise ValueError(f"{len(entries)} original {kind} for {count} classes")
    return tuple(tuple(entry) if shape and entry is not None else entry for entry in entries)
