"""The auxiliary loss in training, and its absence everywhere else."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.data import pipeline
from kseg.losses.cross_entropy import CrossEntropy
from kseg.metrics import ConfusionMatrix
from kseg.models.segmenter import AUX_LOGITS, LOGITS, build_segmenter, without_aux
from kseg.models.trainee import Trainee

pytestmark = pytest.mark.usefixtures("small_resnet")
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (2, 33, 40, 3)).astype(np.uint8)
MASKS = RANDOM.integers(0, 3, (2, 33, 40)).astype(np.uint8)
MASKS[:, :5] = 255
WEIGHT = 0.4
COUNTED, IMAGES_OF = pipeline.COUNTED, pipeline.IMAGES


def network(aux: bool = True, algorithm: str = "fcn") -> keras.Model:
    return build_segmenter(algorithm=algorithm, backbone="resnet-18", num_classes=3, output_stride=32, aux=aux, seed=1)


def compiled(built: keras.Model, **arguments) -> Trainee:
    model = Trainee(built, aux_loss_weight=WEIGHT if isinstance(built.output, dict) else 0.0)
    rule = keras.optimizers.SGD(0.01)
    model.compile(optimizer=rule, loss=CrossEntropy(), metrics=[ConfusionMatrix(3)], **arguments)
    return model


def cross_entropy(logits) -> float:
    """The mean over the valid pixels, from the definition."""
    valid = MASKS != 255
    logs = tf.nn.log_softmax(np.array(logits)[valid].astype(np.float64)).numpy()
    return -np.take_along_axis(logs, MASKS[valid][:, None].astype(int), axis=1).mean()


def test_the_training_loss_is_that_of_both_heads():
    outputs = network()(IMAGES, training=True)  # an equal network, for the dropout masks of a first step
    assert set(outputs) == {LOGITS, AUX_LOGITS}
    expected = cross_entropy(outputs[LOGITS]) + WEIGHT * cross_entropy(outputs[AUX_LOGITS])
    logs = compiled(network()).train_on_batch(IMAGES, MASKS, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-4)
    assert WEIGHT * cross_entropy(outputs[AUX_LOGITS]) > 0.1


def test_pictures_that_do_not_count_have_no_weight_in_the_loss():
    """What several devices evaluate: the second picture is there to fill up, and weighs nothing in a later mean."""
    masks = MASKS.copy()
    masks[1] = 255
    model = compiled(network())
    both = tf.data.Dataset.from_tensors(({COUNTED: np.zeros(1, np.uint8), IMAGES_OF: IMAGES}, masks))
    alone = tf.data.Dataset.from_tensors(({COUNTED: np.zeros(1, np.uint8), IMAGES_OF: IMAGES[1:]}, MASKS[1:]))
    of_first, of_second = (model.evaluate(each, verbose=0, return_dict=True)["loss"] for each in (both, alone))
    logs = model.evaluate(both.concatenate(alone), verbose=0, return_dict=True)
    assert of_first == pytest.approx(model.test_on_batch(IMAGES[:1], MASKS[:1], return_dict=True)["loss"], rel=1e-4)
    assert logs["loss"] == pytest.approx((of_first + of_second) / 2, rel=1e-4)


def test_evaluation_and_prediction_leave_the_auxiliary_head_out():
    built = network()
    model = compiled(built)
    logits = built(IMAGES, training=False)[LOGITS]
    logs = model.test_on_batch(IMAGES, MASKS, return_dict=True)
    assert logs["loss"] == pytest.approx(cross_entropy(logits), rel=1e-4)
    valid = MASKS != 255
    assert logs["pixel_accuracy"] == pytest.approx((np.argmax(logits, -1) == MASKS)[valid].mean(), abs=1e-6)
    np.testing.assert_array_equal(model(IMAGES, training=False), logits)
    evaluated = [layer.name for layer in model.segmenter.layers]
    assert "head_logits" in evaluated
    assert not [name for name in evaluated if name.startswith("aux")]


@pytest.mark.parametrize("algorithm", ["fcn", "psp", "deeplab"])
def test_whole_pictures_of_many_sizes_are_scored_with_one_trace(algorithm, monkeypatch):
    """And each counts every pixel once: no padding, which the convolutions at the border would see."""
    sizes = [(20 + 7 * index, 70 - 5 * index) for index in range(8)]
    traced, step = [], Trainee.test_step
    monkeypatch.setattr(Trainee, "test_step", lambda self, data: traced.append(data) or step(self, data))

    def pictures():
        for size in sizes:
            yield np.zeros((1, *size, 3), np.uint8), np.ones((1, *size), np.uint8)

    signature = (tf.TensorSpec((1, None, None, 3), tf.uint8), tf.TensorSpec((1, None, None), tf.uint8))
    data = tf.data.Dataset.from_generator(pictures, output_signature=signature)
    model = compiled(network(algorithm=algorithm))
    for _ in range(2):
        model.evaluate(data.apply(tf.data.experimental.assert_cardinality(len(sizes))), verbose=0)
    assert len(traced) == 1
    (confusion,) = model.metrics[1].metrics
    assert confusion.scores().confusion.sum() == sum(height * width for height, width in sizes)


def test_both_heads_and_the_backbone_learn():
    built = network()
    model = compiled(built)
    before = {variable.path: np.array(variable) for variable in built.trainable_variables}
    model.train_on_batch(IMAGES, MASKS)
    unmoved = [v.path for v in built.trainable_variables if np.array_equal(before[v.path], v)]
    assert unmoved == []


def test_without_a_weight_there_is_no_auxiliary_head():
    built = network(aux=False)
    assert without_aux(built) is built
    outputs = network(aux=False)(IMAGES, training=True)
    logs = compiled(built).train_on_batch(IMAGES, MASKS, return_dict=True)
    assert logs["loss"] == pytest.approx(cross_entropy(outputs), rel=1e-4)


def test_the_head_starts_the_same_with_and_without_the_auxiliary_one():
    ours, theirs = without_aux(network()), network(aux=False)
    for one, two in zip(ours.weights, theirs.weights, strict=True):
        assert one.path == two.path
        np.testing.assert_array_equal(one, two)


class Spy(Trainee):
    """Notes for which of its steps XLA is asked for."""

    def _make_function(self, step_function):
        self.compiled_steps = {**getattr(self, "compiled_steps", {}), step_function.__name__: self.jit_compile}
        return super()._make_function(step_function)


def two_convolutions() -> keras.Model:
    """As little as a Trainee can wrap: XLA takes seconds to compile a ResNet."""
    images = keras.Input((None, None, 3), dtype="uint8")
    pixels = keras.layers.Rescaling(1 / 255)(images)
    heads = {LOGITS: keras.layers.Conv2D(3, 1, name="head")(pixels), AUX_LOGITS: keras.layers.Conv2D(3, 1)(pixels)}
    return keras.Model(images, heads)


def test_xla_compiles_training_but_not_validation():
    """Validation pictures have any size, and XLA would compile each anew."""
    built = two_convolutions()
    copy = keras.models.clone_model(built)
    copy.set_weights(built.get_weights())
    losses = []
    for kind, wrapped in ((Spy, built), (Trainee, copy)):
        model = kind(wrapped, aux_loss_weight=WEIGHT)
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss=CrossEntropy(), jit_compile=kind is Spy)
        losses.append([model.train_on_batch(IMAGES, MASKS), model.test_on_batch(IMAGES, MASKS)])
        if kind is Spy:
            assert model.compiled_steps == {"train_step": True, "test_step": False}
    np.testing.assert_allclose(*losses, rtol=1e-5)
