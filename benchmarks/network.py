"""Flags of the benchmarks that train: what network, on what batches.

They import it as `network`: a script that is run by its path finds what lies beside it.
"""

import dataclasses

from kseg.config.values import ABOVE_16, POSITIVE
from kseg.knobs import OneOf, knob
from kseg.registry import HEADS


@dataclasses.dataclass(frozen=True)
class NetworkFlags:
    """The head, the batch and the arithmetic."""

    algorithm: str = knob("fcn", "The segmentation head.", allowed=OneOf(tuple(HEADS)))
    crop_size: int = knob(240, "Side of the pictures.", allowed=ABOVE_16, unit="pixels")
    batch: int = knob(4, "Pictures a step.", allowed=POSITIVE, unit="images")
    precision: str = knob("float32", "Of the network's arithmetic.", allowed=OneOf(("float32", "bfloat16", "float16")))
