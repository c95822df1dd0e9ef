import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.optimizers import build_optimizer, gradients, skipped_steps
from kseg.schedules import build_schedule

SCALE = 2.0**15
GRADIENTS = [[0.5, -1.0], [2.0, 0.25], [-1.5, 3.0], [0.75, 0.5], [1.0, -2.0], [0.25, 4.0]]


class Course:
    """A weight [2] that starts at 1, -1 and follows gradients one by one."""

    def __init__(self, name: str, **options):
        self.weight = keras.Variable(np.array([1.0, -1.0], np.float32))
        self.optimizer = build_optimizer(name, **{"learning_rate": 0.1} | options)
        self.optimizer.build([self.weight])

    def follow(self, *course) -> np.ndarray:
        """The weight after the gradients of each batch, [batches, 2]; each scaled as its loss would be."""
        weights = []
        for gradient in course:
            scaled = self.optimizer.scale_loss(tf.constant(gradient, tf.float32))
            self.optimizer.apply([scaled], [self.weight])
            weights.append(self.weight.numpy())
        return np.array(weights)

    def state(self) -> dict[str, np.ndarray]:
        return {variable.name: variable.numpy() for variable in self.optimizer.variables}


def test_a_norm_of_5_is_clipped_to_1():
    first, second = keras.Variable(np.zeros(1, np.float32)), keras.Variable(np.zeros(1, np.float32))
    optimizer = build_optimizer("sgd", learning_rate=1.0, clip_norm=1.0)
    optimizer.apply([tf.constant([3.0]), tf.constant([-4.0])], [first, second])
    np.testing.assert_allclose([first.numpy()[0], second.numpy()[0]], [-0.6, 0.8], rtol=1e-6)


def test_a_norm_within_the_limit_is_left_alone():
    # Zero as well: 1 / its norm is infinite.
    np.testing.assert_array_equal(
        Course("sgd", clip_norm=5.0).follow([3.0, -4.0], [0.0, 0.0]), Course("sgd").follow([3.0, -4.0], [0.0, 0.0])
    )


def test_the_decay_is_not_clipped():
    # Clipped to (0.6, 0.8), then 0.5 * weight added: (1.1, 0.3).
    weights = Course("sgd", clip_norm=1.0, weight_decay=0.5).follow([3.0, 4.0])
    np.testing.assert_allclose(weights[0], [1 - 0.11, -1 - 0.03], rtol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("clip_norm", [None, 0.5])
def test_accumulated_batches_make_one_update_with_their_mean(name, clip_norm):
    options = {"weight_decay": 0.1, "clip_norm": clip_norm}
    weights = Course(name, accumulation_steps=3, **options).follow(*GRADIENTS)
    whole = Course(name, **options).follow(*np.reshape(GRADIENTS, (2, 3, 2)).mean(axis=1))
    np.testing.assert_array_equal(weights[[0, 1]], [[1.0, -1.0]] * 2)
    np.testing.assert_array_equal(weights[3], weights[2])
    np.testing.assert_allclose(weights[[2, 5]], whole, rtol=1e-6)


def test_the_step_of_the_schedule_is_the_batch_whatever_is_accumulated():
    schedule = build_schedule("poly", learning_rate=0.1, epochs=1, steps_per_epoch=5)
    course = Course("sgd", learning_rate=schedule, accumulation_steps=2, momentum=1e-9)
    rates = [float(course.optimizer.learning_rate)]
    for _ in range(5):
        course.follow([1.0, 0.0])
        rates.append(float(course.optimizer.learning_rate))
    assert rates == pytest.approx([float(schedule(batch)) for batch in range(6)])
    # Two updates, at the rates of batches 1 and 3; the fifth batch waits.
    assert 1 - course.weight.numpy()[0] == pytest.approx(rates[1] + rates[3], rel=1e-5)
    assert keras.ops.convert_to_numpy(course.optimizer.iterations) == 2


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_scaled_loss_changes_nothing_but_underflow(name):
    scaled, plain = Course(name, loss_scaled=True), Course(name)
    np.testing.assert_allclose(scaled.follow(*GRADIENTS), plain.follow(*GRADIENTS), rtol=1e-7)
    assert float(scaled.optimizer.scale_loss(tf.constant(2.0))) == 2 * SCALE
    assert float(plain.optimizer.scale_loss(tf.constant(2.0))) == 2


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_an_overflowing_batch_changes_the_scale_and_the_batch_number_alone(bad, accumulation_steps):
    course = Course("adamw", loss_scaled=True, accumulation_steps=accumulation_steps, weight_decay=0.1)
    course.follow(*GRADIENTS[:3])
    weight, before = course.weight.numpy(), course.state()
    course.follow([1.0, bad])
    after = course.state()
    np.testing.assert_array_equal(course.weight.numpy(), weight)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"iteration", "loss_scale", "batches_since_the_scale_changed"}
    assert (after["iteration"], after["loss_scale"], after["batches_since_the_scale_changed"]) == (4, SCALE / 2, 0)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_after_overflows_training_goes_on_as_if_they_had_not_been(accumulation_steps):
    """Adam's bias correction counts updates; an accumulation waits for one batch more."""
    options = {"loss_scaled": True, "accumulation_steps": accumulation_steps}
    with_overflows, without = Course("adam", **options), Course("adam", **options)
    with_overflows.follow([np.inf, 0.0], *GRADIENTS[:3], [np.nan, 0.0], [0.0, -np.inf], *GRADIENTS[3:])
    without.follow(*GRADIENTS)
    np.testing.assert_array_equal(with_overflows.weight.numpy(), without.weight.numpy())
    assert skipped_steps(with_overflows.optimizer, 9) == 3
    assert skipped_steps(without.optimizer, 6) == 0
    assert skipped_steps(Course("adam").optimizer, 6) == 0


