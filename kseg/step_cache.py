"""The graph of the training step, kept for the next start of the same training.

Tracing a step takes seconds of Python (FCN on resnet-50: 1 to 4 s), and the same configuration gives the same graph. It
is kept as a GraphDef in kseg.cache; the next start imports it and connects it to its own variables.
"""

import functools
import hashlib
import json
import os
import pathlib

import keras
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.python.eager import context

from kseg import cache, devices

KIND = "steps"
CALL, INPUT = "call", "input_"  # names in the kept graph: of its one node and, with a number, of the node's inputs
SETTINGS = ("TF_", "KERAS_", "XLA_")  # environment variables that may change what is traced


def keep_step(model: keras.Model, variables: list[tf.Variable], specs: tuple, identity: dict) -> None:
    """Makes `model.train_step` use the kept graph of an equal step, or keep its own for the next start.

    Args:
        model: compiled, its optimizer built; trained on one device, without a distribution strategy.
        variables: of the network, the optimizer and the training metrics, in the same order at every start.
        specs: tf.TensorSpec of a batch of images and of masks.
        identity: what the step depends on besides kseg's code, the versions, `variables` and `specs`, as JSON takes it.
    """
    if cache.folder() is None:
        return
    key, traced = _key(model, variables, specs, identity), model.train_step
    kept = cache.read(KIND, key)
    if kept is not None:
        _build_scores(model, specs)

    def train_step(data):
        scores = None if kept is None else _imported(kept, variables, data)
        if scores is not None:
            return scores
        step = tf.function(lambda images, masks: traced((images, masks)), autograph=False)
        content = _exported(step.get_concrete_function(*specs), variables)
        if content is not None:
            cache.write(KIND, key, content)
        return step(*data)

    model.train_step = train_step


@functools.cache
def _sources() -> str:
    """Digest of kseg's own code."""
    digest = hashlib.sha256()
    root = pathlib.Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _key(model: keras.Model, variables: list[tf.Variable], specs, identity: dict) -> str:
    trained = {id(variable.value) for variable in model.trainable_variables}
    parts = {
        "sources": _sources(),
        "versions": [tf.version.GIT_VERSION, tf.__version__, keras.__version__],
        "devices": [devices.describe(), *(device.device_type for device in tf.config.list_logical_devices())],
        "environment": {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)},
        "variables": [(str(each.shape), str(each.dtype), id(each) in trained) for each in variables],
        "specs": str(specs),
        "keras": [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()],
        "identity": identity,
    }
    return json.dumps(parts, sort_keys=True)


def _exported(step, variables: list[tf.Variable]) -> bytes | None:
    """A graph that calls the step, with the functions it calls; None if it reads an outer tensor that is no variable's.

    The step stays a function of the graph's library, since TensorFlow would make a Python object of every operation of
    an imported graph (of 2,500). Its inputs are names alone, for which the import puts tensors.
    """
    places = {id(each.handle): index for index, each in enumerate(variables)}
    captured = [places.get(id(tensor)) for tensor in step.captured_inputs]
    if None in captured:
        return None
    # Another tf.function around the step would look at every variable again: 0.4 s.
    calling = tf.Graph()
    step.add_to_graph(calling)
    graph = calling.as_graph_def()
    types = [[each.dtype.as_datatype_enum for each in tensors] for tensors in (step.inputs, step.outputs)]
    call = graph.node.add(name=CALL, op="StatefulPartitionedCall", input=[f"{INPUT}{i}" for i in range(len(types[0]))])
    for name, listed in zip(("Tin", "Tout"), types, strict=True):
        call.attr[name].list.type.extend(listed)
    call.attr["f"].func.name = step.function_def.signature.name
    outputs = tf.nest.pack_sequence_as(step.structured_outputs, [f"{CALL}:{i}" for i in range(len(types[1]))])
    head = {"captured": captured, "outputs": outputs}
    _rename_functions(graph, prefix=hashlib.sha256(graph.SerializeToString(deterministic=True)).hexdigest()[:16])
    return json.dumps(head).encode() + b"\n" + graph.SerializeToString()


def _rename_functions(graph, prefix: str) -> None:
    """Gives the functions of a GraphDef names that no function of another process or graph has."""
    names = {function.signature.name: f"kept_{prefix}_{function.signature.name}" for function in graph.library.function}
    nodes = list(graph.node)
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
        nodes.extend(function.node_def)
    for node in nodes:
        node.op = names.get(node.op, node.op)
        for value in node.attr.values():
            for called in [*([value.func] if value.HasField("func") else []), *value.list.func]:
                called.name = names.get(called.name, called.name)


def _imported(kept: bytes, variables: list[tf.Variable], data: tuple) -> dict | None:
    """The kept step in the graph being built: its scores, as Keras's train_step returns them. None if it is damaged."""
    head, _, graph = kept.partition(b"\n")
    try:
        head, graph = json.loads(head), tf.compat.v1.GraphDef.FromString(graph)
        for function in graph.library.function:  # import_graph_def leaves that to its caller
            context.context().add_function_def(function)
        here = tf.compat.v1.get_default_graph()
        tensors = [*data, *(here.capture(variables[index].handle) for index in head["captured"])]
        inputs = {f"{INPUT}{index}": tensor for index, tensor in enumerate(tensors)}
        names = tf.nest.flatten(head["outputs"])
        outputs = tf.graph_util.import_graph_def(graph, input_map=inputs, return_elements=names, name="step")
    except (ValueError, KeyError, DecodeError, tf.errors.OpError):  # no ordinary damage: that, the checksum shows
        return None
    return tf.nest.pack_sequence_as(head["outputs"], outputs)


def _build_scores(model: keras.Model, specs: tuple) -> None:
    """Builds the compiled loss and metrics, as Keras does while it traces a step; an imported step needs them too."""
    classes = model.segmenter.output.shape[-1]

    @tf.function(autograph=False)
    def score(images, masks):
        logits = tf.zeros([*masks.shape, classes])
        model.compute_loss(images, masks, logits)
        return model.compute_metrics(images, masks, logits)

    score.get_concrete_function(*specs)
