"""Small picture files for the tests of data_tools, and a PNG writer for the kinds that Pillow cannot write."""

import io
import pathlib
import zlib

import numpy as np
from PIL import Image

CLASSES = ("ground", "thing", "other")
ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth and asymmetric, uint8 [height, width, 3]."""
    y, x = np.mgrid[:height, :width]
    red, green = 255 * x / width, 255 * y / height
    blue = np.full_like(red, seed * 37 % 256)
    return np.stack([red, green, blue], axis=-1).astype(np.uint8)


def class_mask(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Classes 0, 1 and 2 and ignore, uint8 [height, width]."""
    values = np.array([0, 1, 2, 255], np.uint8)
    return values[np.random.default_rng(seed).integers(0, 4, (height, width))]


def encoded(array: np.ndarray, image_format: str = "PNG", mode: str | None = None, **options) -> bytes:
    """What Pillow writes for an array, of another mode if asked."""
    image = Image.fromarray(array)
    if mode == "P":
        # Colours without order, so that a brightness taken for an index would show.
        palette = np.random.default_rng(5).integers(0, 256, 768).tolist()
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette(palette)
    elif mode:
        image = image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def png(
    width: int, height: int, bits: int, color_type: int, rows: bytes, interlaced=False, extra: bytes = b""
) -> bytes:
    """A PNG from its filtered rows (each starts with a 0 byte); `extra` chunks stand before the pixels."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, color_type, 0, 0, int(interlaced)])
    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + pixels + chunk(b"IEND", b"")


def split_pixels(data: bytes) -> bytes:
    """A PNG with its pixels in two IDAT chunks and a text chunk behind them."""
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    content = data[at + 8 : at + 8 + length]
    parts = chunk(b"IDAT", content[:5]) + chunk(b"IDAT", content[5:]) + chunk(b"tEXt", b"Comment\0IDAT")
    return data[:at] + parts + data[at + 12 + length :]


def rows(array: np.ndarray) -> bytes:
    """uint8 [H, W] or [H, W, C], or uint16 -> unfiltered PNG rows."""
    big_endian = array.astype(array.dtype.newbyteorder(">"))
    return b"".join(b"\0" + row.tobytes() for row in big_endian)


def paletted(indices: np.ndarray, colors, alpha: bytes = b"") -> bytes:
    """uint8 [H, W] -> an 8-bit palette PNG with exactly these colours, and their alpha if given."""
    extra = chunk(b"PLTE", np.array(colors, np.uint8).tobytes()) + (chunk(b"tRNS", alpha) if alpha else b"")
    return png(indices.shape[1], indices.shape[0], 8, 3, rows(indices), extra=extra)


def adam7_rows(array: np.ndarray) -> bytes:
    """The same, interlaced."""
    passes = (array[top::down, left::right] for top, left, down, right in ADAM7)
    return b"".join(rows(part) for part in passes if part.size)


def write_pairs(root: pathlib.Path, stems, height: int = 24, width: int = 32, seed: int = 0) -> None:
    """root/images/STEM.jpg, root/masks/STEM.png and root/classes.txt."""
    for index, stem in enumerate(stems):
        image, mask = root / "images" / f"{stem}.jpg", root / "masks" / f"{stem}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        mask.parent.mkdir(parents=True, exist_ok=True)
        image.write_bytes(encoded(photo(height, width, seed + index), "JPEG"))
        mask.write_bytes(encoded(class_mask(height, width, seed + index), mode="P"))
    (root / "classes.txt").write_text("\n".join(CLASSES) + "\n")


def flags(root: pathlib.Path, output: pathlib.Path, split: str = "train", **more) -> list[str]:
    """argv of convert-dataset on what `write_pairs` wrote."""
    values = {"images": root / "images", "masks": root / "masks", "split": split, "output": output}
    if "num_classes" not in more:
        values["classes"] = root / "classes.txt"
    return ["convert-dataset", *(f"--{name}={value}" for name, value in (values | more).items())]
