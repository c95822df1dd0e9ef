"""The command make-demo-dataset: folders of made-up pictures and masks, laid out as convert-dataset reads them."""

import dataclasses
import io

import numpy as np
from PIL import Image

from data_tools.sources import synthetic
from kseg import command
from kseg.config.values import FOLDER
from kseg.errors import RunError
from kseg.knobs import MOST, REQUIRED, Range, check, knob

CLASSES_FILE = "classes.txt"
JPEG_QUALITY = 92
SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class DemoConfig:
    """Flags of make-demo-dataset. Raises UsageError for a value out of range."""

    output: str = knob(
        REQUIRED,
        "Where train/, train_annotation/, validation/, validation_annotation/ and classes.txt go.",
        allowed=FOLDER,
    )
    seed: int = knob(0, "Of the scenes; another one gives other pictures.", allowed=Range(0, MOST))
    train_images: int = knob(160, "Pictures in train/.", allowed=Range(1, 99999), unit="images")
    validation_images: int = knob(40, "Pictures in validation/.", allowed=Range(1, 99999), unit="images")
    size: int = knob(
        160, "Mean side of a picture; sides vary by an eighth to either side.", allowed=Range(32, 2048), unit="pixels"
    )

    def __post_init__(self):
        check(self)


def write_demo(
    output: str, seed: int = 0, train_images: int = 160, validation_images: int = 40, size: int = 160
) -> None:
    """Writes the demo's folders; the same arguments give the same files.

    Args:
        output: folder, local or remote; files of an earlier run of this function are replaced.
        seed: of the scenes.
        train_images: pictures in OUTPUT/train, masks in OUTPUT/train_annotation.
        validation_images: likewise.
        size: mean side, pixels.

    Raises:
        RunError: if one of the folders holds anything else, which conversion would take in.
    """
    from kseg import storage  # TensorFlow: 3 s that --help should not pay

    counts = dict(zip(SPLITS, (train_images, validation_images), strict=True))
    for split, count in counts.items():
        stems = [_stem(split, index) for index in range(count)]
        _refuse_others(storage.join(output, split), {f"{stem}.jpg" for stem in stems})
        _refuse_others(storage.join(output, f"{split}_annotation"), {f"{stem}.png" for stem in stems})
    for number, (split, count) in enumerate(counts.items()):
        for index in range(count):
            height, width = np.random.default_rng((seed, number, index, 0)).integers(
                size * 7 // 8, size * 9 // 8 + 1, 2
            )
            image, mask = synthetic.scene(int(height), int(width), (seed, number, index, 1))
            stem = _stem(split, index)
            storage.write_bytes(
                storage.join(output, split, f"{stem}.jpg"), _encoded(image, "JPEG", quality=JPEG_QUALITY)
            )
            storage.write_bytes(storage.join(output, f"{split}_annotation", f"{stem}.png"), _encoded(mask, "PNG"))
    storage.write_text(storage.join(output, CLASSES_FILE), "\n".join(synthetic.CLASS_NAMES) + "\n")


def _stem(split: str, index: int) -> str:
    return f"{split}_{index:05d}"


def _refuse_others(folder: str, own: set[str]) -> None:
    from kseg import storage

    others = sorted(set(storage.list_dir(folder)) - own) if storage.exists(folder) else []
    if others:
        raise RunError(f"{storage.join(folder, others[0])}: not of this data set; give a new --output, or delete it")


def _encoded(picture: np.ndarray, image_format: str, **options) -> bytes:
    """uint8 [H, W] or [H, W, 3] -> an encoded file."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, image_format, **options)
    return buffer.getvalue()


def run(config: DemoConfig) -> None:
    """Writes the folders and says where."""
    write_demo(**dataclasses.asdict(config))
    print(f"{config.train_images} train and {config.validation_images} validation pictures written to {config.output}")


def main(argv: list[str] | None = None) -> None:
    """Entry point of make-demo-dataset."""
    command.launch(
        "make-demo-dataset", "made-up photographs with masks of four classes, to try kseg with", DemoConfig, run, argv
    )
