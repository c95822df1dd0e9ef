import keras
import mxnet_reference as reference
import numpy as np
import pytest
import tensorflow as tf

from kseg.errors import UsageError
from kseg.optimizers import build_optimizer, is_norm_or_bias
from kseg.optimizers.rules import SGD
from kseg.registry import OPTIMIZERS
from kseg.schedules import build_schedule


def updated(name: str, gradients, weights=reference.INITIAL_WEIGHTS, head: bool = False, **options) -> np.ndarray:
    """The weights after each gradient, [steps, weights]."""
    variable = keras.Variable(np.array(weights, np.float32))
    optimizer = build_optimizer(name, is_head=lambda asked: head, **options)
    course = []
    for gradient in gradients:
        optimizer.apply([optimizer.scale_loss(tf.constant(gradient, tf.float32))], [variable])
        course.append(keras.ops.convert_to_numpy(variable).copy())
    return np.array(course)


@pytest.mark.parametrize("name, options, want", reference.OPTIMIZERS)
def test_the_weights_follow_mxnet_step_by_step(name, options, want):
    np.testing.assert_allclose(updated(name, reference.GRADIENTS, **options), want, rtol=1e-6)


def test_adadelta_follows_zeiler_step_by_step():
    """Algorithm 1 of https://arxiv.org/abs/1212.5701 (rho 0.95, epsilon 1e-7), its step times the rate."""
    weights, squares, steps = np.array(reference.INITIAL_WEIGHTS), np.zeros(4), np.zeros(4)
    want = []
    for gradient in np.array(reference.GRADIENTS):
        squares = 0.95 * squares + 0.05 * gradient**2
        step = np.sqrt(steps + 1e-7) / np.sqrt(squares + 1e-7) * gradient
        steps = 0.95 * steps + 0.05 * step**2
        weights = weights - 0.5 * step
        want.append(weights)
    np.testing.assert_allclose(updated("adadelta", reference.GRADIENTS, learning_rate=0.5), want, rtol=1e-6)


def test_adamw_follows_loshchilov_and_hutter_step_by_step():
    """Algorithm 2 of https://arxiv.org/abs/1711.05101, its schedule multiplier eta the rate, alpha 1; decay before the
    step, as in PyTorch. Epsilon is added as in MXNet's Adam, where it is smaller than 1e-8 of the root."""
    weights, mean, square = np.array(reference.INITIAL_WEIGHTS), np.zeros(4), np.zeros(4)
    want = []
    for count, gradient in enumerate(np.array(reference.GRADIENTS), 1):
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        weights = weights * (1 - 0.01 * 0.2)
        correction = np.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        weights = weights - 0.01 * correction * mean / (np.sqrt(square) + 1e-8)
        want.append(weights)
    course = updated("adamw", reference.GRADIENTS, learning_rate=0.01, weight_decay=0.2)
    np.testing.assert_allclose(course, want, rtol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("options", [{}, {"accumulation_steps": 2, "clip_norm": 0.5, "loss_scaled": True}], ids=str)
def test_the_head_moves_as_if_its_rate_were_multiplied(name, options):
    """Not its gradient: Adam and its kin would not notice."""
    options = {"weight_decay": 0.01, **options}
    head = updated(name, reference.GRADIENTS, head=True, learning_rate=0.001, head_multiplier=10.0, **options)
    alone = updated(name, reference.GRADIENTS, learning_rate=0.01, **options)
    np.testing.assert_allclose(head, alone, rtol=1e-6)
    assert not np.allclose(head, updated(name, reference.GRADIENTS, learning_rate=0.001, **options), rtol=1e-5)


@pytest.mark.parametrize("name, decay", [("sgd", ["ResourceApplyGradientDescent"]), ("nag", [])])
def test_momentum_and_decay_are_an_operation_each_that_changes_weight_and_slot_in_place(name, decay):
    """Nothing else assigns, or multiplies whole weights; what is left is the count of the updates."""
    variable = keras.Variable(np.ones(4, np.float32))
    optimizer = build_optimizer(name, learning_rate=0.1, weight_decay=0.1)
    optimizer.build([variable])
    step = tf.function(lambda gradient: optimizer.apply([gradient], [variable]))
    operations = step.get_concrete_function(tf.TensorSpec([4])).graph.get_operations()
    kinds = [operation.type for operation in operations if "Assign" in operation.type or "Apply" in operation.type]
    assert sorted(kinds) == ["AssignVariableOp", *decay, "ResourceApplyKerasMomentum"]
    assert not [each for each in operations if each.type == "Mul" and each.outputs[0].shape.rank]


def test_a_second_variable_adds_no_number_and_copies_no_gradient():
    """Of sgd's graph; the numbers are made anew for every trace, and outside of one."""
    start, gradient = np.ones(4, np.float32), tf.constant([1.0, 2.0, 3.0, 4.0])
    variables = [keras.Variable(start), keras.Variable(start)]
    optimizer = build_optimizer("sgd", learning_rate=0.1, momentum=0.5, weight_decay=0.1)
    optimizer.build(variables)

    def traced(count: int):
        step = tf.function(lambda given: optimizer.apply([given] * count, variables[:count]))
        concrete = step.get_concrete_function(tf.TensorSpec([4]))
        kinds = [operation.type for operation in concrete.graph.get_operations()]
        return step, [kinds.count(kind) for kind in ("Const", "Identity", "IdentityN")]

    (_, alone), (step, both) = traced(1), traced(2)
    assert alone == both
    step(gradient)
    optimizer.apply([gradient] * 2, variables)
    # velocity = 0.5 velocity - 0.1 (gradient + 0.1 weight), twice
    first = 1 - 0.1 * (gradient + 0.1)
    expected = first + 0.5 * (first - 1) - 0.1 * (gradient + 0.1 * first)
    for variable in variables:
        np.testing.assert_allclose(variable, expected, rtol=1e-6)


@pytest.mark.parametrize("nesterov, want", [(False, 0.99), (True, 0.981)])
def test_nesterov_looks_ahead_along_the_decay_too(nesterov, want):
    """Without a gradient, by hand: the decay's is 0.1, the velocity -0.01, and ahead of it 0.9 x that - 0.01."""
    variable = keras.Variable([1.0])
    optimizer = SGD(learning_rate=0.1, momentum=0.9, nesterov=nesterov, coupled_decay=0.1)
    optimizer.apply([tf.zeros(1)], [variable])
    np.testing.assert_allclose(variable, [want], rtol=1e-6)


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS) - {"sgd", "adamw"}))
def test_the_other_rules_have_no_weight_decay(name):
    options = {"learning_rate": 0.01, "gradients": reference.GRADIENTS}
    np.testing.assert_array_equal(updated(name, weight_decay=0.5, **options), updated(name, **options))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("spared", [False, True])
