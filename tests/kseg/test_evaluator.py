import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from kseg import evaluator, export, records
from kseg.cli import evaluate as command
from kseg.config import EvalConfig
from kseg.data import pipeline
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap
from kseg.metrics import score

LABELS = LabelMap.from_names(["dark", "bright"])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A network that calls a pixel bright where it is brighter than its picture's average, whatever the size."""
    images = keras.Input((None, None, 3), dtype="uint8")
    grey = keras.ops.mean(keras.ops.cast(images, "float32"), axis=-1, keepdims=True)
    excess = grey - keras.ops.mean(grey, axis=(1, 2), keepdims=True)
    return keras.Model(images, keras.ops.concatenate([-excess, excess], axis=-1))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory) -> str:
    return export.export(model, LABELS, str(tmp_path_factory.mktemp("export")))


def counted_by_hand(folder: str) -> np.ndarray:
    """The confusion matrix of `model` on the validation pictures, with numpy, pixel by pixel of the label."""
    matrix = np.zeros((2, 2), np.int64)
    for path in records.read_dataset(folder).shard_paths("validation"):
        for serialized in tf.data.TFRecordDataset(path):
            image, mask = (value.numpy() for value in records.decode(records.parse(serialized)))
            grey = image.astype(np.float64).mean(axis=-1)
            predicted = (grey > grey.mean()).astype(int)
            for label in (0, 1):
                matrix[label] += np.bincount(predicted[mask == label], minlength=2)
    return matrix


def validation(folder: str, batch_size: int = 1, crop_size: int = 24) -> tf.data.Dataset:
    paths = records.read_dataset(folder).shard_paths("validation")
    return pipeline.evaluation_dataset(paths, examples=3, num_classes=2, batch_size=batch_size, crop_size=crop_size)


def test_every_labelled_pixel_of_every_whole_picture_is_counted_once(model, tiny_data):
    segment = evaluator.segment_with_model(model)
    scores = evaluator.evaluate(segment, validation(tiny_data), LABELS, total=3)
    np.testing.assert_array_equal(scores.confusion, counted_by_hand(tiny_data))
    assert segment.experimental_get_tracing_count() == 1
    assert scores.confusion.sum() == 40 * 47 + 33 * 46 + 64 * 29  # the sizes less a column of void


def test_the_last_partial_batch_counts(model, tiny_data):
    scores = evaluator.evaluate(evaluator.segment_with_model(model), validation(tiny_data, 2), LABELS, total=3)
    labelled = sum(int((masks != 255).sum()) for _, masks in validation(tiny_data, 2).as_numpy_iterator())
    assert scores.confusion.sum() == labelled > 2 * 24 * 22


def test_the_export_scores_as_its_model(model, exported, tiny_data):
    segment, labels = evaluator.segment_with_saved_model(exported)
    assert labels == LABELS
    scores = evaluator.evaluate(segment, validation(tiny_data), labels, total=3)
    np.testing.assert_array_equal(scores.confusion, counted_by_hand(tiny_data))


def test_one_trace_serves_all_picture_sizes(model):
    segment = evaluator.segment_with_model(model)
    for shape in ((1, 8, 9, 3), (2, 16, 5, 3)):
        classes = segment(np.zeros(shape, np.uint8))
        assert (classes.shape, classes.dtype) == (shape[:3], tf.uint8)
    assert segment.experimental_get_tracing_count() == 1


def test_the_table_lists_each_class_and_the_overall_figures():
    labels = LabelMap.from_names(["road", "sky", "nowhere"])
    lines = evaluator.table(score(np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]])), labels).splitlines()
    assert lines[1].split() == ["road", "0.6667", "0.6667", "75.00%"]
    assert lines[2].split() == ["sky", "0.5000", "1.0000", "25.00%"]
    assert lines[3].split() == ["nowhere", "-", "-", "0.00%"]
    assert lines[-2:] == [
        "pixel_accuracy 0.7500 of 4 labelled pixels",
        "mIOU           0.5833 (2 of 3 classes occur)",
    ]


def test_the_command_writes_table_json_and_picture(exported, tiny_data, tmp_path, capsys):
    files = {"json": str(tmp_path / "scores.json"), "confusion_png": str(tmp_path / "confusion.png")}
    command.run(EvalConfig(saved_model=exported, data=tiny_data, **files))
    matrix = counted_by_hand(tiny_data)
    value = json.loads((tmp_path / "scores.json").read_text())
    assert value["confusion"] == matrix.tolist()
    assert value["pixel_accuracy"] == pytest.approx(np.trace(matrix) / matrix.sum())
    assert value["classes"][1]["name"] == "bright"
    assert value["classes"][1]["iou"] == pytest.approx(matrix[1, 1] / (matrix[1].sum() + matrix[0, 1]))
    assert f"mIOU           {value['mIOU']:.4f}" in capsys.readouterr().out
    assert min(Image.open(tmp_path / "confusion.png").size) > 200


def test_other_classes_than_the_models_are_refused(model, tiny_data, tmp_path):
    path = export.export(model, LabelMap.from_names(["dark", "light"]), str(tmp_path))
    with pytest.raises(RunError, match="its classes are not the model's: dark, bright; the model has dark, light"):
        command.run(EvalConfig(saved_model=path, data=tiny_data))


def test_what_is_no_saved_model_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"not a SavedModel \(no saved_model.pb\); name the numbered folder"):
        evaluator.segment_with_saved_model(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"garbage")
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / "assets.extra" / "labels.json").write_text(LABELS.to_json())
    with pytest.raises(RunError, match="not a SavedModel of kseg-export, or damaged"):
        evaluator.segment_with_saved_model(str(tmp_path))


def test_crops_of_a_saved_model_need_their_size():
    with pytest.raises(UsageError, match="--crop_size is required with --saved_model"):
        EvalConfig(saved_model="m", data="d", validation_mini_batch_size=2)
