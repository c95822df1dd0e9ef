import io
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2

from kseg import export, records, storage
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap
from kseg.models import convolution
from kseg.models.segmenter import build_segmenter

LABELS = LabelMap.from_names(["a", "b", "c"])


@pytest.fixture(scope="module")
def model() -> keras.Model:
    """A network that sees its neighbourhood and the whole picture, as the real heads do, with fixed random weights."""
    keras.utils.set_random_seed(3)
    images = keras.Input((None, None, 3), dtype="uint8")
    near = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(keras.layers.Rescaling(1 / 255)(images))
    near = keras.layers.BatchNormalization()(keras.layers.Dropout(0.5)(near))
    whole = keras.layers.GlobalAveragePooling2D(keepdims=True)(near)
    return keras.Model(images, keras.layers.Conv2D(3, 1)(near - whole))


@pytest.fixture(scope="module")
def path(model, tmp_path_factory) -> str:
    return export.export(model, LABELS, str(tmp_path_factory.mktemp("export") / "new"))


@pytest.fixture(scope="module")
def signatures(path):
    loaded = tf.saved_model.load(path)
    yield loaded.signatures
    del loaded  # kept until here: signatures hold their variables weakly


def picture(seed: int, height: int, width: int, mode: str = "RGB", image_format: str = "JPEG") -> bytes:
    """An encoded picture of smooth noise."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise, "RGBA").resize((width, height)).convert(mode).save(buffer, image_format)
    return buffer.getvalue()


def masks(signatures, pictures: list[bytes]) -> list[np.ndarray]:
    encoded = signatures["serving_default"](image_bytes=tf.constant(pictures))["mask_bytes"].numpy()
    return [np.array(Image.open(io.BytesIO(mask))) for mask in encoded]


def classes(model, encoded: bytes) -> np.ndarray:
    image = records.decode_image(tf.constant(encoded))
    return np.argmax(model(image[None], training=False)[0], axis=-1)


def test_pictures_of_different_sizes_in_one_request_get_the_models_classes_at_their_own_size(model, signatures):
    pictures = [picture(1, 24, 40), picture(2, 33, 17), picture(3, 8, 64, image_format="PNG")]
    found = masks(signatures, pictures)
    assert [mask.shape for mask in found] == [(24, 40), (33, 17), (8, 64)]
    for mask, encoded in zip(found, pictures, strict=True):
        np.testing.assert_array_equal(mask, classes(model, encoded))
        assert len(np.unique(mask)) > 1


def test_a_mask_does_not_depend_on_its_batch_mates(signatures):
    one, other = picture(1, 24, 40), picture(2, 64, 64)
    alone, among = masks(signatures, [one])[0], masks(signatures, [other, one, other])[1]
    np.testing.assert_array_equal(alone, among)


def test_a_request_of_no_pictures_gives_no_masks(signatures):
    assert signatures["serving_default"](image_bytes=tf.zeros([0], tf.string))["mask_bytes"].shape == [0]


@pytest.mark.parametrize("mode, image_format", [("L", "JPEG"), ("L", "PNG"), ("RGBA", "PNG"), ("P", "PNG")])
def test_grey_alpha_and_palette_pictures_are_taken(model, signatures, mode, image_format):
    encoded = picture(4, 20, 30, mode, image_format)
    np.testing.assert_array_equal(masks(signatures, [encoded])[0], classes(model, encoded))


@pytest.mark.parametrize("wrong", [b"garbage", b"", picture(1, 64, 64)[:300]])
def test_bytes_that_are_no_picture_give_invalid_argument(signatures, wrong):
    for name in ("serving_default", "probabilities"):
        with pytest.raises(tf.errors.InvalidArgumentError):
            signatures[name](image_bytes=tf.constant([wrong]))
    assert masks(signatures, [picture(1, 8, 8)])[0].shape == (8, 8)  # and the next request works


def test_probabilities_and_tensor_signatures_agree_with_the_model(model, signatures):
    encoded = picture(5, 16, 24)
    image = records.decode_image(tf.constant(encoded))[None]
    found = signatures["probabilities"](image_bytes=tf.constant([encoded]))["probabilities"]
    np.testing.assert_allclose(found, tf.nn.softmax(model(image, training=False)), atol=1e-5)
    two = signatures["tensor"](images=tf.concat([image, image[:, ::-1]], axis=0))["classes"]
    assert (two.dtype, two.shape) == (tf.uint8, [2, 16, 24])
    np.testing.assert_array_equal(two[0], classes(model, encoded))


def saved_model(path: str):
    content = saved_model_pb2.SavedModel()
    content.ParseFromString(storage.read_bytes(storage.join(path, "saved_model.pb")))
    return content.meta_graphs[0]


def test_the_signatures_are_as_promised(path):
    """-1: not fixed. The first dimension is the batch's in all outputs, as the server's batching needs."""
    promised = {
        "serving_default": {"image_bytes": (tf.string, [-1]), "mask_bytes": (tf.string, [-1])},
        "probabilities": {"image_bytes": (tf.string, [1]), "probabilities": (tf.float32, [1, -1, -1, 3])},
        "tensor": {"images": (tf.uint8, [-1, -1, -1, 3]), "classes": (tf.uint8, [-1, -1, -1])},
    }
    found = saved_model(path).signature_def
    for name, tensors in promised.items():
        there = dict(found[name].inputs) | dict(found[name].outputs)
        assert tensors == {
            key: (tf.as_dtype(value.dtype), [dimension.size for dimension in value.tensor_shape.dim])
            for key, value in there.items()
        }


def test_nothing_is_compiled_by_xla_and_nothing_needs_python(path):
    graph = saved_model(path).graph_def
    assert graph.library.function
    for function in graph.library.function:
        compiled = [key for key, value in function.attr.items() if "xla" in key.lower() and value.b]
        assert compiled == [], function.signature.name
        assert not [node.op for node in function.node_def if "PyFunc" in node.op]


@pytest.fixture(scope="module")
def segmenter(small_resnet) -> keras.Model:
    """A real network whose batch normalisations are not as they start."""
    network = build_segmenter(algorithm="psp", backbone="resnet-18", num_classes=3)
    random = np.random.default_rng(5)
    for layer in [*network.layers, *network.get_layer("backbone").layers]:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, layer.gamma.shape) for _ in range(4)])
    return network


@pytest.mark.parametrize("precision, share", [("float32", 0.999), ("bfloat16", 0.95)])
def test_no_batch_normalisation_is_left_and_the_classes_are_the_networks(segmenter, tmp_path, precision, share):
    path = export.export(segmenter, LABELS, str(tmp_path), precision=precision)
    graph = saved_model(path).graph_def
    nodes = [node for function in graph.library.function for node in function.node_def]
    variables = [node.attr["shared_name"].s.decode() for node in graph.node if node.op == "VarHandleOp"]
    assert {"Rsqrt", "FusedBatchNormV3"}.isdisjoint(node.op for node in nodes)
    assert not [name for name in variables if "moving" in name or "gamma" in name]
    # Custom gradients, of which TensorFlow warns when it loads them.
    assert not [node.name for node in nodes if "_gradient_op_type" in node.attr]
    dilated = [list(node.attr["dilations"].list.i) for node in nodes if node.op == "Conv2D"]
    if precision == "bfloat16":  # in float32 they are Winograd's
        assert [1, 4, 4, 1] in dilated
        assert "SpaceToBatchND" not in {node.op for node in nodes}
    types = {node.attr["T"].type for node in nodes if node.op == "Conv2D"}
    # The classifier, a Conv2D like the others, is in float32.
    assert types == {tf.float32.as_datatype_enum, tf.as_dtype(precision).as_datatype_enum}
    tensor = tf.saved_model.load(path).signatures["tensor"]
    for height, width in ((1, 1), (33, 47), (64, 72)):
        image = records.decode_image(tf.constant(picture(1, height, width)))[None]
        same = tensor(images=image)["classes"].numpy() == np.argmax(segmenter(image, training=False), axis=-1)
        assert same.mean() >= share


@pytest.mark.parametrize(("laid_out", "precision"), [(True, "float32"), (False, "float32"), (True, "bfloat16")])
def test_an_export_holds_no_calls_that_are_to_stay_calls(tmp_path, monkeypatch, laid_out, precision):
    """Training's convolutions are such; not every converter follows them."""
    for dtype, way in convolution.WAYS.items():
        monkeypatch.setitem(convolution.WAYS, dtype, way._replace(channels=4))
    images = keras.Input((None, None, 3), dtype="uint8")
    x = convolution.Conv2D(4, 3, padding="same")(keras.layers.Rescaling(1 / 255)(images))
    x = convolution.Conv2D(4, 3, padding="same", on_processor=True)(x)
    network = keras.Model(images, keras.layers.Conv2D(3, 1)(x))
    called = tf.function(network).get_concrete_function(tf.TensorSpec([1, 8, 8, 3], tf.uint8))
    assert [function for function in called.graph.as_graph_def().library.function if "_noinline" in function.attr]
    path = export.export(network, LABELS, str(tmp_path), precision=precision, winograd=laid_out)
    functions = saved_model(path).graph_def.library.function
    assert functions and not [function for function in functions if "_noinline" in function.attr]


