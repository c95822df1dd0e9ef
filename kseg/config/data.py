"""Flags of kseg-train: what it reads and writes, and what happens to a picture before the network sees it."""

import dataclasses

from kseg.config.values import (
    ABOVE_16,
    BAD_RECORD,
    BAD_RECORD_TEXT,
    CROP_MULTIPLE,
    FOLDER,
    MAX_CLASSES,
    POSITIVE,
    SPLIT,
)
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, Range, knob

ROTATION_DEGREES, JITTER_STRENGTH = 10.0, 0.4


@dataclasses.dataclass(frozen=True)
class DataFlags:
    """Data set, batches and augmentation."""

    data: str = knob(REQUIRED, "Where the TFRecord shards and the dataset.json of convert-dataset are.", allowed=FOLDER)
    output_dir: str = knob(
        None,
        "Run directory: configuration, models, checkpoints, metrics.jsonl and TensorBoard logs. Holding a run of the "
        "same configuration, it is resumed where it was kept last. Required unless --preview_dir is given.",
        allowed=FOLDER,
    )
    preview_dir: str = knob(
        None,
        "Write preview.png there, a grid of augmented training pictures with their masks, and stop.",
        allowed=FOLDER,
    )
    train_split: str = knob("train", "What to train on.", allowed=SPLIT)
    validation_split: str = knob("validation", "What is scored after every epoch.", allowed=SPLIT)
    on_bad_record: str = knob("refuse", BAD_RECORD_TEXT, allowed=BAD_RECORD)
    num_classes: int = knob(
        None, "Number of classes, background included; from dataset.json if not set.", allowed=Range(2, MAX_CLASSES)
    )
    num_training_samples: int = knob(
        None,
        "Pictures in an epoch, which sets up the learning-rate schedule; from dataset.json if not set, "
        "without what on_bad_record skips.",
        allowed=POSITIVE,
        unit="images",
    )

    mini_batch_size: int = knob(4, "Training batch over all devices.", allowed=POSITIVE, unit="images")
    validation_mini_batch_size: int = knob(
        4,
        "Validation batch. 1 = every whole image, uncropped; more = short side scaled to crop_size, centre crop.",
        allowed=POSITIVE,
        unit="images",
    )
    base_size: int = knob(
        520,
        "A training picture's long side is scaled to base_size x U(0.5, 2.0) before cropping.",
        allowed=ABOVE_16,
        unit="pixels",
    )
    crop_size: int = knob(
        480,
        f"Side of the square training crop, rounded up to a multiple of {CROP_MULTIPLE}.",
        allowed=ABOVE_16,
        unit="pixels",
    )

    class_balanced_crop: bool = knob(
        False,
        "Draw the place of a crop again while more than 75 % of its labelled pixels are one class, up to 10 times.",
    )
    random_vertical_flip: bool = knob(False, "Turn a crop upside down, with probability 0.5.")
    random_rotation: bool = knob(False, "Turn a crop about its centre; black and void come in at the corners.")
    random_rotation_degrees: float = knob(
        ROTATION_DEGREES,
        "The largest angle of random_rotation, either way.",
        allowed=Range(0, 180, low_open=True),
        unit="degrees",
    )
    color_jitter: bool = knob(False, "Change a crop's brightness, contrast, saturation and hue.")
    color_jitter_strength: float = knob(
        JITTER_STRENGTH,
        "color_jitter's factors of brightness, contrast and saturation are 1 +- this at most, its turn of the colour "
        "circle +- a quarter of this.",
        allowed=Range(0, 1, low_open=True),
    )
    random_blur: bool = knob(
        False, "Blur a crop with probability 0.5 by a Gaussian of radius U(0, 1) pixels, as the reference does."
    )

    def _check_augmentation(self):
        """Refuses an amount of what is switched off."""
        amounts = {
            "random_rotation": ("random_rotation_degrees", ROTATION_DEGREES),
            "color_jitter": ("color_jitter_strength", JITTER_STRENGTH),
        }
        for switch, (amount, default) in amounts.items():
            if not getattr(self, switch) and getattr(self, amount) != default:
                raise UsageError(f"--{amount}={getattr(self, amount)}: without effect; allowed: with --{switch}")