def test_normalisation_and_biases_can_be_left_out_of_the_decay(name, spared):
    """With zero gradients the first update moves what decays, and that alone, by rate * decay of itself."""
    layers = [keras.layers.Dense(2), keras.layers.Conv2D(2, 1), keras.layers.BatchNormalization()]
    for layer, shape in zip(layers, [(1, 2), (1, 3, 3, 2), (1, 2)], strict=True):
        layer.build(shape)
    variables = [variable for layer in layers for variable in layer.trainable_variables]
    assert [variable.name for variable in variables] == ["kernel", "bias", "kernel", "bias", "gamma", "beta"]
    for variable in variables:
        variable.assign(keras.ops.ones(variable.shape))
    optimizer = build_optimizer(name, learning_rate=0.1, weight_decay=0.5, no_decay=is_norm_or_bias if spared else None)
    optimizer.apply([tf.zeros(variable.shape) for variable in variables], variables)
    for variable in variables:
        want = 1.0 if spared and variable.name != "kernel" else 0.95
        np.testing.assert_allclose(variable.numpy(), np.full(variable.shape, want), rtol=1e-6, err_msg=variable.path)


def test_rmsprop_stays_finite_under_a_constant_gradient():
    """Keras's own formula takes the root of a negative number at one of these gradients after some 130 steps."""
    gradient = np.array([8.890463, 5.9895353, 7.4409747, 4.2672114], np.float32)
    assert np.isfinite(updated("rmsprop", [gradient] * 200, learning_rate=0.001)).all()


def test_the_rate_of_a_step_is_the_schedules():
    schedule = build_schedule("step", learning_rate=0.1, epochs=2, steps_per_epoch=1, step_epochs=(1,))
    course = updated("sgd", [[1.0]] * 2, [0.0], learning_rate=schedule, momentum=0.5)
    # m1 = -0.1; m2 = 0.5 * m1 - 0.01
    np.testing.assert_allclose(course[:, 0], [-0.1, -0.1 - 0.06], rtol=1e-6)


def test_variables_are_told_apart_and_float32_under_mixed_precision():
    layer = keras.layers.Dense(1, use_bias=False, dtype="mixed_bfloat16", name="layer")
    head = keras.layers.Dense(1, use_bias=False, dtype="mixed_bfloat16", name="head")
    layer.build((1, 1)), head.build((1, 1))
    variables = [layer.kernel, head.kernel]
    for variable in variables:
        variable.assign([[0.0]])
    optimizer = build_optimizer("sgd", learning_rate=0.1, head_multiplier=3.0, is_head=lambda v: "head" in v.path)
    optimizer.apply([tf.ones([1, 1])] * 2, variables)
    assert [float(variable.numpy()[0, 0]) for variable in variables] == pytest.approx([-0.1, -0.3])
    assert {variable.dtype for variable in optimizer.variables} == {"float32", "int64"}


def tiny_model(**options) -> keras.Model:
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(1, name="head")])
    schedule = build_schedule("poly", learning_rate=0.01, epochs=1, steps_per_epoch=100)
    rule = build_optimizer(learning_rate=schedule, head_multiplier=10.0, is_head=lambda v: "head" in v.path, **options)
    model.compile(optimizer=rule, loss="mse")
    return model


def step(model: keras.Model) -> None:
    model.train_on_batch(np.array([[1.0, 2.0]]), np.array([[0.5]]))


EVERYTHING = {
    "name": "adamw",
    "no_decay": is_norm_or_bias,
    "clip_norm": 0.1,
    "accumulation_steps": 2,
    "loss_scaled": True,
}


@pytest.mark.parametrize("options", [{"name": "sgd"}, {"name": "rmsprop"}, EVERYTHING], ids=lambda each: each["name"])
def test_a_saved_and_loaded_model_goes_on_as_if_nothing_had_happened(options, tmp_path):
    model = tiny_model(weight_decay=0.01, **options)
    step(model)
    model.save(tmp_path / "model.keras")
    copy = keras.models.load_model(tmp_path / "model.keras")
    step(model), step(copy)
    for one, other in zip(model.get_weights(), copy.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=f"--optimizer=lion: allowed: {', '.join(OPTIMIZERS)}"):
        build_optimizer("lion", learning_rate=0.1)
