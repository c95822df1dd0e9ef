import keras
import tensorflow as tf

from kseg.models import graphs


def double(x):
    return x * 2.0


def test_a_gradient_of_its_own():
    """That of x * y, said to be three times y and nothing."""
    run = graphs.differentiable(lambda x, y: x * y, lambda upstream, x, y: (3 * upstream * y, 0 * y))
    x, y = tf.constant(2.0), tf.constant(5.0)
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = run(x, y)
    assert (float(value), *map(float, tape.gradient(value, [x, y]))) == (10, 15, 0)


def test_backends_may_name_what_comes_from_above(monkeypatch):
    """PyTorch's gives the inputs too."""
    monkeypatch.setattr(graphs.ops, "custom_gradient", lambda run: run)
    value, down = graphs.differentiable(lambda x: x * 2, lambda upstream, x: upstream * x)(5.0)
    assert (value, down(7.0), down(5.0, upstream=7.0)) == (10, 35, 35)


def test_what_is_shared_becomes_one_graph():
    twice = tf.function(lambda x: graphs.shared(double)(graphs.shared(double)(x)))
    graph = twice.get_concrete_function(tf.TensorSpec([2])).graph.as_graph_def()
    (function,) = graph.library.function
    assert "double" in function.signature.name
    assert len([node for node in graph.node if node.op.endswith("PartitionedCall")]) == 2


def test_what_comes_after_waits():
    ordered = tf.function(lambda x, other: graphs.after(x, tf.exp(other)))
    graph = ordered.get_concrete_function(tf.TensorSpec([2]), tf.TensorSpec([])).graph
    assert "Exp" in {before.type for operation in graph.get_operations() for before in operation.control_inputs}


def test_other_backends_get_back_what_they_give(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    own, x = (lambda x: x), object()
    assert graphs.shared(own) is own
    assert graphs.after(x, None) is x
