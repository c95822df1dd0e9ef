"""A trained network as a SavedModel for TensorFlow Serving, with decoding and encoding inside the graph.

Signatures:
    serving_default  image_bytes string [N] (JPEG, PNG, BMP) -> mask_bytes string [N], PNG of the image's own size whose
                     pixels are class numbers. The images may have any sizes.
    probabilities    image_bytes string [1] -> probabilities float32 [1, H, W, C]. For servers that do not batch
                     requests: merged ones would have N > 1.
    tensor           images uint8 [N, H, W, 3] in RGB order -> classes uint8 [N, H, W].

Images are decoded by the same op as the training records: grey becomes RGB, alpha is dropped, EXIF orientation is not
looked at (turn photographs upright before sending them). Bytes that are no image fail with InvalidArgument, and with
them every picture of the same request or server-side batch.

All three run one network made for inference by kseg.models.folding: no batch normalisation, in float32 3x3 convolutions
by Winograd's method. Its weights stay variables: as constants each signature would hold its own copy once loaded, for
no speed in float32 and 3 to 13 % in bfloat16.
"""

import contextlib
import io
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from kseg import faults, records, storage, transfer
from kseg.errors import RunError, UsageError
from kseg.labels import SAVED_MODEL_LABELS, LabelMap
from kseg.models.folding import folded, is_float32

WARMUP_REQUESTS = "assets.extra/tf_serving_warmup_requests"  # where TensorFlow Serving looks for them
# Pictures of one request that are worked on at once, and the memory of that many activations. On 2 cores 1, 2 and 10
# take the same time, as does one batch of equal pictures; the second is decoded while the network works on the first.
PARALLEL_PICTURES = 2
# Largest difference of a probability that is still rounding. Folding, Winograd's transforms and the graph's
# optimisation after loading change the order of sums, which moves logits by up to 2e-5 of the largest; so allowed is
# this, or LOGIT_ROUNDING times the largest logit, at most BFLOAT16_TOLERANCE.
TOLERANCE, LOGIT_ROUNDING = 1e-3, 1e-4
# In bfloat16, of the model or the export: the largest mean difference over the picture. Its 8 bits through 50 layers
# move the logits by some percent of their range; single pixels between two classes may change sides, the mean stays.
BFLOAT16_TOLERANCE = 0.1


def export(
    model: keras.Model,
    labels: LabelMap,
    export_dir: str,
    *,
    version: int | None = None,
    warmup_size: int = 64,
    precision: str = "float32",
    winograd: bool = True,
) -> str:
    """Writes EXPORT_DIR/VERSION/, checked against the model before it appears under that name.

    A server that watches EXPORT_DIR sees a whole version or none; see `_appearing_whole`.

    Args:
        model: images uint8 [N, H, W, 3] -> logits float32 [N, H, W, C], any H and W.
        labels: its C classes; stored as assets.extra/labels.json.
        export_dir: folder of versions; made if need be.
        version: its number, >= 1; one more than the highest there if None.
        warmup_size: side in pixels of the picture of the warm-up requests; best that of real requests.
        precision, winograd: of kseg.models.folding.folded: the arithmetic, whatever the model's own is.

    Returns: path of the version.

    Raises:
        UsageError: if that version is there already.
        RunError: if it cannot be written, or computes something else than the model.
    """
    path = storage.join(export_dir, str(_free_version(export_dir, version)))
    picture = _warmup_picture(warmup_size)
    try:
        with _made(export_dir), _appearing_whole(path) as aside:
            _save(folded(model, precision, winograd=winograd), aside)
            storage.write_text(storage.join(aside, SAVED_MODEL_LABELS), labels.to_json())
            _write_warmup(storage.join(aside, WARMUP_REQUESTS), picture)
            _verify(model, aside, picture, exact=precision == "float32" and is_float32(model))
    except (tf.errors.OpError, OSError) as error:
        raise RunError(f"{path}: cannot be written: {faults.why(path, error)}") from None
    return path


@contextlib.contextmanager
def _appearing_whole(path: str) -> Iterator[str]:
    """Yields a folder to write and check a version in, which then becomes `path`.

    On a disk by its name. On s3:// no folder can be renamed: there saved_model.pb comes last, without which no server
    loads a version.
    """
    if "://" not in path:
        with storage.written_aside(path, replace=False) as aside:
            yield aside
        return
    try:
        with transfer.folder_made_locally(path, last="saved_model.pb") as here:
            yield here
    except BaseException:
        with contextlib.suppress(RunError):  # of a storage that cannot be reached: the first error says so
            storage.remove(path)
        raise


@contextlib.contextmanager
def _made(folder: str) -> Iterator[None]:
    """Makes a folder for what the block writes into it; one that was not there goes again if nothing comes to be."""
    is_new = not storage.exists(folder)
    storage.make_dirs(folder)
    try:
        yield
    except BaseException:
        with contextlib.suppress(RunError):  # of a storage that cannot be reached: the first error says so
            if is_new and storage.exists(folder) and not storage.list_dir(folder):
                storage.remove(folder)
        raise


def _free_version(export_dir: str, version: int | None) -> int:
    """The version to write: the one asked for if it is free, else the next number."""
    names = storage.list_dir(export_dir) if storage.exists(export_dir) else []
    there = sorted(int(name) for name in names if name.isdigit())
    following = there[-1] + 1 if there else 1
    if version in there:
        raise UsageError(
            f"--version={version}: {export_dir} holds versions {', '.join(map(str, there))}; allowed: a number that is "
            f"not there, or leave the flag out for {following}"
        )
    return following if version is None else version


