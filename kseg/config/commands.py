"""Flags of kseg-eval, kseg-predict and kseg-export."""

import dataclasses

from kseg.config.values import (
    ABOVE_16,
    ABSENT,
    ABSENT_TEXT,
    BAD_RECORD,
    BAD_RECORD_TEXT,
    CROP_MULTIPLE,
    FILE,
    FOLDER,
    POSITIVE,
    SPLIT,
    UNIT_INTERVAL,
    round_crop_up,
)
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, OneOf, check, knob


def _require_one_model(config) -> None:
    """Refuses an evaluation, prediction or export config that names no model or two."""
    if (config.run is None) == (config.saved_model is None):
        given = "neither" if config.run is None else "both"
        raise UsageError(f"--run, --saved_model: {given} given; allowed: exactly one of them")


RUN_TEXT = "Run directory of kseg-train."
SAVED_MODEL_TEXT = "SavedModel directory that kseg-export wrote (the numbered one)."
MODEL_CHOICE = OneOf(("best", "last"))
MODEL_TEXT = "Which model of the run: best (by validation mIOU) or last."


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Flags of kseg-eval. Raises UsageError like TrainConfig."""

    run: str = knob(None, RUN_TEXT, allowed=FOLDER)
    saved_model: str = knob(None, SAVED_MODEL_TEXT + " Instead of --run.", allowed=FOLDER)
    model: str = knob("best", MODEL_TEXT, allowed=MODEL_CHOICE)
    data: str = knob(REQUIRED, "Where the TFRecord shards and dataset.json are.", allowed=FOLDER)
    split: str = knob("validation", "What to score.", allowed=SPLIT)
    on_bad_record: str = knob("refuse", BAD_RECORD_TEXT, allowed=BAD_RECORD)
    validation_mini_batch_size: int = knob(
        1,
        "1 = every whole image, uncropped; more = short side scaled to crop_size, centre crop.",
        allowed=POSITIVE,
        unit="images",
    )
    crop_size: int = knob(
        None,
        f"Side of the centre crop, rounded up to a multiple of {CROP_MULTIPLE}, for validation_mini_batch_size > 1; "
        "the run's own if not set.",
        allowed=ABOVE_16,
        unit="pixels",
    )
    absent_class_iou: str = knob("leave_out", ABSENT_TEXT, allowed=ABSENT)
    json: str = knob(None, "Write the scores and the confusion matrix there, as JSON.", allowed=FILE)
    confusion_png: str = knob(None, "Draw the confusion matrix there, each row as shares of its label.", allowed=FILE)

    def __post_init__(self):
        check(self)
        _require_one_model(self)
        if self.crop_size is not None:
            round_crop_up(self)
        if self.validation_mini_batch_size > 1 and self.crop_size is None and self.run is None:
            raise UsageError(
                f"--crop_size is required with --saved_model and --validation_mini_batch_size="
                f"{self.validation_mini_batch_size}; allowed: integer, {ABOVE_16} (pixels)"
            )


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """Flags of kseg-predict. Raises UsageError like TrainConfig."""

    run: str = knob(None, RUN_TEXT, allowed=FOLDER)
    saved_model: str = knob(None, SAVED_MODEL_TEXT + " Instead of --run.", allowed=FOLDER)
    model: str = knob("best", MODEL_TEXT, allowed=MODEL_CHOICE)
    images: str = knob(
        REQUIRED, "What to segment.", allowed="a folder of pictures (jpg, jpeg, png, bmp), or one picture"
    )
    output: str = knob(REQUIRED, "Where to write masks/ (PNG of class numbers) and overlays/ (JPEG).", allowed=FOLDER)
    overlay_alpha: float = knob(0.5, "Share of the class colour in an overlay.", allowed=UNIT_INTERVAL)
    original_labels: bool = knob(
        False,
        "Write masks/ in the encoding of the training split's own mask files (its label map, colours or "
        "reduce_zero_label undone): an 8-bit palette PNG, 16-bit grey above 255, RGB for colours.",
    )

    def __post_init__(self):
        check(self)
        _require_one_model(self)


@dataclasses.dataclass(frozen=True)
class ExportConfig:
    """Flags of kseg-export. Raises UsageError like TrainConfig."""

    run: str = knob(REQUIRED, RUN_TEXT, allowed=FOLDER)
    model: str = knob("best", MODEL_TEXT, allowed=MODEL_CHOICE)
    export_dir: str = knob(
        REQUIRED, "Where the versions stand, as TensorFlow Serving watches it: EXPORT_DIR/VERSION/.", allowed=FOLDER
    )
    version: int = knob(
        None, "Version number; one more than the highest there if not set. Never overwrites.", allowed=POSITIVE
    )
    precision: str = knob(
        "float32",
        "Arithmetic of the network, whatever it was trained in; logits stay float32. bfloat16 is for servers with "
        "instructions for it (Intel's AMX or AVX512_BF16, AMD's Zen 4) and slow on others; half the file.",
        allowed=OneOf(("float32", "bfloat16")),
    )
    winograd: bool = knob(
        True,
        "Compute 3x3 convolutions in float32 by Winograd's method: 1.4 times as fast on processors, twice the file; "
        "--nowinograd for GPUs, whose library has its own, or where a picture's memory matters.",
    )

    def __post_init__(self):
        check(self)
