import keras
import numpy as np
import pytest
import tensorflow as tf

from kseg.averaging import Averaging, WeightAverage, averaged


def test_the_average_follows_its_formula_step_by_step():
    """d = min(0.25, (1 + n) / (10 + n)) = 0.1, 2/11, 0.25, 0.25; the fourth quotient is 4/13."""
    weight = keras.Variable(np.array([0.0, 8.0], np.float32))
    average = WeightAverage([weight], decay=0.25)
    want = np.array([0.0, 8.0])
    for step, kept in enumerate([0.1, 2 / 11, 0.25, 0.25], 1):
        weight.assign(np.array([step, -step], np.float32))
        average.update()
        want = kept * want + (1 - kept) * np.array([step, -step])
        np.testing.assert_allclose(average.variables[1].numpy(), want, rtol=1e-6, atol=1e-6)
    assert average.variables[0].numpy() == 4


def test_it_equals_tensorflows_own_average():
    weight, count = keras.Variable(np.array([1.0, -2.0], np.float32)), tf.Variable(0)
    average = WeightAverage([weight], decay=0.3)
    own = tf.train.ExponentialMovingAverage(0.3, num_updates=count)
    own.apply([weight.value])  # makes it: the initial weights
    for step in range(6):
        weight.assign(weight * 1.5 + step)
        own.apply([weight.value])
        count.assign_add(1)
        average.update()
        np.testing.assert_allclose(average.variables[1].numpy(), own.average(weight.value).numpy(), rtol=1e-6)


@pytest.fixture
def network() -> keras.Model:
    """One pixel of two channels through normalisation, dropout and a dense layer: statistics and a random state too."""
    layers = [keras.layers.BatchNormalization(momentum=0.5), keras.layers.Dropout(0.5, seed=1), keras.layers.Dense(1)]
    return keras.Sequential([keras.Input((2,)), *layers])


def test_statistics_are_averaged_and_random_states_left_alone(network):
    average = WeightAverage(network.variables, decay=0.9)
    moving_mean, state = network.layers[0].moving_mean, network.layers[1].seed_generator.state
    assert len(network.variables) == 7 and len(average.variables) == 1 + 6
    network(np.array([[2.0, 4.0], [4.0, 8.0]], np.float32), training=True)
    np.testing.assert_allclose(moving_mean.numpy(), [1.5, 3.0])
    drawn = state.numpy()
    average.update()
    average.swap()
    np.testing.assert_allclose(moving_mean.numpy(), [0.9 * 1.5, 0.9 * 3.0], rtol=1e-6)
    np.testing.assert_array_equal(state.numpy(), drawn)


def test_swapping_evaluates_the_average_and_swapping_back_restores_the_weights(network):
    network.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse", jit_compile=False)
    average = WeightAverage(network.variables, decay=0.5)
    images, targets = np.array([[1.0, 2.0], [3.0, -1.0]]), np.array([[1.0], [2.0]])
    first = network.get_weights()
    network.fit(images, targets, epochs=1, batch_size=2, verbose=0)
    trained, predicted = network.get_weights(), network.predict(images, verbose=0)
    average.update()
    average.swap()
    for weight, old, new in zip(network.get_weights(), first, trained, strict=True):
        np.testing.assert_allclose(weight, 0.1 * old + 0.9 * new, rtol=1e-5, atol=1e-7)
    assert np.abs(network.predict(images, verbose=0) - predicted).max() > 1e-4
    average.swap()
    for weight, new in zip(network.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(weight, new)
    np.testing.assert_array_equal(network.predict(images, verbose=0), predicted)


def test_reset_begins_anew_from_the_present_weights():
    weight = keras.Variable(np.float32(1))
    average = WeightAverage([weight], decay=0.9)
    average.update()
    weight.assign(5.0)
    average.reset()
    assert [float(variable) for variable in average.variables] == [0, 5]


def test_a_checkpoint_keeps_the_average_and_its_count(tmp_path):
    first, second = (keras.Variable(np.float32(value)) for value in (1, 7))
    average, other = WeightAverage([first], decay=0.9), WeightAverage([second], decay=0.9)
    first.assign(3.0)
    average.update()
    path = tf.train.Checkpoint(variables=average.variables).save(tmp_path / "state")
    tf.train.Checkpoint(variables=other.variables).restore(path).assert_consumed()
    second.assign(3.0)
    average.update(), other.update()
    assert [float(variable) for variable in other.variables] == [float(variable) for variable in average.variables]


class Weight(keras.callbacks.Callback):
    """Notes the only weight after every training batch and during validation."""

    def __init__(self):
        super().__init__()
        self.trained, self.validated = [], []

    def on_train_batch_end(self, batch, logs=None):
        self.trained.append(self.model.get_weights()[0].item())

    def on_test_batch_end(self, batch, logs=None):
        self.validated.append(self.model.get_weights()[0].item())


@pytest.mark.parametrize("steps", [1, 2])
def test_validation_sees_the_average_and_training_the_weights(steps):
    """Two epochs of three batches; with two batches an update, an update reaches over the epoch's end."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    rule = keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps if steps > 1 else None)
    model.compile(optimizer=rule, loss="mse")
    average, weight = WeightAverage(model.weights, 0.5), Weight()
    start = model.get_weights()[0].item()
    x, y = np.arange(1, 7, dtype=np.float32)[:6, None] / 4, np.full((6, 1), 3.0)
    callbacks = [Averaging(average), weight]
    model.fit(
        x,
        y,
        batch_size=2,
        epochs=2,
        shuffle=False,
        verbose=0,
        validation_data=(x, y),
        validation_batch_size=6,
        callbacks=callbacks,
    )
    mean, means = start, []
    for batch, value in enumerate(weight.trained, 1):
        if batch % steps == 0:
            updates = batch // steps - 1
            decay = min(0.5, (1 + updates) / (10 + updates))
            mean = decay * mean + (1 - decay) * value
        means.append(mean)
    assert weight.validated == pytest.approx([means[2], means[5]], rel=1e-5)
    assert model.get_weights()[0].item() == weight.trained[-1]
    assert abs(means[5] - weight.trained[5]) > 1e-4
    with averaged(average):
        assert model.get_weights()[0].item() == pytest.approx(means[5], rel=1e-5)
    with averaged(None):
        assert model.get_weights()[0].item() == weight.trained[-1]
