"""kseg-train: TFRecords to a run directory."""

from kseg.command import launch
from kseg.config import TrainConfig


def run(config: TrainConfig) -> None:
    """Trains, or draws the augmented pictures and stops."""
    from kseg import checkpoints, storage, trainer
    from kseg.progress import say

    if config.preview_dir is not None:
        print(f"preview: {trainer.preview(config)}")
        return
    best = trainer.train(config)
    path = storage.join(config.output_dir, "best", checkpoints.MODEL)
    say(f"best: epoch {best['epoch']}, validation:mIOU={best['validation:mIOU']:.4f}, {path}")


def main() -> None:
    """Console script."""
    launch(
        "kseg-train",
        "Trains a semantic segmentation network on a converted data set, or resumes a run.",
        TrainConfig,
        run,
    )
