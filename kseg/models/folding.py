"""A trained network as it is served: batch normalisation folded into convolutions, in the arithmetic asked for.

At inference batch normalisation multiplies each channel by a constant and adds one, which the convolution before it can
do by itself: with scale = gamma / sqrt(variance + epsilon), its kernel becomes kernel * scale and its bias
(bias - mean) * scale + beta. Zeros are padded before the convolution, so borders agree too. (The mean that `Normalize`
subtracts is not folded: zeros are padded after that, so a kernel with the mean in its bias would be off at borders.)
"""

from collections import Counter
from collections.abc import Iterator

import keras
import numpy as np

from kseg.models.convolution import Conv2D, DilatedConv2D
from kseg.models.winograd import ServedConv2D, served_weights

# Fewer channels gain nothing in serving: the transforms cost as much as the products save.
LEAST_CHANNELS = 64
IN_FLOAT32 = "logits"  # how the names of layers end that compute in float32 whatever the policy: the classifiers


def folded(network: keras.Model, policy: str = "float32", *, winograd: bool = True) -> keras.Model:
    """A copy for inference, without the batch normalisations that directly follow a convolution.

    One that follows anything else, or a convolution whose output is used elsewhere too, stays as it is.

    Args:
        network: functional, nested functional ones included, as `build_segmenter` and `without_aux` make them.
        policy: Keras dtype policy of the copy's layers, "float32" or "bfloat16" (then weights are bfloat16 too);
            "normalize" and layers whose names end in "logits" are float32. Weights are folded in float64, rounded once.
            In bfloat16 dilated convolutions are `DilatedConv2D`. Of 1x1 convolutions the padding becomes "same".
        winograd: whether 3x3 convolutions in float32 are `ServedConv2D`; bfloat16 has too few bits for it.

    Returns:
        A network of the same inputs and outputs that shares no weights with the original.
    """
    folds = {norm: convolution for part in _functional(network) for norm, convolution in _pairs(part)}
    norms, originals = {convolution: norm for norm, convolution in folds.items()}, {}

    def clone(layer):
        if not isinstance(layer, keras.layers.Layer):  # an operation on tensors, such as a difference
            return layer.__class__.from_config(layer.get_config())
        copy = _copy(layer, policy, winograd, biased=layer in norms)
        originals[copy] = layer
        return copy

    def call(layer, *args, **kwargs):
        return args[0] if originals.get(layer) in folds else layer(*args, **kwargs)

    result = keras.models.clone_model(network, clone_function=clone, call_function=call, recursive=True)
    for copy, layer in originals.items():
        if layer not in folds:
            weights = _folded_weights(layer, norms[layer]) if layer in norms else layer.get_weights()
            copy.set_weights(served_weights(*weights) if isinstance(copy, ServedConv2D) else weights)
    return result


def _copy(layer: keras.layers.Layer, policy: str, winograd: bool, *, biased: bool) -> keras.layers.Layer:
    """The layer for inference without its weights, with a bias if batch normalisation goes into it (`biased`)."""
    config = layer.get_config() | ({} if layer.name.endswith(IN_FLOAT32) else {"dtype": policy})
    config |= {"use_bias": True} if biased else {}
    if isinstance(layer, keras.layers.Conv2D) and (layer.kernel_size, layer.strides) == ((1, 1), (1, 1)):
        # The same values; but only of "same" TensorFlow knows that a map of unknown size keeps it, and has the
        # convolution add the shortcut of a residual block: 5 % of the time in bfloat16.
        config["padding"] = "same"
    if winograd and policy == "float32" and _takes_winograd(layer):
        return ServedConv2D(layer.filters, layer.dilation_rate[0], dtype=policy, name=layer.name)
    if not isinstance(layer, Conv2D):
        return layer.__class__.from_config(config)
    del config["on_processor"]  # its own ways are those of training: with gradients, of kernels that change
    return (DilatedConv2D if policy == "bfloat16" and _is_dilated(layer) else keras.layers.Conv2D).from_config(config)


