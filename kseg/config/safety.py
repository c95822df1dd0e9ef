"""Flags of kseg-train: what is kept on the way, and what happens when training goes wrong."""

import dataclasses

from kseg.config.values import NOT_NEGATIVE
from kseg.knobs import MOST, OneOf, Range, knob

STOP, ROLLBACK = "stop", "rollback"


@dataclasses.dataclass(frozen=True)
class SafetyFlags:
    """What is kept on the way, and what happens when training goes wrong."""

    checkpoint_every_steps: int = knob(
        0,
        "Also write a checkpoint every so many steps, from which a training that was killed goes on; 0 = only after "
        "every epoch.",
        allowed=NOT_NEGATIVE,
        unit="steps",
    )
    keep_checkpoints: int = knob(
        2,
        "The newest checkpoints that are kept; more than one in case the newest is damaged.",
        allowed=Range(1, MOST),
    )
    on_nan: str = knob(
        STOP,
        "When the loss or a weight is NaN or infinite: stop = end with status 1; rollback = go back to the newest "
        "checkpoint and on from there at half the learning rate, at most 5 times.",
        allowed=OneOf((STOP, ROLLBACK)),
    )
