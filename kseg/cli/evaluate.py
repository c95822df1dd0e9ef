"""kseg-eval: a run or a SavedModel and a split to scores."""

import os

from kseg.command import launch
from kseg.config import EvalConfig


def run(config: EvalConfig) -> None:
    """Scores, prints the table and writes what was asked for."""
    # TensorFlow only once the flags are right
    from kseg import checkpoints, evaluator, faults, pictures, records, storage
    from kseg.data import damage, pipeline, salvage
    from kseg.errors import RunError

    for path in filter(None, (config.json, config.confusion_png)):
        storage.refuse_folder(path)  # now, not after minutes of scoring
        faults.refuse_unwritable(os.path.dirname(path))
    dataset = records.read_dataset(config.data)
    dataset.split(config.split)
    segment, labels = evaluator.open_segment(run=config.run, saved_model=config.saved_model, which=config.model)
    if labels.names != dataset.labels.names:
        raise RunError(
            f"{config.data}: its classes are not the model's: {', '.join(dataset.labels.names)}; "
            f"the model has {', '.join(labels.names)}"
        )
    with salvage.Shards(dataset, config.on_bad_record) as shards, damage.named(source := shards.open(config.split)):
        batches = pipeline.evaluation_dataset(
            source.paths,
            examples=source.examples,
            num_classes=source.num_classes,
            batch_size=config.validation_mini_batch_size,
            crop_size=config.crop_size or (checkpoints.read_config(config.run).crop_size if config.run else 0),
        )
        scores = evaluator.evaluate(
            segment, batches, labels, total=source.examples, absent_class_iou=config.absent_class_iou
        )
    print(evaluator.table(scores, labels))
    if config.json:
        storage.write_text(config.json, evaluator.to_json(scores, labels))
    if config.confusion_png:
        pictures.save_confusion(config.confusion_png, scores.confusion, labels)


def main() -> None:
    """Console script."""
    launch("kseg-eval", "Scores a run or a SavedModel on a split: accuracy, mIOU, IoU per class.", EvalConfig, run)
