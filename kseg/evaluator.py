"""Scores a network on a data set: every labelled pixel of every picture once."""

import json
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from kseg import checkpoints, storage, transfer
from kseg.errors import RunError
from kseg.labels import SAVED_MODEL_LABELS, LabelMap
from kseg.metrics import LEAVE_OUT, ConfusionMatrix, Scores
from kseg.progress import bar

# Images uint8 [N, H, W, 3] -> classes uint8 [N, H, W].
Segment = Callable[[tf.Tensor], tf.Tensor]


def segment_with_model(model: keras.Model) -> Segment:
    """The class of each pixel by a model uint8 [N, H, W, 3] -> logits [N, H, W, C]; one trace for all picture sizes."""

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def segment(images):
        return tf.cast(tf.argmax(model(images, training=False), axis=-1), tf.uint8)

    return segment


def segment_with_saved_model(path: str) -> tuple[Segment, LabelMap]:
    """The class of each pixel by the `tensor` signature of a SavedModel of kseg-export, and its classes.

    Raises:
        RunError: if `path` is not such a SavedModel.
    """
    if not storage.exists(storage.join(path, "saved_model.pb")):
        raise RunError(f"{path}: not a SavedModel (no saved_model.pb); name the numbered folder that kseg-export wrote")
    labels_path = storage.join(path, SAVED_MODEL_LABELS)
    try:
        labels = LabelMap.from_dict(json.loads(storage.read_text(labels_path)))
        with transfer.brought_here(path) as here:
            loaded = tf.saved_model.load(here)
        tensor = loaded.signatures["tensor"]
    except (OSError, ValueError, KeyError, TypeError, tf.errors.OpError) as error:
        raise RunError(f"{path}: not a SavedModel of kseg-export, or damaged: {error!r}") from None

    def segment(images):
        return tensor(images=images)["classes"]

    segment.keeps_alive = loaded  # a signature holds its variables only weakly
    return segment, labels


def open_segment(*, run: str | None, saved_model: str | None, which: str = "best") -> tuple[Segment, LabelMap]:
    """The network of a run directory or, where `run` is None, of a SavedModel, with its classes.

    Args:
        run: run directory of kseg-train.
        saved_model: version directory of kseg-export.
        which: model of the run, "best" or "last".

    Raises:
        RunError: if it is not there or damaged.
    """
    if run is None:
        return segment_with_saved_model(saved_model)
    model, labels, _ = checkpoints.load_segmenter(run, which)
    return segment_with_model(model), labels


def evaluate(
    segment: Segment,
    dataset: tf.data.Dataset,
    labels: LabelMap,
    *,
    total: int,
    absent_class_iou: str = LEAVE_OUT,
) -> Scores:
    """Scores a segmentation on a whole data set, from one confusion matrix.

    Args:
        segment: images uint8 [N, H, W, 3] -> classes uint8 [N, H, W].
        dataset: batches of images uint8 [N, H, W, 3] and masks uint8 [N, H, W]; the sizes may change with the batch.
        labels: the classes.
        total: pictures in the data set, for the progress bar.
        absent_class_iou: see kseg.metrics.score.
    """
    matrix = ConfusionMatrix(labels.num_classes, absent_class_iou)
    with bar(total, "images", "scoring") as progress:
        for images, masks in dataset:
            matrix.update_state(masks, segment(images))
            progress.update(len(images))
    return matrix.scores()


def _per_class(scores: Scores, labels: LabelMap) -> list[dict]:
    """One entry a class: id, name, iou, accuracy (right / labelled pixels; None if none), labelled pixels."""
    pixels, hits = scores.confusion.sum(axis=1), np.diagonal(scores.confusion)
    return [
        {
            "id": index,
            "name": name,
            "iou": scores.iou[index],
            "accuracy": float(hits[index] / pixels[index]) if pixels[index] else None,
            "pixels": int(pixels[index]),
        }
        for index, name in enumerate(labels.names)
    ]


def table(scores: Scores, labels: LabelMap) -> str:
    """The scores for a terminal: a line a class ("-" where it does not occur), then the two overall figures."""
    width = max(len("class"), *(len(name) for name in labels.names))
    total = max(int(scores.confusion.sum()), 1)
    lines = [f"{'class':{width}}     IoU  accuracy  share of pixels"]
    for entry in _per_class(scores, labels):
        iou, accuracy = (f"{entry[key]:.4f}" if entry[key] is not None else "-" for key in ("iou", "accuracy"))
        lines.append(f"{entry['name']:{width}}  {iou:>6}  {accuracy:>8}  {entry['pixels'] / total:>15.2%}")
    there = sum(iou is not None for iou in scores.iou)
    lines += [
        "",
        f"pixel_accuracy {scores.pixel_accuracy:.4f} of {scores.confusion.sum()} labelled pixels",
        f"mIOU           {scores.mIOU:.4f} ({there} of {labels.num_classes} classes occur)",
    ]
    return "\n".join(lines)


def to_json(scores: Scores, labels: LabelMap) -> str:
    """The scores as a JSON object: pixel_accuracy, mIOU, classes, confusion (rows labels, columns predictions)."""
    value = {
        "pixel_accuracy": scores.pixel_accuracy,
        "mIOU": scores.mIOU,
        "classes": _per_class(scores, labels),
        "confusion": scores.confusion.tolist(),
    }
    return json.dumps(value, indent=2) + "\n"
