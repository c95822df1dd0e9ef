"""kseg-export: a run to a version directory for TensorFlow Serving."""

import sys

from kseg.command import launch
from kseg.config import ExportConfig


def run(config: ExportConfig) -> None:
    """Exports the run's model and prints where it stands."""
    from kseg import checkpoints, devices, export, faults  # TensorFlow only once the flags are right

    if config.precision == "bfloat16" and not devices.processor_has_bfloat16():
        print(
            "kseg-export: --precision=bfloat16: this processor has no instructions for it "
            f"({', '.join(sorted(devices.BFLOAT16_INSTRUCTIONS))}) and would serve it slower than float32; "
            "the export is for one that has",
            file=sys.stderr,
        )
    faults.refuse_unwritable(config.export_dir)
    model, labels, trained = checkpoints.load_segmenter(config.run, config.model)
    how = {"version": config.version, "precision": config.precision, "winograd": config.winograd}
    path = export.export(model, labels, config.export_dir, warmup_size=trained.crop_size, **how)
    print(f"exported: {path}")


def main() -> None:
    """Console script."""
    launch("kseg-export", "Writes a run's model as a SavedModel for TensorFlow Serving.", ExportConfig, run)