def test_a_network_whose_weights_change_in_between_is_not_exported(segmenter, tmp_path, monkeypatch):
    folded = export.folded

    def wrong(*arguments, **options):
        copy = folded(*arguments, **options)
        kernel = copy.get_layer("head_logits").kernel
        kernel.assign(-kernel)
        return copy

    monkeypatch.setattr(export, "folded", wrong)
    for precision in ("float32", "bfloat16"):
        with pytest.raises(RunError, match="computes something else than the network"):
            export.export(segmenter, LABELS, str(tmp_path), precision=precision)


# Runs where kseg and Keras cannot be imported, as on a machine that only serves. (None in sys.modules, not a finder
# that raises: TensorFlow 2.16 asks importlib.util.find_spec("keras") when it is imported, without importing it.)
SERVE = """
import sys
absent = ("kseg", "keras", "keras_cv", "tf_keras")
sys.modules.update(dict.fromkeys(absent))
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures["serving_default"]
encoded = [bytes.fromhex(word) for word in sys.argv[2:]]
for mask in served(image_bytes=tf.constant(encoded))["mask_bytes"].numpy():
    print(mask.hex())
assert all(sys.modules[name] is None for name in absent)
"""


def test_a_fresh_process_with_tensorflow_alone_serves_it(model, path):
    pictures = [picture(6, 20, 28), picture(7, 12, 9)]
    arguments = [sys.executable, "-c", SERVE, path, *(encoded.hex() for encoded in pictures)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for line, encoded in zip(done.stdout.split(), pictures, strict=True):
        np.testing.assert_array_equal(np.array(Image.open(io.BytesIO(bytes.fromhex(line)))), classes(model, encoded))


def test_labels_lie_beside_the_graph(path):
    assert LabelMap.from_dict(json.loads(storage.read_text(f"{path}/assets.extra/labels.json"))) == LABELS


def test_versions_count_up_and_are_never_overwritten(model, path, tmp_path):
    assert path.endswith("/new/1")
    assert export.export(model, LABELS, str(tmp_path), version=7) == str(tmp_path / "7")
    (tmp_path / "not_a_version").mkdir()
    assert export.export(model, LABELS, str(tmp_path)) == str(tmp_path / "8")
    before = (tmp_path / "7" / "saved_model.pb").stat().st_mtime_ns
    with pytest.raises(UsageError, match=r"--version=7: .* holds versions 7, 8; allowed: .* leave the flag out for 9"):
        export.export(model, LABELS, str(tmp_path), version=7)
    assert (tmp_path / "7" / "saved_model.pb").stat().st_mtime_ns == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["7", "8", "not_a_version"]


def test_a_version_that_appears_meanwhile_is_kept(tmp_path):
    with pytest.raises(tf.errors.OpError), storage.written_aside(str(tmp_path / "1"), replace=False) as aside:
        for folder in (aside, str(tmp_path / "1")):
            storage.write_text(f"{folder}/whose", folder)
    assert [entry.name for entry in tmp_path.iterdir()] == ["1"]
    assert (tmp_path / "1" / "whose").read_text() == str(tmp_path / "1")


def test_a_network_that_gives_no_numbers_is_not_exported(tmp_path):
    images = keras.Input((None, None, 3), dtype="uint8")
    layer = keras.layers.Conv2D(3, 1, bias_initializer=keras.initializers.Constant(np.nan))
    broken = keras.Model(images, layer(keras.layers.Rescaling(1 / 255)(images)))
    with pytest.raises(RunError, match="computes something else than the network"):
        export.export(broken, LABELS, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def prediction_log_class():
    """PredictionLog as far as it is used here, from the field numbers in TensorFlow Serving's .proto files."""
    fields = {  # message: {field: (number, its message; else bytes)}
        "ModelSpec": {"name": (1, None), "signature_name": (3, None)},
        "InputsEntry": {"key": (1, None), "value": (2, None)},
        "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "InputsEntry")},
        "PredictLog": {"request": (1, "PredictRequest")},
        "PredictionLog": {"predict_log": (6, "PredictLog")},
    }
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="serving.proto", package="serving", syntax="proto3")
    for message_name, members in fields.items():
        message = file.message_type.add(name=message_name)
        for name, (number, inner) in members.items():
            label = kinds.LABEL_REPEATED if name == "inputs" else kinds.LABEL_OPTIONAL
            kind = kinds.TYPE_MESSAGE if inner else kinds.TYPE_BYTES
            type_name = f".serving.{inner}" if inner else None
            message.field.add(name=name, number=number, type=kind, label=label, type_name=type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("serving.PredictionLog"))


def test_each_warm_up_request_parses_and_runs(path, signatures):
    requests = {}
    for record in tf.data.TFRecordDataset(f"{path}/assets.extra/tf_serving_warmup_requests").as_numpy_iterator():
        request = prediction_log_class().FromString(record).predict_log.request
        (entry,) = request.inputs
        requests[request.model_spec.signature_name.decode()] = (
            entry.key.decode(),
            tensor_pb2.TensorProto.FromString(entry.value),
        )
    assert set(requests) == {"serving_default", "probabilities", "tensor"}
    for name, (key, value) in requests.items():
        (output,) = signatures[name](**{key: tf.constant(tf.make_ndarray(value))}).values()
        assert len(output) == 1
