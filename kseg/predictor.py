"""Pictures to mask PNGs and colour overlays."""

import dataclasses
import io
import os
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from PIL import Image

from kseg import photos, records, storage
from kseg.errors import RunError
from kseg.labels import IGNORE, IGNORE_COLOR, LabelMap
from kseg.progress import bar

PILLOW_FORMATS = ("GIF", "WEBP", "TIFF")
MASKS, OVERLAYS = "masks", "overlays"
OVERLAY_QUALITY = 90
SHOWN = 20

# Images uint8 [1, H, W, 3] -> classes uint8 [1, H, W].
Segment = Callable[[tf.Tensor], tf.Tensor]


def find_pictures(path: str) -> list[str]:
    """The pictures of a folder (not of its subfolders) in the order of their names, or the one picture.

    Raises:
        RunError: if there is none, or two have one stem and so would get one mask.
    """
    if not storage.exists(path):
        raise RunError(
            f"{path}: not there; expected a folder of pictures or a picture ({', '.join(photos.EXTENSIONS)})"
        )
    if not storage.is_dir(path):
        return [path]
    names = [name for name in storage.list_dir(path) if name.lower().endswith(photos.EXTENSIONS)]
    if not names:
        raise RunError(f"{path}: no pictures there; expected files ending in {', '.join(photos.EXTENSIONS)}")
    counts = Counter(map(_stem, names))
    twice = [name for name in names if counts[_stem(name)] > 1]
    if twice:
        more = f" and {len(twice) - SHOWN} more" if len(twice) > SHOWN else ""
        raise RunError(f"{path}: two pictures with one stem would get one mask: {', '.join(twice[:SHOWN])}{more}")
    return [storage.join(path, name) for name in names]


def predict(
    segment: Segment,
    pictures: list[str],
    output: str,
    labels: LabelMap,
    *,
    overlay_alpha: float = 0.5,
    original_labels: bool = False,
) -> dict[str, str]:
    """Writes OUTPUT/masks/STEM.png and OUTPUT/overlays/STEM.jpg for every picture, each of the picture's own size.

    A mask is an 8-bit palette PNG: its pixels are class numbers (numpy.array(PIL.Image.open(...))), its palette their
    colours. JPEG, PNG and BMP are decoded by the exported SavedModel's op, GIF, WebP and TIFF as by convert-dataset.

    Args:
        segment: the network, as kseg.evaluator.open_segment gives it.
        pictures: paths with distinct stems, as `find_pictures` gives them.
        output: folder to write into.
        labels: the classes.
        overlay_alpha: share of the class colour in an overlay, 0 to 1.
        original_labels: write masks as the user's own files are, by LabelMap.original if there is one.

    Returns:
        What could not be read: path -> reason. All other pictures are done.

    Raises:
        RunError: if a result cannot be written, or a class has no original and original_labels asks for it.
    """
    labels, unreadable = _labels_of_masks(labels, original_labels), {}
    with bar(len(pictures), "images", "segmenting") as progress:
        for path in pictures:
            try:
                image = _read_upright(path)
            except (RunError, tf.errors.InvalidArgumentError, Image.DecompressionBombError) as error:
                unreadable[path] = _reason(error)
            else:
                mask = np.asarray(segment(image[None]))[0]
                _write(output, _stem(path), _mask_image(mask, labels), labels.overlay(image, mask, overlay_alpha))
            progress.update(1)
    return unreadable


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _read_upright(path: str) -> np.ndarray:
    """A picture file as uint8 [H, W, 3]; raises RunError, InvalidArgumentError or DecompressionBombError."""
    content = storage.read_bytes(path)
    if content.startswith(photos.PILLOW_MAGIC):
        return _read_with_pillow(content)
    image = records.decode_image(tf.constant(content)).numpy()
    try:
        turn = photos.orientation(Image.open(io.BytesIO(content)))
    except photos.UNREADABLE:  # what TensorFlow decodes is segmented, whatever Pillow thinks of its header
        return image
    return np.array(photos.upright(Image.fromarray(image), turn))


def _read_with_pillow(content: bytes) -> np.ndarray:
    """GIF, WebP or TIFF: TensorFlow gives a GIF's first frame without the canvas around it, the others not at all."""
    fault = photos.fault(content)
    if fault:
        raise RunError(fault)
    try:
        image = Image.open(io.BytesIO(content), formats=PILLOW_FORMATS)
        pixels, _ = photos.first_frame(image)
    except Image.UnidentifiedImageError:
        raise RunError("damaged, or of a kind that is not read; convert it to PNG") from None
    except photos.UNREADABLE as error:
        raise RunError(f"truncated or damaged ({error})") from None
    return np.array(photos.upright(pixels, photos.orientation(image)).convert("RGB"))


def _reason(error: Exception) -> str:
    """An error's message without the parts that name TensorFlow's ops."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return " ".join(re.sub(r"\{\{.*?\}\}|\[Op:\w+\]|name: *$", "", text).split())


def _labels_of_masks(labels: LabelMap, original_labels: bool) -> LabelMap:
    """With `original` only if it is asked for; RunError for classes that the user's own encoding has no word for."""
    if not original_labels or labels.original is None:
        return dataclasses.replace(labels, original=None)
    missing = [name for name, entry in zip(labels.names, labels.original, strict=True) if entry is None]
    if missing:
        raise RunError(
            f"--original_labels: no value or colour in the training masks stands for {', '.join(missing[:SHOWN])}"
            f"{f' and {len(missing) - SHOWN} other classes' if len(missing) > SHOWN else ''}; leave the flag out for "
            "masks of class numbers"
        )
    return labels


def _mask_image(mask: np.ndarray, labels: LabelMap) -> Image.Image:
    """Classes uint8 [H, W] -> a palette in the classes' colours; with originals above 255 16-bit grey, or RGB.

    A class that several values or colours of the user's files stood for is the first of them.
    """
    image = Image.fromarray(labels.in_original(mask))
    if image.mode == "L":
        classes = np.arange(labels.num_classes, dtype=np.uint8)
        palette = np.zeros((256, 3), np.uint8)
        palette[IGNORE] = IGNORE_COLOR
        palette[labels.in_original(classes)] = labels.colors
        # All 256 entries: with a shorter palette Pillow would pack the pixels into 1, 2 or 4 bits.
        image.putpalette(palette.tobytes())
    return image


def _write(output: str, stem: str, mask: Image.Image, overlay: np.ndarray) -> None:
    _save(storage.join(output, MASKS, f"{stem}.png"), mask)
    _save(storage.join(output, OVERLAYS, f"{stem}.jpg"), Image.fromarray(overlay), quality=OVERLAY_QUALITY)


def _save(path: str, image: Image.Image, **options) -> None:
    """Writes a PNG or JPEG file, as its name says, whole."""
    buffer = io.BytesIO()
    image.save(buffer, Image.registered_extensions()[os.path.splitext(path)[1]], **options)
    storage.write_bytes(path, buffer.getvalue())
