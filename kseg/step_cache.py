"""The graph of the training step, kept for the next start of the same training.

Tracing a step takes seconds of Python (FCN on resnet-50: 4 to 9 s), and the same configuration gives the same graph. It
is kept as a GraphDef in kseg.cache; the next start imports it and connects it to its own variables.
"""

import functools
import hashlib
import json
import os
import pathlib

import keras
import tensorflow as tf

from kseg import cache

KIND = "steps"


def keep_step(model: keras.Model, variables: list[keras.Variable], specs: tuple, identity: dict) -> None:
    """Makes `model.train_step` use the kept graph of an equal step, or keep its own for the next start.

    Args:
        model: compiled, its optimizer built; trained on one device, without a distribution strategy.
        variables: of the network and the optimizer, in the same order at every start.
        specs: tf.TensorSpec of a batch of images and of masks.
        identity: what the step depends on besides kseg's code, the versions, `variables` and `specs`, as JSON takes it.
    """
    _build_scores(model, specs)
    variables = [*variables, *(variable for metric in model.metrics for variable in metric.variables)]
    key, traced = _key(variables, specs, identity), model.train_step

    def train_step(data):
        kept = cache.read(KIND, key)
        if kept is not None:
            return _imported(kept, variables, data)
        concrete = tf.function(traced, autograph=False).get_concrete_function(specs)
        content = _exported(concrete, variables)
        if content is not None:
            cache.write(KIND, key, content)
        return concrete(data)

    if cache.folder() is not None:
        model.train_step = train_step


@functools.cache
def _sources() -> str:
    """Digest of kseg's own code."""
    digest = hashlib.sha256()
    root = pathlib.Path(__file__).parent
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _key(variables, specs, identity: dict) -> str:
    settings = {name: value for name, value in os.environ.items() if name.startswith(("TF_", "KERAS_", "XLA_", "KSEG_"))}
    parts = {
        "sources": _sources(),
        "versions": [tf.version.GIT_VERSION, tf.__version__, keras.__version__],
        "devices": [device.device_type for device in tf.config.list_logical_devices()],
        "environment": {name: settings[name] for name in sorted(settings) if name != cache.SWITCH},
        "variables": [(each.path, str(each.shape), str(each.dtype), each.trainable) for each in variables],
        "specs": str(specs),
        "keras": [keras.config.floatx(), keras.config.epsilon(), keras.config.image_data_format()],
        "identity": identity,
    }
    return json.dumps(parts, sort_keys=True)


def _exported(concrete, variables: list) -> bytes | None:
    """A traced step as bytes; None if it reads an outer tensor that is no variable's."""
    places = {id(each.value.handle): index for index, each in enumerate(variables)}
    captured = [places.get(id(tensor)) for tensor in concrete.captured_inputs]
    if None in captured:
        return None
    given = len(concrete.inputs) - len(captured)
    names = [tensor.name for tensor in concrete.inputs]
    head = {
        "given": names[:given],
        "captured": list(zip(names[given:], captured, strict=True)),
        "outputs": tf.nest.map_structure(lambda tensor: tensor.name, concrete.structured_outputs),
    }
    return json.dumps(head).encode() + b"\n" + concrete.graph.as_graph_def().SerializeToString()


def _imported(content: bytes, variables: list, data) -> dict:
    """The step in the graph being built; its scores, as Keras's train_step returns them."""
    head, _, graph = content.partition(b"\n")
    head = json.loads(head)
    inputs = dict(zip(head["given"], tf.nest.flatten(data), strict=True))
    here = tf.compat.v1.get_default_graph()
    inputs |= {name: here.capture(variables[index].value.handle) for name, index in head["captured"]}
    outputs = tf.graph_util.import_graph_def(
        tf.compat.v1.GraphDef.FromString(graph),
        input_map=inputs,
        return_elements=tf.nest.flatten(head["outputs"]),
        name="step",
    )
    return tf.nest.pack_sequence_as(head["outputs"], outputs)


def _build_scores(model: keras.Model, specs: tuple) -> None:
    """Builds the compiled loss and metrics, as Keras does when it traces a step: those of an imported one need it too."""
    classes = model.segmenter.output.shape[-1]

    @tf.function(autograph=False)
    def score(images, masks):
        logits = tf.zeros([*masks.shape, classes])
        model.compute_loss(images, masks, logits)
        return model.compute_metrics(images, masks, logits)

    score.get_concrete_function(*specs)