def _save(model: keras.Model, path: str) -> None:
    served, signatures = _served(model)
    # Serving takes no gradients, so none need to be stored.
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(served, path, signatures=signatures, options=options)


def _served(model: keras.Model) -> tuple[tf.Module, dict[str, tf.types.experimental.GenericFunction]]:
    """A module that holds the model's variables, but no Keras object, and the signatures."""
    served = tf.Module()
    served.weights = [variable.value for variable in model.variables]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def network(images):
        return tf.cast(model(images, training=False), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")])
    def tensor(images):
        return {"classes": tf.cast(tf.argmax(network(images), axis=-1), tf.uint8)}

    def mask_png(encoded):
        classes = tensor(records.decode_image(encoded)[None])["classes"]
        return tf.io.encode_png(classes[0][..., None])

    # Picture by picture: TensorFlow Serving batches strings without looking into them, so the pictures of a call have
    # any sizes. On one canvas for all, convolutions would carry the padding into the pictures, and pooling over the
    # whole picture (PSP, DeepLab) would mix it in: a mask would depend on its batch mates.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def serving_default(image_bytes):
        output = tf.TensorSpec([], tf.string)
        masks = tf.map_fn(mask_png, image_bytes, fn_output_signature=output, parallel_iterations=PARALLEL_PICTURES)
        return {"mask_bytes": masks}

    @tf.function(input_signature=[tf.TensorSpec([1], tf.string, name="image_bytes")])
    def probabilities(image_bytes):
        return {"probabilities": tf.nn.softmax(network(records.decode_image(image_bytes[0])[None]))}

    return served, {"serving_default": serving_default, "probabilities": probabilities, "tensor": tensor}


def _warmup_picture(size: int) -> bytes:
    """A JPEG of size x size with all colours in it, so that a check on it sees a varied input."""
    ramp = np.linspace(0, 255, size).astype(np.uint8)
    rows, columns = np.meshgrid(ramp, ramp, indexing="ij")
    buffer = io.BytesIO()
    Image.fromarray(np.stack([rows, columns, 255 - rows // 2 - columns // 2], axis=-1)).save(buffer, "JPEG")
    return buffer.getvalue()


def _verify(model: keras.Model, path: str, picture: bytes, *, exact: bool) -> None:
    """Loads what was written and compares every signature with the model on one picture; RunError if they differ."""
    loaded = tf.saved_model.load(storage.prepare(path))
    encoded, image = tf.constant([picture]), records.decode_image(tf.constant(picture))[None]
    logits = tf.cast(model(image, training=False), tf.float32)
    want, largest = tf.nn.softmax(logits).numpy(), float(tf.reduce_max(tf.abs(logits)))
    probabilities = loaded.signatures["probabilities"](image_bytes=encoded)["probabilities"].numpy()
    classes = loaded.signatures["tensor"](images=image)["classes"].numpy()
    mask = tf.io.decode_png(loaded.signatures["serving_default"](image_bytes=encoded)["mask_bytes"][0]).numpy()
    differences = [np.abs(probabilities - want)]
    for chosen in (classes[0], mask[..., 0]):  # the class they chose may be another one of equal probability
        differences.append(want[0].max(axis=-1) - np.take_along_axis(want[0], chosen[..., None], -1)[..., 0])
    how, measure, allowed = "on average", np.mean, BFLOAT16_TOLERANCE
    if exact:
        how, measure, allowed = "at most", np.max, min(max(TOLERANCE, LOGIT_ROUNDING * largest), BFLOAT16_TOLERANCE)
    off = [measure(difference) for difference in differences]
    if not max(off) <= allowed:  # so that NaN fails too
        raise RunError(
            f"{path}: the written SavedModel computes something else than the network: its probabilities, classes and "
            f"masks are off by {', '.join(f'{value:.3g}' for value in off)} {how}; up to {allowed:g} is rounding"
        )


def _write_warmup(path: str, picture: bytes) -> None:
    """One warm-up request for each signature, as TFRecords of tensorflow.serving.PredictionLog."""
    images = records.decode_image(tf.constant(picture))[None].numpy()
    requests = {
        "serving_default": ("image_bytes", tf.make_tensor_proto([picture])),
        "probabilities": ("image_bytes", tf.make_tensor_proto([picture])),
        "tensor": ("images", tf.make_tensor_proto(images)),
    }
    with tf.io.TFRecordWriter(storage.prepare(path)) as writer:
        for signature, (name, value) in requests.items():
            writer.write(_prediction_log(signature, name, value.SerializeToString()))


def _prediction_log(signature: str, input_name: str, tensor: bytes) -> bytes:
    """A serialised PredictionLog{predict_log{request}} with one input.

    Written by hand, since tensorflow-serving-api would be a dependency for these few fields. Numbers are those of
    prediction_log.proto, predict.proto and model.proto in https://github.com/tensorflow/serving.
    """
    model_spec = _field(1, b"kseg") + _field(3, signature.encode())  # name, signature_name
    entry = _field(1, input_name.encode()) + _field(2, tensor)  # key, value of the map `inputs`
    request = _field(1, model_spec) + _field(2, entry)  # model_spec, inputs
    return _field(6, _field(1, request))  # predict_log, request


def _field(number: int, payload: bytes) -> bytes:
    """A length-delimited protocol buffer field: key, length as a varint, payload."""
    length, size = b"", len(payload)
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload
