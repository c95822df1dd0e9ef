"""The losses by name and combined, and what holds for each of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.errors import UsageError
from kseg.losses.build import SumOfLosses, balanced_weights, build_loss
from kseg.losses.focal import Focal
from kseg.registry import LOSSES, loss_parts

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 2, (2, 4, 3, 3)).astype(np.float32)
LABELS = RNG.choice([0, 1, 255], (2, 4, 3)).astype(np.uint8)  # class 2 is never seen
WEIGHTS = (0.5, 2.0, 1.0)
ALL = "+".join(LOSSES)


def value_and_gradient(loss, labels, logits) -> tuple[float, np.ndarray]:
    logits = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, logits)
    assert value.dtype == tf.float32
    assert value.shape == ()
    return float(value), np.array(tape.gradient(value, logits))


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_without_a_valid_pixel_gives_0_and_no_gradient(name):
    value, gradient = value_and_gradient(build_loss(name), np.full_like(LABELS, 255), LOGITS)
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_do_not_matter(name):
    other = np.where((LABELS == 255)[..., None], RNG.normal(0, 50, LOGITS.shape), LOGITS).astype(np.float32)
    value, gradient = value_and_gradient(build_loss(name), LABELS, LOGITS)
    assert value_and_gradient(build_loss(name), LABELS, other)[0] == pytest.approx(value, rel=1e-6)
    assert not gradient[LABELS == 255].any()
    assert gradient[LABELS != 255].any()


@pytest.mark.parametrize("scale", [1e4, -1e4])
@pytest.mark.parametrize("name", LOSSES)
def test_huge_logits_stay_finite(name, scale):
    logits = np.eye(3, dtype=np.float32)[LABELS % 3] * np.float32(scale)
    value, gradient = value_and_gradient(build_loss(name, **options(name)), LABELS, logits)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def options(name: str) -> dict:
    return {"class_weights": WEIGHTS, "label_smoothing": 0.1} if name not in ("dice", "lovasz") else {}


@pytest.mark.parametrize("name", [*LOSSES, ALL])
def test_it_is_the_same_in_a_graph_and_compiled_by_xla(name):
    loss = build_loss(name, class_weights=WEIGHTS, label_smoothing=0.1)
    eager = value_and_gradient(loss, LABELS, LOGITS)
    for compiled in (False, True):

        @tf.function(jit_compile=compiled)
        def graph(labels, logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = loss(labels, logits)
            return value, tape.gradient(value, logits)

        value, gradient = graph(tf.constant(LABELS), tf.constant(LOGITS))
        assert float(value) == pytest.approx(eager[0], rel=1e-5)
        np.testing.assert_allclose(gradient, eager[1], atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_xla_compiles_once_for_all_batches(name):
    """What it needs to know beforehand it takes for constant, be it the whole batch, and compiles anew for the next."""
    graph = tf.function(build_loss(name).call, jit_compile=True)
    program = graph.experimental_get_compiler_ir(tf.constant(LABELS), tf.constant(LOGITS))("hlo")
    entry = next(line for line in program.splitlines() if line.startswith("ENTRY"))
    assert "f32[2,4,3,3]" in entry


def test_a_graph_takes_any_size_of_batch_and_picture():
    """Keras traces a step with unknown sizes once they vary."""
    sizes = [tf.TensorSpec([None, None, None], tf.uint8), tf.TensorSpec([None, None, None, 3])]
    graph = tf.function(build_loss(ALL), input_signature=sizes)
    for cut in (np.s_[:], np.s_[:1, :2]):
        assert float(graph(LABELS[cut], LOGITS[cut])) == pytest.approx(
            value_and_gradient(build_loss(ALL), LABELS[cut], LOGITS[cut])[0], rel=1e-5
        )


@pytest.mark.parametrize("name", LOSSES)
def test_bfloat16_logits_are_summed_in_float32(name):
    logits = tf.cast(LOGITS, tf.bfloat16)
    want = value_and_gradient(build_loss(name), LABELS, tf.cast(logits, tf.float32))[0]
    got = build_loss(name).call(LABELS, logits)
    assert got.dtype == tf.float32
    assert float(got) == pytest.approx(want, rel=1e-6)


def test_a_combination_is_the_sum_of_its_parts_and_the_options_go_to_those_that_take_them():
    combined = value_and_gradient(build_loss("focal+dice", class_weights=WEIGHTS, label_smoothing=0.1), LABELS, LOGITS)
    focal = value_and_gradient(Focal(WEIGHTS, 0.1), LABELS, LOGITS)
    dice = value_and_gradient(build_loss("dice"), LABELS, LOGITS)
    assert combined[0] == pytest.approx(focal[0] + dice[0], rel=1e-6)
    np.testing.assert_allclose(combined[1], focal[1] + dice[1], atol=1e-7)


@pytest.mark.parametrize("name", [*LOSSES, ALL])
def test_it_survives_serialisation(name):
    loss = build_loss(name, class_weights=WEIGHTS, label_smoothing=0.1)
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.name == loss.name
    assert float(copy(LABELS, LOGITS)) == float(loss(LABELS, LOGITS))


def test_a_model_trained_with_a_combination_is_saved_and_loaded(tmp_path):
    model = keras.Sequential([keras.Input((4, 3, 3)), keras.layers.Conv2D(3, 1)])
    model.compile("sgd", loss=build_loss("cross_entropy+lovasz", class_weights=WEIGHTS))
    model.fit(LOGITS, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, SumOfLosses)
    want = model.evaluate(LOGITS, LABELS, verbose=0)
    assert loaded.evaluate(LOGITS, LABELS, verbose=0) == pytest.approx(want, rel=1e-6)
    assert want == pytest.approx(float(model.loss(LABELS, model(LOGITS))), rel=1e-5)


def test_parts_of_a_loss():
    assert loss_parts("lovasz") == ("lovasz",)
    assert loss_parts("cross_entropy+dice") == ("cross_entropy", "dice")


@pytest.mark.parametrize("spec", ["unet", "cross_entropy+", "", "dice+dice", "dice + lovasz"])
def test_unknown_and_repeated_parts_are_refused_with_the_known_ones(spec):
    with pytest.raises(UsageError, match="cross_entropy, ohem, focal, dice, lovasz") as refused:
        build_loss(spec)
    assert str(refused.value).startswith(f"--loss={spec}: ")


def test_the_nearest_name_is_suggested():
    with pytest.raises(UsageError, match=r"did you mean dice\?"):
        loss_parts("cross_entropy+dise")


def test_balanced_weights_worked_by_hand():
    """300, 100 and 0 pixels of three classes: 400 / (2 * 300), 400 / (2 * 100), and none."""
    weights = balanced_weights([300, 100, 0])
    assert weights == pytest.approx((2 / 3, 2, 0))
    assert (weights[0] * 300 + weights[1] * 100) / 400 == pytest.approx(1)


def test_balanced_weights_need_a_labelled_pixel():
    with pytest.raises(UsageError, match="--class_weights=balanced"):
        balanced_weights([0, 0])
