import keras
import tensorflow as tf

from kseg.models import graphs


def double(x):
    return x * 2.0


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
