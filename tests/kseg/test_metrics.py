import gluoncv_reference as reference
import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.losses.cross_entropy import CrossEntropy
from kseg.metrics import ConfusionMatrix, score

LABEL = np.array(reference.LABEL, np.uint8)
PREDICTION = np.array(reference.PREDICTION, np.uint8)
# By hand: label 0 hit twice and once taken for 1; label 1 hit once; class 2 nowhere; one pixel ignored.
SMALL_LABEL = np.array([[[0, 0, 0, 1, 255]]], np.uint8)
SMALL_PREDICTION = np.array([[[0, 0, 1, 1, 2]]], np.uint8)


def test_pixel_accuracy_and_miou_equal_gluoncvs():
    metric = ConfusionMatrix(5)
    metric.update_state(LABEL, PREDICTION)
    assert metric.scores().pixel_accuracy == pytest.approx(reference.PIXEL_ACCURACY, abs=1e-12)
    assert metric.scores().mIOU == pytest.approx(reference.MIOU, abs=1e-12)
    result = metric.result()
    assert float(result["pixel_accuracy"]) == pytest.approx(reference.PIXEL_ACCURACY, abs=1e-7)
    assert float(result["mIOU"]) == pytest.approx(reference.MIOU, abs=1e-7)


def test_logits_count_as_their_largest_class():
    metric = ConfusionMatrix(5)
    metric.update_state(LABEL, np.eye(5, dtype=np.float32)[PREDICTION])
    assert metric.scores().mIOU == pytest.approx(reference.MIOU, abs=1e-12)


def test_the_matrix_has_labels_in_rows_and_predictions_in_columns():
    metric = ConfusionMatrix(3)
    metric.update_state(SMALL_LABEL, SMALL_PREDICTION)
    np.testing.assert_array_equal(metric.scores().confusion, [[2, 1, 0], [0, 1, 0], [0, 0, 0]])


def test_predictions_on_ignored_pixels_are_not_counted():
    metric = ConfusionMatrix(3)
    metric.update_state(np.full((1, 2, 2), 255, np.uint8), np.full((1, 2, 2), 2, np.uint8))
    assert metric.scores().confusion.sum() == 0
    assert metric.scores().mIOU == 0.0
    assert metric.scores().pixel_accuracy == 0.0


def test_a_class_that_is_nowhere_is_left_out_of_the_mean_or_counts_as_0():
    matrix = np.array([[2, 1, 0], [0, 1, 0], [0, 0, 0]])
    left_out, as_zero = score(matrix), score(matrix, absent_class_iou="0")
    assert left_out.iou == as_zero.iou == (pytest.approx(2 / 3), pytest.approx(1 / 2), None)
    assert left_out.mIOU == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert as_zero.mIOU == pytest.approx((2 / 3 + 1 / 2) / 3)
    assert left_out.pixel_accuracy == as_zero.pixel_accuracy == 0.75


def test_a_class_that_is_predicted_but_never_labelled_counts_as_0():
    assert score(np.array([[2, 1], [0, 0]])).mIOU == pytest.approx((2 / 3 + 0) / 2)


def test_batches_add_up_and_reset_forgets():
    whole, parts = ConfusionMatrix(5), ConfusionMatrix(5)
    whole.update_state(LABEL, PREDICTION)
    for label, prediction in zip(LABEL, PREDICTION, strict=True):
        parts.update_state(label[None], prediction[None])
    np.testing.assert_array_equal(whole.scores().confusion, parts.scores().confusion)
    parts.reset_state()
    assert parts.scores().confusion.sum() == 0


def test_counts_stay_exact_above_the_integers_of_float32():
    metric = ConfusionMatrix(3)
    metric.counts.assign(np.full((3, 3), 2**24, np.int64))
    metric.update_state(SMALL_LABEL, SMALL_PREDICTION)
    assert metric.scores().confusion[1, 1] == 2**24 + 1


def test_it_counts_the_same_compiled_by_xla():
    """Inside fit, where XLA cannot take labels or predictions for constants."""
    images = np.random.default_rng(0).integers(0, 256, (*LABEL.shape, 3), np.uint8)
    logs = []
    for compiled in (False, True):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((*LABEL.shape[1:], 3), dtype="uint8")
        model = keras.Model(inputs, keras.layers.Conv2D(5, 1)(keras.layers.Rescaling(1 / 255)(inputs)))
        model.compile("sgd", loss=CrossEntropy(), metrics=[ConfusionMatrix(5)], jit_compile=compiled)
        history = model.fit(images, LABEL, validation_data=(images, LABEL), batch_size=len(LABEL), verbose=0).history
        logs.append({name: values[0] for name, values in history.items()})
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)


def test_evaluate_logs_it_under_its_two_names():
    images = keras.Input((None, None, 3), dtype="uint8")
    model = keras.Model(images, keras.layers.Conv2D(5, 1)(keras.layers.Rescaling(1 / 255)(images)))
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(ignore_class=255), metrics=[ConfusionMatrix(5)])
    logs = model.evaluate(np.zeros((*LABEL.shape, 3), np.uint8), LABEL, verbose=0, return_dict=True)
    # Black pictures and no bias: all logits are 0, so class 0 everywhere.
    assert set(logs) == {"loss", "pixel_accuracy", "mIOU"}
    assert logs["pixel_accuracy"] == pytest.approx((LABEL == 0).sum() / (LABEL != 255).sum())


def test_a_sample_weight_is_refused():
    with pytest.raises(ValueError, match="sample_weight"):
        ConfusionMatrix(3).update_state(SMALL_LABEL, SMALL_PREDICTION, sample_weight=np.ones(1))


def test_it_survives_serialisation():
    metric = keras.metrics.deserialize(keras.metrics.serialize(ConfusionMatrix(7, "0")))
    assert (metric.num_classes, metric.absent_class_iou) == (7, "0")


@pytest.mark.parametrize(("on_processor", "device"), [(True, "CPU:0"), (False, "GPU:1")])
def test_where_pixels_are_counted(on_processor, device):
    """On a replica's own device, unless that could not be deterministic; a graph tells without having one."""
    metric = ConfusionMatrix(2, on_processor=on_processor)

    @tf.function
    def count(labels):
        with tf.device("GPU:1"):
            metric.update_state(labels, labels)

    graph = count.get_concrete_function(tf.TensorSpec([1, 2, 2], tf.int32)).graph
    (place,) = [operation.device for operation in graph.get_operations() if operation.type == "DenseBincount"]
    assert place.endswith(device)
