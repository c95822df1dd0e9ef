"""Reading a ResNet's weights from HDF5 files, in both layouts that Keras writes, without building the network.

The first (`save_weights("x.h5")` before Keras 3, the published files; `model.save("x.h5")` puts it into the group
"model_weights"): the root's attribute "layer_names" lists the layers in order, each layer's group lists its arrays in
"weight_names".

Keras 3's (`save_weights("x.weights.h5")`): layers/GROUP/vars/0, 1, …, where GROUP is the layer's class with a counter
in the network's order: "conv2d", "conv2d_1", …, "batch_normalization", … The layer's own name is the attribute "name"
of vars, but older versions did not write it.
"""

import re
from typing import NamedTuple

import h5py
import numpy as np

from kseg.errors import RunError

LAYOUTS = "HDF5 weights of a ResNet as Keras writes them (.weights.h5, or .h5 in the layout of keras.applications)"
# Where Keras 3's layout keeps a functional network's layers; the second is that of TensorFlow 2.13 and 2.14.
GROUPS = ("layers", "_layer_checkpoint_dependencies")


class StoredLayer(NamedTuple):
    """One layer of a file: its name, else the name of its group, and its arrays in the layer's own order."""

    name: str
    arrays: list[np.ndarray]


def read_layers(path: str) -> list[StoredLayer]:
    """The layers of a weights file that hold arrays, the classifier left out.

    Args:
        path: a local HDF5 file in either layout.

    Returns:
        Convolutions (kernel [h, w, in, out], and a bias [out] if there is one) and batch normalisations (gamma, beta,
        moving mean, moving variance), each class in the network's order.

    Raises:
        RunError: if the file cannot be read or has neither layout.
    """
    try:
        with h5py.File(path, "r") as file:
            layers = _read_first_layout(file.get("model_weights", file)) or _read_keras_3(file)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:  # what h5py makes of damage
        raise RunError(f"{path}: cannot be read: {error}; expected: {LAYOUTS}") from None
    if not layers:
        raise RunError(f"{path}: HDF5 without the weights of layers; expected: {LAYOUTS}")
    # A ResNet has one matrix: its classifier's ("predictions" in keras.applications' networks with include_top=True).
    return [layer for layer in layers if layer.arrays[0].ndim != 2]


def _read_first_layout(root: h5py.Group) -> list[StoredLayer]:
    groups = [(_text(name), root[_text(name)]) for name in root.attrs.get("layer_names", ())]
    layers = [StoredLayer(name, [group[_text(w)][()] for w in group.attrs["weight_names"]]) for name, group in groups]
    return [layer for layer in layers if layer.arrays]


def _read_keras_3(file: h5py.File) -> list[StoredLayer]:
    groups = [file[name] for name in GROUPS if isinstance(file.get(name), h5py.Group)]
    found = []
    for group in groups:
        for key in sorted(group, key=_by_counter):
            arrays = group[key].get("vars") if isinstance(group[key], h5py.Group) else None
            if arrays is not None and len(arrays):  # an h5py group without members is true
                name = _text(arrays.attrs.get("name", key))
                found.append(StoredLayer(name, [arrays[str(index)][()] for index in range(len(arrays))]))
    return found


def _by_counter(group: str) -> tuple[str, int]:
    """ "conv2d_10" after "conv2d_9": HDF5 lists its groups by the alphabet."""
    name, count = re.fullmatch(r"(.*?)(?:_(\d+))?", group).groups()
    return name, int(count or 0)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
