import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from kseg.errors import RunError
from kseg.models.weight_files import StoredLayer, read_layers

CONVS = [f"conv{index}" for index in range(12)]  # enough for a counter of two figures
NORMS = [f"norm{index}" for index in range(12)]


@pytest.fixture(scope="module")
def network():
    """Twelve convolutions with biases, batch normalisations and a classifier, all of different values."""
    x = inputs = keras.Input((4, 4, 3))
    for index in range(12):
        x = keras.layers.Conv2D(2 + index, 1, name=CONVS[index])(x)
        x = keras.layers.BatchNormalization(name=NORMS[index])(x)
    x = keras.layers.Dense(5, name="predictions")(keras.layers.GlobalAveragePooling2D()(x))
    network = keras.Model(inputs, x)
    random = np.random.default_rng(0)
    network.set_weights([random.uniform(size=weights.shape) for weights in network.get_weights()])
    return network


def check(found: list[StoredLayer], network, names: list[str]):
    """The layers of `names` in that order, with the network's arrays."""
    assert [layer.name for layer in found] == names
    for layer in found:
        for array, expected in zip(layer.arrays, network.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(array, expected)


def test_layout_of_the_published_files_keeps_the_order(network, tmp_path):
    path = str(tmp_path / "weights.h5")
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, network)
    check(read_layers(path), network, [name for pair in zip(CONVS, NORMS, strict=True) for name in pair])


def test_whole_network_in_an_h5_file(network, tmp_path):
    path = str(tmp_path / "network.h5")
    network.save(path)
    check(read_layers(path), network, [name for pair in zip(CONVS, NORMS, strict=True) for name in pair])


def test_keras_3_layout_lists_class_by_class(network, tmp_path):
    path = str(tmp_path / "x.weights.h5")
    network.save_weights(path)
    check(read_layers(path), network, NORMS + CONVS)


@pytest.mark.parametrize("group", ["layers", "_layer_checkpoint_dependencies"])
def test_older_keras_3_layouts_have_the_order_but_not_the_names(network, tmp_path, group):
    path = str(tmp_path / "x.weights.h5")
    network.save_weights(path)
    with h5py.File(path, "a") as file:
        file.move("layers", group)
        for layer in file[group].values():
            del layer["vars"].attrs["name"]
    found = read_layers(path)
    assert [layer.name for layer in found[:3]] == ["batch_normalization", *(f"batch_normalization_{i}" for i in (1, 2))]
    assert [layer.name for layer in found[-2:]] == ["conv2d_10", "conv2d_11"]
    check([layer._replace(name=name) for layer, name in zip(found, NORMS + CONVS, strict=True)], network, NORMS + CONVS)


def test_files_of_other_kinds_are_refused(network, tmp_path):
    text = tmp_path / "text.h5"
    text.write_text("not HDF5")
    archive = tmp_path / "network.keras"
    network.save(archive)
    for path in (text, archive):
        with pytest.raises(RunError, match=rf"{path}: cannot be read: .*; expected: HDF5 weights of a ResNet"):
            read_layers(str(path))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["layers/images"] = np.zeros((2, 2))
    with pytest.raises(RunError, match=r"other.h5: HDF5 without the weights of layers; expected: HDF5 weights"):
        read_layers(str(tmp_path / "other.h5"))


def test_damaged_file_is_named(network, tmp_path):
    path = tmp_path / "x.weights.h5"
    network.save_weights(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(RunError, match=r"x.weights.h5: cannot be read: .*truncated"):
        read_layers(str(path))
    with h5py.File(tmp_path / "first.h5", "w") as file:
        file.attrs["layer_names"] = ["conv1_conv"]
    with pytest.raises(RunError, match=r"first.h5: cannot be read: .*conv1_conv"):
        read_layers(str(tmp_path / "first.h5"))


def test_a_damaged_tree_of_groups_is_named(network, tmp_path):
    """h5py makes a RuntimeError of it, not an OSError."""
    path = tmp_path / "x.weights.h5"
    network.save_weights(path)
    before, _, after = path.read_bytes().rpartition(b"TREE")
    path.write_bytes(before + b"XXXX" + after)
    with pytest.raises(RunError, match=rf"{path}: cannot be read: .*; expected: "):
        read_layers(str(path))
