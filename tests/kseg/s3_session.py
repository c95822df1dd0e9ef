"""What kseg.storage does on s3://, three lines of JSON; for test_s3.py.

A process of its own, since tensorflow-io aborts the process that used it. After each line it waits for one on standard
input, while the test changes the server.
"""

import json
import os
import sys

import tensorflow as tf

from kseg import s3, storage, transfer
from kseg.errors import RunError

ROOT = "s3://bucket/made"
ODD = "ö + %41 #?&.bin"


def tried(function, *arguments):
    """The result, or what was raised."""
    try:
        return function(*arguments)
    except (RunError, tf.errors.OpError) as error:
        return f"{type(error).__name__}: {error}"


def tell(results: dict) -> None:
    print(json.dumps(results), flush=True)
    sys.stdin.readline()


def files() -> dict:
    """Writing, asking, listing, reading."""
    storage.make_dirs(f"{ROOT}/in/folder")
    storage.write_text(f"{ROOT}/in/folder/{ODD}", "hä")
    storage.write_bytes(f"{ROOT}/in/empty", b"")
    storage.write_bytes(f"{ROOT}/in/big", bytes(3_000_000) + b"end")
    big = storage.read_bytes(f"{ROOT}/in/big")
    return {
        "lists": [
            tried(storage.list_dir, path)
            for path in ("s3://bucket", "s3://bucket/", ROOT, f"{ROOT}/in/folder/", f"{ROOT}/in/fold", f"{ROOT}/in/big")
        ],
        "exists": [
            tried(storage.exists, path)
            for path in ("s3://bucket", f"{ROOT}/in/folder", f"{ROOT}/in/empty", f"{ROOT}/in/fold", f"{ROOT}/in/em")
        ],
        "is_dir": [
            tried(storage.is_dir, path)
            for path in ("s3://bucket", f"{ROOT}/in/folder", f"{ROOT}/in/empty", f"{ROOT}/in/fold")
        ],
        "sizes": [storage.size(f"{ROOT}/in/{name}") for name in (f"folder/{ODD}", "empty", "big")],
        "text": storage.read_text(f"{ROOT}/in/folder/{ODD}"),
        "empty": storage.read_bytes(f"{ROOT}/in/empty").decode(),
        "big": [len(big), big[-3:].decode()],
        "hashes": [storage.sha256(f"{ROOT}/in/{name}") for name in (f"folder/{ODD}", "big")],
        "missing": tried(storage.read_bytes, f"{ROOT}/in/fold"),
        "on_a_folder": tried(storage.write_text, f"{ROOT}/in/folder", "x"),
        "no_bucket": [
            tried(function, "s3://nothing/x")
            for function in (storage.exists, storage.is_dir, storage.list_dir, storage.read_bytes, storage.remove)
        ],
        "no_name": tried(storage.exists, "s3://"),
    }


def moves() -> dict:
    """Renaming, writing aside, what is made locally, removing."""
    for name in ("a", "ab", "a.txt", "other"):
        storage.write_text(f"{ROOT}/moved/{name}", name)
    storage.rename(f"{ROOT}/moved/a", f"{ROOT}/moved/{ODD}")
    storage.rename(f"{ROOT}/moved/ab", f"{ROOT}/moved/other")
    storage.write_bytes(f"{ROOT}/moved/nothing", b"")
    storage.rename(f"{ROOT}/moved/nothing", f"{ROOT}/moved/still nothing")
    for content in ("first", "second"):
        try:
            with storage.written_aside(f"{ROOT}/model", replace=False) as aside:
                storage.write_text(storage.join(aside, "part", content), content)
                storage.write_bytes(storage.join(aside, "empty"), b"")
        except tf.errors.AlreadyExistsError:
            assert content == "second"
    try:
        with storage.written_aside(f"{ROOT}/moved/other") as aside, tf.io.gfile.GFile(aside, "wb") as file:
            file.write(b"half")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    for name, content in (("local", "x" * 200_000), ("local_empty", "")):
        with transfer.made_locally(f"{ROOT}/{name}") as local:
            with open(local, "w") as file:
                file.write(content)
    for name in ("deep/er/file", "deep/file", "deeper"):
        storage.write_text(f"{ROOT}/{name}", name)
    storage.remove(f"{ROOT}/deep")
    storage.remove("s3://bucket/console/folder")  # a folder and a file in it that the test has put there
    storage.remove(f"{ROOT}/never")
    return {
        "no_source": tried(storage.rename, f"{ROOT}/never", f"{ROOT}/moved/other"),
        "onto_a_folder": tried(storage.rename, f"{ROOT}/moved/other", f"{ROOT}/model"),
    }


def aside(path: str) -> None:
    """Fails in the midst, where what is unfinished cannot be deleted either."""
    with storage.written_aside(path):
        raise RunError("the first error")


def failures() -> dict:
    return {
        name: tried(function, f"{ROOT}/in/big")
        for name, function in {
            "exists": storage.exists,
            "is_dir": storage.is_dir,
            "list_dir": storage.list_dir,
            "read_bytes": storage.read_bytes,
            "write_bytes": lambda path: storage.write_bytes(path, b"x"),
            "remove": storage.remove,
            "aside": aside,
        }.items()
    }


tell(files() | moves() | {"defaults": [os.environ[name] for name in s3.DEFAULTS]})
tell(failures())
tell(failures())
os._exit(0)
