"""What tensorflow-io 0.37.1 does not do right on s3://, done right for kseg.storage.

https://github.com/tensorflow/io/blob/v0.37.1/tensorflow_io/core/filesystems/s3/s3_filesystem.cc:

- Its Stat says "does not exist" to whatever went wrong: a bucket that is not there, wrong credentials, no connection.
- Its RenameFile moves every file whose name begins with the source's (a.txt along with a), fails for an empty file,
  does nothing and says nothing without a source, and copies files above 50 MiB in parts that it counts in float32,
  which loses the last bytes of some lengths.
- It asks two requests for every 512 KiB of a GFile, after two for its size; tf.io.read_file asks two for every MiB.
- tf.io.gfile.isdir asks everything twice, and rmtree nine requests a file.
"""

import os
import re

import tensorflow as tf

from kseg.errors import RunError

SCHEME = "s3://"
DEFAULTS = {
    # Of an endpoint that cannot be reached each request takes 2 s; with the SDK's old mode, its default here, 26 s.
    # Three attempts (AWS_MAX_ATTEMPTS) are what all newer SDKs make.
    "AWS_RETRY_MODE": "standard",
    # tensorflow-io waits 5 minutes for each attempt to connect to a machine that does not answer; the SDK itself, 1 s.
    "S3_CONNECT_TIMEOUT_MSEC": "3000",
}
# What TensorFlow puts around a message: "{{function_node __wrapped__ReadFile_device_…}} NoSuchBucket: … [Op:ReadFile]".
WRAPPING = re.compile(r"\{\{function_node .*?\}\}|\[Op:\w+\]")
DENIED = (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError)


def use_defaults() -> None:
    """Sets what `DEFAULTS` says where the environment does not; to be called before the first request."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def is_s3(path: str) -> bool:
    """Whether a path is of this scheme."""
    return path.startswith(SCHEME)


def look(path: str):
    """What tf.io.gfile.stat says of a file or folder; None where there is neither.

    Raises:
        RunError: if the bucket cannot be asked.
    """
    try:
        return tf.io.gfile.stat(path)
    except tf.errors.OpError as error:
        if why := reason(path, error):
            raise RunError(f"{path}: cannot be looked for: {why}") from None
        if isinstance(error, tf.errors.NotFoundError):
            return None
        raise RunError(f"{path}: cannot be looked for: {plain(error)}") from None


def reason(path: str, error: tf.errors.OpError) -> str | None:
    """Why `path` cannot be used, as far as its bucket, the credentials or the connection are the reason.

    Args:
        path: s3://BUCKET/….
        error: what it met.

    Returns:
        a text for a message, or None where the bucket answers and `error` is of another kind.
    """
    bucket = path.removeprefix(SCHEME).partition("/")[0]
    denied = "access denied; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of one who may "
    try:
        tf.io.gfile.stat(f"{SCHEME}{bucket}/")
    except tf.errors.NotFoundError:
        return f"there is no bucket {bucket}"
    except DENIED:
        return f"{denied}list the bucket {bucket}"
    except tf.errors.OpError as found:
        where = os.environ.get("S3_ENDPOINT", "Amazon's S3 (S3_ENDPOINT is not set)")
        region = os.environ.get("AWS_REGION", "not set")
        return f"no access to the bucket {bucket} at {where}: {plain(found) or 'refused'}; AWS_REGION is {region}"
    return f"{denied}do this" if isinstance(error, DENIED) else None


def plain(error: tf.errors.OpError) -> str:
    """The message of an error without what TensorFlow and the SDK put around it."""
    text = " ".join(WRAPPING.sub("", error.message).split()).strip(" :")
    return "no such file or folder" if isinstance(error, tf.errors.NotFoundError) else text


def read(path: str) -> bytes:
    """A whole file.

    Raises:
        tf.errors.OpError: if it cannot be read.
    """
    return tf.io.read_file(path).numpy()


def write(path: str, content: bytes) -> None:
    """Writes a whole file; S3 shows it only once it is whole.

    Raises:
        tf.errors.OpError: if it cannot be written.
    """
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)  # even if it is empty: without it tensorflow-io makes no object


def move(source: str, target: str, replace: bool = True) -> None:
    """Renames a file or a folder, which on S3 is a copy and not one step.

    Args:
        source: must be there.
        target: a folder there is never replaced.
        replace: whether a file at `target` is.

    Raises:
        tf.errors.OpError: if there is no source, `target` is not to be replaced, or a file cannot be moved.
        RunError: if the bucket cannot be asked.
    """
    there = look(target)
    if there is not None and (there.is_directory or not replace):
        raise tf.errors.AlreadyExistsError(None, None, f"{target} is there already")
    _move(source, target)


def _move(source: str, target: str) -> None:
    there = tf.io.gfile.stat(source)
    if there.is_directory:
        for name in tf.io.gfile.listdir(source):
            _move(f"{source.rstrip('/')}/{name.rstrip('/')}", f"{target.rstrip('/')}/{name.rstrip('/')}")
        return
    if there.length:
        tf.io.gfile.copy(source, target, overwrite=True)
    else:
        write(target, b"")
    copied = tf.io.gfile.stat(target).length
    if copied != there.length:
        raise tf.errors.DataLossError(None, None, f"{copied} of {there.length} bytes were copied to {target}")
    tf.io.gfile.remove(source)


def remove(path: str) -> None:
    """Deletes a file or folder if it is there.

    Raises:
        tf.errors.OpError: if it cannot be deleted.
        RunError: if the bucket cannot be asked.
    """
    there = look(path)
    if there is None:
        return
    if there.is_directory:
        path = f"{path.rstrip('/')}/"  # names the object that S3's console makes for a folder
        for name in tf.io.gfile.listdir(path):
            remove(path + name)
    tf.io.gfile.remove(path)
