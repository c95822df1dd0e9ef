"""What tensorflow-io 0.37.1 does not do right on s3://, done right for kseg.storage.

https://github.com/tensorflow/io/blob/v0.37.1/tensorflow_io/core/filesystems/s3/s3_filesystem.cc:

- Its Stat says "does not exist" to whatever went wrong: a bucket that is not there, wrong credentials, no connection.
- Its RenameFile moves every file whose name begins with the source's (a.txt along with a), fails for an empty file,
  does nothing and says nothing without a source, and copies files above 50 MiB in parts that it counts in float32,
  which loses the last bytes of some lengths.
- It asks two requests for every 512 KiB of a GFile, after two for its size; tf.io.read_file asks two for every MiB.
- tf.io.gfile.isdir asks everything twice, and rmtree nine requests a file.
- Where no answer comes, a GFile that is written asks 8 times for it and tf.io.gfile.copy 15 times, each waiting as long
  (24 and 46 s for the 3 s below); tf.io.write_file 3 times.
"""

import os
import re

import tensorflow as tf

from kseg.errors import RunError, UnreachableError

SCHEME = "s3://"
NOT_THERE = "no such file or folder"
DEFAULTS = {
    # kseg.retries tries again, says so, and bounds the time of all requests together; by the SDK's old mode, its
    # default here, each request to an endpoint that refuses takes 26 s.
    "AWS_RETRY_MODE": "standard",
    "AWS_MAX_ATTEMPTS": "1",
    # tensorflow-io waits 5 minutes to connect to a machine that does not answer, and as long for the next byte of one
    # that stops; the SDK itself 1 s and 3 s.
    "S3_CONNECT_TIMEOUT_MSEC": "3000",
    "S3_REQUEST_TIMEOUT_MSEC": "3000",
}
# What TensorFlow puts around a message: "{{function_node __wrapped__ReadFile_device_…}} NoSuchBucket: … [Op:ReadFile]".
WRAPPING = re.compile(r"\{\{function_node .*?\}\}|\[Op:\w+\]( name: ?\S*)?")
# Errors, all tf.errors.UnknownError, of a connection or of a server that has too much to do.
PASSING = re.compile(r"curlCode|SlowDown|ServiceUnavailable|InternalError|RequestTimeout|Service Unavailable")
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
        why = failure(path, "cannot be looked for", error)
        if isinstance(error, tf.errors.NotFoundError) and str(why).endswith(NOT_THERE):
            return None
        raise why from None


def failure(path: str, what: str, error: tf.errors.OpError) -> RunError:
    """What to raise instead of an error.

    Args:
        path: s3://BUCKET/….
        what: could not be done with it.
        error: what it met.

    Returns:
        UnreachableError where there was no answer, or where tensorflow-io says that `path` is not there and it is.
    """
    away = _away(path, error) if isinstance(error, tf.errors.NotFoundError) else PASSING.search(error.message) and error
    if away:
        return UnreachableError(f"{path}: {what}: {_no_access(path, away)}")
    return RunError(f"{path}: {what}: {_reason(path, error) or plain(error)}")


def _away(path: str, error: tf.errors.NotFoundError) -> tf.errors.OpError | None:
    """What the storage met, if it was no answer that made `path` seem not to be there."""
    folder = "directory" in error.message  # a file of that name is none
    try:
        tf.io.gfile.stat(f"{_bucket(path)}/")
        if path.rstrip("/") not in error.message:  # but the source of what is renamed
            return None
        tf.io.gfile.stat(f"{path.rstrip('/')}/" if folder else path)
    except tf.errors.OpError as error:
        return error if PASSING.search(error.message) else None
    return tf.errors.UnavailableError(None, None, "no answer")


def _bucket(path: str) -> str:
    return SCHEME + path.removeprefix(SCHEME).partition("/")[0]


def _no_access(path: str, error: tf.errors.OpError) -> str:
    where = os.environ.get("S3_ENDPOINT", "Amazon's S3 (S3_ENDPOINT is not set)")
    region, bucket = os.environ.get("AWS_REGION", "not set"), _bucket(path).removeprefix(SCHEME)
    return f"no access to the bucket {bucket} at {where}: {plain(error) or 'refused'}; AWS_REGION is {region}"


def _reason(path: str, error: tf.errors.OpError) -> str | None:
    """Why `path` cannot be used, as far as its bucket or the credentials are the reason, else None."""
    bucket = _bucket(path).removeprefix(SCHEME)
    denied = "access denied; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of one who may "
    try:
        tf.io.gfile.stat(f"{SCHEME}{bucket}/")
    except tf.errors.NotFoundError:
        return f"there is no bucket {bucket}"
    except DENIED:
        return f"{denied}list the bucket {bucket}"
    except tf.errors.OpError as found:
        return _no_access(path, found)
    return f"{denied}do this" if isinstance(error, DENIED) else None


def plain(error: tf.errors.OpError) -> str:
    """The message of an error without what TensorFlow and the SDK put around it."""
    text = " ".join(WRAPPING.sub("", error.message).split()).strip(" :")
    return NOT_THERE if isinstance(error, tf.errors.NotFoundError) else text


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
    tf.io.write_file(path, content)


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