def test_the_schedule_goes_on_over_a_skipped_batch():
    schedule = build_schedule("step", learning_rate=0.1, epochs=2, steps_per_epoch=2, step_epochs=(1,))
    course = Course("sgd", learning_rate=schedule, loss_scaled=True, momentum=1e-9)
    weights = course.follow([1.0, 0.0], [np.inf, 0.0], [1.0, 0.0])
    np.testing.assert_allclose(weights[:, 0], [0.9, 0.9, 0.89], rtol=1e-6)


def test_the_scale_doubles_after_enough_finite_batches_and_stays_at_least_1(monkeypatch):
    monkeypatch.setattr(gradients, "GROWTH_BATCHES", 2)
    course, scales = Course("sgd", loss_scaled=True), []
    for gradient in [*GRADIENTS[:5], [np.inf, 0.0], *GRADIENTS[:2], *[[np.nan, 0.0]] * 20]:
        course.follow(gradient)
        scales.append(float(course.state()["loss_scale"]) / SCALE)
    assert scales[:8] == [1, 2, 2, 4, 4, 2, 2, 4]
    assert scales[-1] * SCALE == 1


def test_a_checkpoint_keeps_half_an_accumulation_and_the_count_of_the_skipped(tmp_path):
    """By place among the variables, as a run's checkpoints are kept."""
    options = {"loss_scaled": True, "accumulation_steps": 2, "clip_norm": 1.0}
    course, other = Course("rmsprop", **options), Course("rmsprop", **options)
    course.follow([np.inf, 1.0], *GRADIENTS[:3])

    def checkpoint(each: Course) -> tf.train.Checkpoint:
        return tf.train.Checkpoint(variables=[each.weight.value, *(v.value for v in each.optimizer.variables)])

    checkpoint(other).restore(checkpoint(course).save(tmp_path / "state")).assert_consumed()
    assert skipped_steps(other.optimizer, 4) == 1
    np.testing.assert_array_equal(other.follow(*GRADIENTS[3:]), course.follow(*GRADIENTS[3:]))


def test_a_float16_network_skips_what_overflows_and_then_learns():
    """The loss's gradient begins at -16: times 2**15 it is infinite in float16, whose largest number is 65504."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, dtype="mixed_float16", use_bias=False)])
    model.layers[0].set_weights([np.zeros((1, 1))])
    options = {"loss_scaled": True, "accumulation_steps": 2, "clip_norm": 8.0}
    model.compile(build_optimizer("sgd", learning_rate=0.1, momentum=1e-9, **options), loss="mse", jit_compile=False)
    losses = model.fit(np.ones((30, 1)), np.full((30, 1), 8.0), batch_size=1, verbose=0, epochs=2).history["loss"]
    # -16 * 2**k < 65504 where k <= 11: 2**15, 2**14, 2**13 and 2**12 overflow.
    assert skipped_steps(model.optimizer, 60) == 4
    assert np.isfinite(losses).all() and losses[1] < 1 < losses[0]
    np.testing.assert_allclose(model.get_weights()[0], [[8.0]], atol=0.05)
