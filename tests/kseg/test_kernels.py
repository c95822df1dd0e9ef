import numpy as np
import pytest
import tensorflow as tf

from kseg import kernels

ONE, TWO = np.float32([1.0]), np.float32([2.0])


@pytest.mark.parametrize("momentum, moved", [(0.5, (3.0, 3.0)), (0.0, (4.0, 5.0))])
def test_fused_batch_norm_by_hand(momentum, moved):
    """Values 1, 3, 5, 7: mean 4, variance 5; statistics so far 2 and 1."""
    x = tf.reshape(tf.constant([1.0, 3, 5, 7]), [2, 2, 1, 1])
    outputs, mean, variance = kernels.fused_batch_norm(x, TWO, ONE, (TWO, ONE), momentum=momentum, epsilon=0.0011)
    assert (float(mean[0]), float(variance[0])) == moved
    np.testing.assert_allclose(np.ravel(outputs), 1 + 2 * np.float32([-3, -1, 1, 3]) / np.sqrt(5.0011), rtol=1e-5)


@pytest.mark.parametrize("size", [1, None])
def test_one_value_has_no_variance_whatever_the_operation_says(size, monkeypatch):
    """cuDNN says NaN."""
    operation = kernels._batch_norm_operation

    def says(*arguments, **keywords):
        return *operation(*arguments, **keywords)[:2], np.float32([np.nan])

    monkeypatch.setattr(kernels, "_batch_norm_operation", says)

    @tf.function(input_signature=[tf.TensorSpec([1, 1, size, 1])])
    def moved(x):
        return kernels.fused_batch_norm(x, TWO, ONE, (ONE, TWO), momentum=0.5, epsilon=0.001)[1:]

    assert [float(each[0]) for each in moved(np.full((1, 1, 1, 1), 3, np.float32))] == [2.0, 1.0]


def batch_norm_by(statistics: tuple, momentum: float) -> tuple[set[str], list[np.ndarray]]:
    """The operations of a layer's step, and its outputs, gradients and moved statistics."""

    @tf.function(autograph=False)
    def step(x, gamma, beta):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            outputs, *moved = kernels.fused_batch_norm(x, gamma, beta, statistics, momentum=momentum, epsilon=0.001)
        return outputs, *tape.gradient(outputs, [x, gamma, beta], x**2), *moved

    random = np.random.default_rng(0)
    inputs = [tf.constant(random.normal(size=shape), tf.float32) for shape in ([2, 5, 4, 3], [3], [3])]
    operations = {each.type for each in step.get_concrete_function(*inputs).graph.get_operations()}
    return operations, [np.array(each) for each in step(*inputs)]


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_both_versions_of_the_operation_give_the_same_and_the_first_asks_for_no_zeros(momentum, monkeypatch):
    statistics = tf.constant([1.0, 2, 3]), tf.constant([4.0, 5, 6])
    without_gpu, mine = batch_norm_by(statistics, momentum)
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind])
    with_gpu, others = batch_norm_by(statistics, momentum)
    assert {"FusedBatchNorm", "FusedBatchNormGrad"} < without_gpu and "ZerosLike" not in without_gpu
    assert {"FusedBatchNormV3", "FusedBatchNormGradV3", "ZerosLike"} < with_gpu
    for one, two in zip(mine, others, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-6)


def test_a_batch_of_nothing_can_be_traced():
    x, zero, one = tf.zeros([0, 2, 2, 4]), tf.zeros(4), tf.ones(4)
    assert kernels.fused_batch_norm(x, one, zero, (zero, one), momentum=0.9, epsilon=0.001)[0].shape == x.shape


def test_a_replica_knows_how_many_share_its_batch():
    assert kernels.replicas() == 1
    seen = []
    tf.distribute.MirroredStrategy(["CPU:0"]).run(lambda: seen.append(kernels.replicas()))
    assert seen == [1]


def test_equal_shapes_share_one_graph():
    traced = []

    def scaled(x, factor):
        traced.append(x.shape.as_list())
        return x * factor

    shared = kernels.traced_once(scaled)

    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([2]), tf.TensorSpec([2])])
    def run(a, b, c):
        return [shared(a, 3.0), shared(b, 3.0), shared(c, 3.0), shared(c, 4.0)]

    results = run(tf.constant([5.0]), tf.constant([1.0, 2.0]), tf.constant([3.0, 4.0]))
    assert [result.numpy().tolist() for result in results] == [[15], [3, 6], [9, 12], [12, 16]]
    assert traced == [[None], [2], [2]]
    assert shared(tf.constant([1.0, 1.0]), 3.0).numpy().tolist() == [3, 3]  # eager, by the graph there is
    assert len(traced) == 3


def test_shared_graphs_stay_calls():
    shared = kernels.traced_once(lambda x: x * 2.0)
    outer = tf.function(lambda x: shared(shared(x))).get_concrete_function(tf.TensorSpec([2]))
    (function,) = outer.graph.as_graph_def().library.function
    assert function.attr["_noinline"].b
    np.testing.assert_array_equal(outer(tf.constant([1.0, 2.0])), [4, 8])


def test_a_dilated_convolution_by_hand():
    """Of ones: a pixel in the middle of 5 x 5 sees all 9 taps 2 pixels apart, a corner 4 of them, a side's middle 6."""
    x, kernel = tf.ones((1, 5, 5, 1)), tf.ones((3, 3, 1, 1))
    found = kernels.dilated_convolution(x, kernel, 2)[0, :, :, 0].numpy()
    assert (found[2, 2], found[0, 0], found[0, 2]) == (9, 4, 6)
    graph = tf.function(lambda: kernels.dilated_convolution(x, kernel, 2)).get_concrete_function().graph
    assert "SpaceToBatchND" not in {operation.type for operation in graph.get_operations()}


def test_after_waits_in_a_graph_and_changes_nothing():
    @tf.function
    def run(x, other):
        return kernels.after(x, tf.exp(other, name="before"))

    graph = run.get_concrete_function(tf.TensorSpec([2]), tf.TensorSpec([])).graph
    waiting = [operation for operation in graph.get_operations() if operation.control_inputs]
    assert [operation.control_inputs[0].type for operation in waiting if operation.inputs][:1] == ["Exp"]
    np.testing.assert_array_equal(run(tf.constant([1.0, 2.0]), tf.constant(0.0)), [1, 2])


@pytest.mark.parametrize(("nesterov", "expected"), [(False, 2.2), (True, 1.8)])
def test_momentum_and_nesterov_by_hand(nesterov, expected):
    """0.5 x 1 - 0.1 x 3 = 0.2; nesterov steps by 0.5 x 0.2 - 0.1 x 3."""
    variable, slot = tf.Variable([2.0]), tf.Variable([1.0])
    kernels.apply_momentum(variable, slot, tf.constant([3.0]), tf.constant(0.1), 0.5, nesterov=nesterov)
    np.testing.assert_allclose(slot.numpy(), [0.2], rtol=1e-6)
    np.testing.assert_allclose(variable.numpy(), [expected], rtol=1e-6)
