"""Flags of kseg-train: which devices, of which machines, share a batch."""

import dataclasses

from kseg.errors import UsageError
from kseg.knobs import OneOf, Range, knob

AUTO, ONE_DEVICE, MIRRORED, MULTI_WORKER = "auto", "one_device", "mirrored", "multi_worker"


@dataclasses.dataclass(frozen=True)
class DistributionFlags:
    """Which devices, of which machines, share a batch; nothing here changes what is computed."""

    distribution: str = knob(
        AUTO,
        "Who shares the work on a batch; auto = multi_worker where the environment variable TF_CONFIG names several "
        "workers, else mirrored where this machine has several GPUs, else one_device.",
        allowed=OneOf((AUTO, ONE_DEVICE, MIRRORED, MULTI_WORKER)),
    )
    logical_devices: int = knob(
        1,
        "Split the processor into as many devices, to try several devices out on a machine without GPUs.",
        allowed=Range(1, 64),
        unit="devices",
    )
    worker_timeout: float = knob(
        60.0,
        "With several workers: one that has not come up, or has not answered, for so long ends the training of the "
        "others.",
        allowed=Range(5, 3600),
        unit="seconds",
    )

    def _check_distribution(self):
        """Refuses a split of the processor of which one part would be used."""
        if self.logical_devices > 1 and self.distribution == ONE_DEVICE:
            raise UsageError(
                f"--logical_devices={self.logical_devices}: contradicts --distribution={ONE_DEVICE}; "
                f"allowed: 1, or --distribution={MIRRORED}"
            )
