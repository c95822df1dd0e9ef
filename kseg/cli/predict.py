"""kseg-predict: pictures to masks and overlays."""

import sys

from kseg.command import launch
from kseg.config import PredictConfig


def run(config: PredictConfig) -> int:
    """Segments the pictures; status 1 if some could not be read."""
    from kseg import evaluator, faults, predictor, storage  # TensorFlow only once the flags are right

    faults.refuse_unwritable(config.output)
    paths = predictor.find_pictures(config.images)
    segment, labels = evaluator.open_segment(run=config.run, saved_model=config.saved_model, which=config.model)
    how = {"overlay_alpha": config.overlay_alpha, "original_labels": config.original_labels}
    unreadable = predictor.predict(segment, paths, config.output, labels, **how)
    folders = " and ".join(storage.join(config.output, name) for name in (predictor.MASKS, predictor.OVERLAYS))
    print(f"{len(paths) - len(unreadable)} of {len(paths)} pictures segmented, in {folders}")
    for path, reason in unreadable.items():
        print(f"kseg-predict: {path}: cannot be read: {reason}", file=sys.stderr)
    return 1 if unreadable else 0


def main() -> None:
    """Console script."""
    launch("kseg-predict", "Segments pictures with a run or a SavedModel: mask PNGs and overlays.", PredictConfig, run)
