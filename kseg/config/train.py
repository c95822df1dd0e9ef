"""Flags of kseg-train, put together."""

import dataclasses
import json

from kseg.config.data import DataFlags
from kseg.config.distribution import DistributionFlags
from kseg.config.network import NetworkFlags
from kseg.config.optimization import OptimizationFlags
from kseg.config.safety import SafetyFlags
from kseg.config.values import ABSENT, ABSENT_TEXT, FOLDER, NOT_NEGATIVE, round_crop_up
from kseg.errors import UsageError
from kseg.knobs import OneOf, Range, check, knob


# Dataclasses take the fields of their bases from the last to the first: data first, as --help shows them.
@dataclasses.dataclass(frozen=True)
class TrainConfig(SafetyFlags, DistributionFlags, OptimizationFlags, NetworkFlags, DataFlags):
    """Flags of kseg-train.

    Raises:
        UsageError: for a value out of range, a missing or a contradictory one.
    """

    mixed_precision: str = knob(
        "auto",
        "Type of the network's arithmetic; auto = bfloat16 where the GPUs or, without any, the processor has "
        "instructions for it. float16 scales the loss and leaves out the steps whose gradients overflow. Weights, "
        "logits, loss and metrics stay float32.",
        allowed=OneOf(("auto", "float32", "bfloat16", "float16")),
    )
    jit_compile: str = knob(
        "auto",
        "Compile the training step with XLA; auto = on one GPU, not on the processor, where that is slower.",
        allowed=OneOf(("auto", "True", "False")),
    )
    deterministic: bool = knob(
        False, "Only operations that give the same bits every time, so that two trainings do; slower on GPUs."
    )
    absent_class_iou: str = knob("leave_out", ABSENT_TEXT, allowed=ABSENT)
    validation_pictures: int = knob(
        4, "Validation pictures drawn for TensorBoard after every epoch.", allowed=Range(0, 64), unit="images"
    )
    seed: int = knob(0, "Of initial weights, shuffling, augmentation and dropout.", allowed=NOT_NEGATIVE)

    def __post_init__(self):
        check(self)
        round_crop_up(self)
        if self.output_dir is None and self.preview_dir is None:
            raise UsageError(
                f"--output_dir is required: the run directory. Allowed: {FOLDER} (or --preview_dir to look at the data)"
            )
        self._check_augmentation()
        self._check_start()
        self._check_loss()
        self._check_decay()
        self._check_schedule()
        self._check_distribution()

    def to_json(self) -> str:
        """The flags and their values as a JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"
