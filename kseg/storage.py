"""All file access, local or remote (s3://, gs://), and writes that are either whole or not there."""

import contextlib
import functools
import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator

import tensorflow as tf

from kseg import faults, retries, s3
from kseg.errors import RunError

REMOTE_SCHEMES = ("s3", "gs", "hdfs", "http", "https")
BUILT_IN_SCHEMES = ("file", "ram", "gs")  # TensorFlow's own, 2.21's too; the others are tensorflow-io's


@functools.cache
def _register_remote(scheme: str) -> bool:
    """Loads tensorflow-io once, which teaches tf.io.gfile its schemes."""
    s3.use_defaults()
    try:
        import tensorflow_io  # noqa: F401  (imported for its side effect, on first use: it takes seconds)
    except (ImportError, NotImplementedError):
        raise RunError(
            f"{scheme}:// paths need tensorflow-io, which runs with TensorFlow 2.16.2 only: in kseg's folder, "
            "pip install -c constraints/tf-2.16.txt -e '.[io]'"
        ) from None
    return True


def used_remote() -> bool:
    """Whether tensorflow-io was loaded in this process (it aborts at interpreter exit; see kseg.command)."""
    return _register_remote.cache_info().currsize > 0


def prepare(path: str) -> str:
    """Returns `path` as a str, with its scheme ready to use.

    Raises:
        RunError: for an unknown scheme, a remote one without tensorflow-io, or s3:// without a bucket.
    """
    path = os.fspath(path)
    scheme, separator, rest = path.partition("://")
    if not separator or scheme in BUILT_IN_SCHEMES:
        return path
    if scheme not in REMOTE_SCHEMES:
        known = ", ".join(f"{name}://" for name in REMOTE_SCHEMES)
        raise RunError(f"{path}: unknown scheme {scheme}://; allowed: a local path, {known}")
    _register_remote(scheme)
    if s3.is_s3(path):
        bucket, slash, _ = rest.partition("/")
        if not bucket:
            raise RunError(f"{path}: names no bucket; expected s3://BUCKET/…")
        return path if slash else f"{path}/"  # tensorflow-io finds no bucket without the slash
    return path


@contextlib.contextmanager
def naming(what: str, path: str) -> Iterator[None]:
    """Turns tf.errors.OpError inside the block into a RunError that says what could not be done with `path`."""
    try:
        yield
    except tf.errors.OpError as error:
        if s3.is_s3(path) and not faults.of_disk(error):
            raise s3.failure(path, what, error) from None
        raise RunError(f"{path}: {what}: {faults.why(path, error)}") from None


def _persistent(function: Callable) -> Callable:
    """A function of a path, tried again while s3:// gives no answer."""

    @functools.wraps(function)
    def call(path: str, *arguments, **keywords):
        attempt = functools.partial(function, path, *arguments, **keywords)
        return retries.retried(attempt) if s3.is_s3(os.fspath(path)) else attempt()

    return call


@_persistent
def exists(path: str) -> bool:
    """Whether a file or folder is there; raises RunError if the storage cannot be asked."""
    path = prepare(path)
    if s3.is_s3(path):
        return s3.look(path) is not None
    with naming("cannot be looked for", path):
        return tf.io.gfile.exists(path)


@_persistent
def is_dir(path: str) -> bool:
    """Whether `path` is a folder; raises RunError if a remote storage cannot be asked."""
    path = prepare(path)
    if s3.is_s3(path):
        there = s3.look(path)
        return there is not None and there.is_directory
    there = tf.io.gfile.isdir(path)
    if not there and "://" in path:
        exists(path)  # raises what isdir takes for no
    return there


@_persistent
def size(path: str) -> int:
    """Bytes in a file; raises tf.errors.OpError if there is none (RunError on s3://)."""
    path = prepare(path)
    if s3.is_s3(path):
        with naming("cannot be looked for", path):
            return tf.io.gfile.stat(path).length
    return tf.io.gfile.stat(prepare(path)).length


def make_dirs(path: str) -> None:
    """Makes a folder and its parents; no harm if it is there. On s3:// a folder is there as long as a file is in it.

    Raises:
        RunError: naming the folder, if it cannot be made.
    """
    path = prepare(path)
    if not s3.is_s3(path):
        with naming("cannot make this folder", path):
            tf.io.gfile.makedirs(path)


