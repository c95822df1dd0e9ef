"""Incremental training: a new run that starts from the network of an earlier one."""

import keras

from kseg import checkpoints, storage
from kseg.config import TrainConfig
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap

ALIKE = ("algorithm", "backbone")


def check_run(config: TrainConfig) -> None:
    """Refuses an --init_from that cannot be started from, before anything is built.

    Raises:
        UsageError: if the algorithm or the backbone is another.
        RunError: if it is no run directory, or the run has no best model yet.
    """
    folder = config.init_from
    for path in (storage.join(folder, checkpoints.CONFIG), _best(folder)):
        if not storage.exists(path):
            raise RunError(
                f"--init_from={folder}: {path} is not there; allowed: the --output_dir of a kseg-train that has "
                "finished an epoch"
            )
    there = checkpoints.read_config(folder)
    for name in ALIKE:
        old, new = getattr(there, name), getattr(config, name)
        if old != new:
            raise UsageError(
                f"--init_from={folder}: a run of --{name}={old}, this one has --{name}={new}; "
                "allowed: a run of the same algorithm and backbone"
            )


def _best(folder: str) -> str:
    return storage.join(folder, "best", checkpoints.MODEL)


def load_run(network: keras.Model, labels: LabelMap, config: TrainConfig) -> str:
    """Replaces a segmenter's weights by those of the best model of --init_from.

    A classifier of another number of classes keeps its random weights, as does an auxiliary head that the run had
    not; BN statistics come along.

    Args:
        network: of `build_network`.
        labels: the classes it is to learn.
        config: with the `init_from` that `check_run` passed.

    Returns:
        A line for the log: what came from where, its checksum, and what did not come.

    Raises:
        RunError: if the model is damaged.
    """
    folder = config.init_from
    there, earlier = checkpoints.read_labels(folder), checkpoints.read_config(folder)
    advice = "give another --init_from"
    source = checkpoints.load_network(folder, "best", earlier, there.num_classes, advice=advice)
    found = {layer.name: layer.get_weights() for layer in _layers(source)}
    missing, reshaped, arrays = [], [], 0
    for layer in _layers(network):
        weights = found.get(layer.name)
        if weights is None:
            missing.append(layer.name)
        elif [array.shape for array in weights] != [tuple(weight.shape) for weight in layer.weights]:
            reshaped.append(layer.name)  # the same algorithm and backbone: a classifier of other classes
        else:
            layer.set_weights(weights)
            arrays += len(weights)
    path = _best(folder)
    line = f"weights of {path} (sha256 {storage.sha256(path)}, {arrays} arrays)"
    return line + _differences(there, labels, missing, reshaped)


def _layers(network: keras.Model) -> list[keras.layers.Layer]:
    """The layers with weights, the backbone's included."""
    backbone = network.get_layer("backbone")
    return [layer for layer in [*backbone.layers, *network.layers] if layer.weights and layer is not backbone]


def _differences(there: LabelMap, labels: LabelMap, missing: list[str], reshaped: list[str]) -> str:
    """What the log line adds where the new run is not like the old one."""
    parts = []
    if there.num_classes != labels.num_classes:
        parts.append(
            f"{there.num_classes} classes there, {labels.num_classes} now: {', '.join(reshaped)} re-initialised"
        )
    elif there.names != labels.names:
        parts.append(f"warning: its classes are called {', '.join(there.names)}; the classifier is kept all the same")
    if missing:
        parts.append("it had no auxiliary head: that starts from random weights")
    return "".join(f"; {part}" for part in parts)