def is_float32(network: keras.Model) -> bool:
    """Whether no layer of a functional network computes in bfloat16 or float16."""
    layers = [layer for part in _functional(network) for layer in part.layers]
    return not any(layer.compute_dtype in ("bfloat16", "float16") for layer in layers)


def _functional(network: keras.Model) -> Iterator[keras.Model]:
    """The network and the functional networks among its layers."""
    yield network
    for layer in network.layers:
        if isinstance(layer, keras.Model) and not isinstance(layer, keras.Sequential):
            yield from _functional(layer)


def _pairs(network: keras.Model) -> Iterator[tuple[keras.layers.BatchNormalization, keras.layers.Conv2D]]:
    """Batch normalisations of one functional network that can be folded, each with the convolution that takes it."""
    config = network.get_config()
    inputs = {entry["name"]: list(_sources(entry["inbound_nodes"])) for entry in config["layers"]}
    uses = Counter(name for names in inputs.values() for name in names)
    uses.update(_output_layers(config["output_layers"]))
    layers = {layer.name: layer for layer in network.layers}  # `inputs` has operations on tensors too
    for norm in network.layers:
        if isinstance(norm, keras.layers.BatchNormalization) and len(inputs[norm.name]) == 1:
            (name,) = inputs[norm.name]
            convolution = layers.get(name)
            alone = uses[name] == 1 and len(inputs[name]) == 1
            if alone and _is_linear_convolution(convolution) and norm.axis in (-1, 3):
                yield norm, convolution


def _is_linear_convolution(layer: keras.layers.Layer | None) -> bool:
    linear = getattr(layer, "activation", None) is keras.activations.linear
    return isinstance(layer, keras.layers.Conv2D) and linear and layer.data_format == "channels_last"


def _is_dilated(layer: keras.layers.Conv2D) -> bool:
    one_rate = len(set(layer.dilation_rate)) == 1 and layer.dilation_rate[0] > 1
    return one_rate and layer.padding == "same" and layer.groups == 1 and layer.data_format == "channels_last"


def _takes_winograd(layer: keras.layers.Layer) -> bool:
    if type(layer) not in (Conv2D, keras.layers.Conv2D) or not _is_linear_convolution(layer):
        return False
    geometry = (layer.kernel_size, layer.strides, layer.padding, layer.groups)
    few = min(layer.filters, layer.kernel.shape[2]) < LEAST_CHANNELS
    return geometry == ((3, 3), (1, 1), "same", 1) and len(set(layer.dilation_rate)) == 1 and not few


def _sources(nodes) -> Iterator[str]:
    """Names of the layers whose outputs go into a layer, one for each use, from its "inbound_nodes" in a config."""
    if isinstance(nodes, dict) and nodes.get("class_name") == "__keras_tensor__":
        yield nodes["config"]["keras_history"][0]
    elif isinstance(nodes, dict | list | tuple):
        for node in nodes.values() if isinstance(nodes, dict) else nodes:
            yield from _sources(node)


def _output_layers(outputs) -> Iterator[str]:
    """Names of the layers that give a network's outputs: any structure of [name, node, tensor]."""
    if isinstance(outputs, list | tuple) and outputs and isinstance(outputs[0], str):
        yield outputs[0]
    else:
        for output in outputs.values() if isinstance(outputs, dict) else outputs:
            yield from _output_layers(output)


def _folded_weights(convolution: keras.layers.Conv2D, norm: keras.layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel [h, w, in, out] and bias [out] in float64."""

    def value(variable, default):
        return default if variable is None else keras.ops.convert_to_numpy(variable).astype(np.float64)

    scale = value(norm.gamma, 1) / np.sqrt(value(norm.moving_variance, 1) + norm.epsilon)
    bias = (value(convolution.bias, 0) - value(norm.moving_mean, 0)) * scale + value(norm.beta, 0)
    return [value(convolution.kernel, 1) * scale, bias]