@_persistent
def list_dir(path: str) -> list[str]:
    """Sorted names in a folder, without the trailing slashes that remote ones have.

    Raises:
        RunError: naming the folder, if it cannot be listed.
    """
    path = prepare(path)
    try:
        with naming("cannot list this folder", path):
            return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(path))
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: the file name {error.object!r} there is not UTF-8; rename it") from None


@_persistent
def read_bytes(path: str) -> bytes:
    """A whole file.

    Raises:
        RunError: naming the file, if it cannot be read.
    """
    path = prepare(path)
    with naming("cannot be read", path):
        if s3.is_s3(path):
            return s3.read(path)
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()


def read_text(path: str) -> str:
    """A whole UTF-8 file; raises RunError like `read_bytes`."""
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path}: not UTF-8 text: {error}") from None


def join(*parts: str) -> str:
    """Path of a thing inside a folder, local or remote."""
    return os.path.join(*parts)


def is_unfinished(name: str) -> bool:
    """Whether a file name is one that `written_aside` gives to what is not whole yet."""
    return re.fullmatch(r"\..+\.[0-9a-f]{8}\.part(\..*)?", name) is not None


def remove_unfinished(folder: str) -> None:
    """Deletes what killed processes left unfinished in a folder; there must be no other process writing into it."""
    for name in list_dir(folder) if exists(folder) else []:
        if is_unfinished(name):
            remove(join(folder, name))


@contextlib.contextmanager
def written_aside(path: str, replace: bool = True) -> Iterator[str]:
    """Yields a temporary path beside `path` and renames it to `path` if the block ends well.

    A reader therefore sees the old file, or the whole new file or folder. The temporary name starts with a dot and
    ends in .part, so no reader takes it for a result, and it keeps the extension that writers look at. A file at
    `path` is replaced; a folder there, or with replace=False a file, is kept and tf.errors.OpError raised.
    """
    folder, name = os.path.split(prepare(path))
    stem, extension = os.path.splitext(name)
    aside = os.path.join(folder, f".{stem}.{uuid.uuid4().hex[:8]}.part{extension}")
    try:
        yield aside
        _rename(aside, path, replace)
    except BaseException:
        with contextlib.suppress(RunError):  # of a storage that cannot be reached: the first error says so
            remove(aside)
        raise


def _rename(source: str, target: str, replace: bool) -> None:
    if s3.is_s3(target):
        s3.move(source, target, replace)
    else:
        tf.io.gfile.rename(source, target, overwrite=replace)


def rename(source: str, target: str) -> None:
    """Moves a file, replacing the one at `target`; in one step on a local disk.

    Raises:
        RunError: naming both, if it cannot be moved.
    """
    with naming(f"{source} cannot be renamed to it", target):
        _rename(prepare(source), prepare(target), replace=True)


@_persistent
def sha256(path: str) -> str:
    """SHA-256 of a file in hexadecimal, read by blocks of 4 MiB.

    Raises:
        tf.errors.OpError: if it cannot be read; RunError on s3://.
    """
    digest, remote = hashlib.sha256(), s3.is_s3(os.fspath(path))
    with naming("cannot be read", path) if remote else contextlib.nullcontext():
        with tf.io.gfile.GFile(prepare(path), "rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@_persistent
def remove(path: str) -> None:
    """Deletes a file or folder if it is there.

    Raises:
        RunError: naming it, if it cannot be deleted.
    """
    path = prepare(path)
    with naming("cannot be deleted", path):
        if s3.is_s3(path):
            s3.remove(path)
        elif tf.io.gfile.isdir(path):
            tf.io.gfile.rmtree(path)
        elif tf.io.gfile.exists(path):
            tf.io.gfile.remove(path)


def refuse_folder(path: str) -> None:
    """Raises RunError if `path`, where a file shall be written, is a folder."""
    if path.endswith("/") or is_dir(path):
        raise RunError(f"{path}: is a folder; expected the name of a file")


@_persistent
def write_bytes(path: str, content: bytes) -> None:
    """Writes a whole file aside and renames it, making its folder if need be; on s3:// no other way is needed.

    Raises:
        RunError: naming the file, if it cannot be written.
    """
    refuse_folder(path)
    make_dirs(os.path.dirname(path) or ".")
    try:
        with naming("cannot be written", path):
            if s3.is_s3(path):
                s3.write(path, content)
                return
            with written_aside(path) as aside, tf.io.gfile.GFile(aside, "wb") as file:
                file.write(content)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {faults.why(path, error)}") from None


def write_text(path: str, content: str) -> None:
    """`write_bytes` of UTF-8 text."""
    write_bytes(path, content.encode("utf-8"))
