"""Files made and used on the local disk, for a storage that is not: TensorFlow's ram:// here, a server in test_s3."""

import os

import pytest
import tensorflow as tf

from kseg import storage, transfer


def test_a_local_folder_is_used_as_it_is(tmp_path):
    place = str(tmp_path / "new" / "folder")
    with transfer.folder_made_locally(place) as here:
        assert here == place
        assert os.path.isdir(place)
    with transfer.brought_here(place) as here:
        assert here == place


def test_a_remote_folder_is_made_here_and_brought_here():
    with transfer.folder_made_locally("ram://made/folder") as here:
        for name, content in (("a", b"one"), ("b", bytes(100_000))):
            with open(os.path.join(here, name), "wb") as file:
                file.write(content)
        assert not tf.io.gfile.exists("ram://made/folder/a")
    assert not os.path.exists(here)
    assert storage.read_bytes("ram://made/folder/b") == bytes(100_000)
    with transfer.brought_here("ram://made/folder") as there:
        assert sorted(os.listdir(there)) == ["a", "b"]
        with open(os.path.join(there, "a"), "rb") as file:
            assert file.read() == b"one"
    assert not os.path.exists(there)


def test_a_block_that_fails_uploads_nothing():
    with pytest.raises(KeyError), transfer.folder_made_locally("ram://failed/folder") as here:
        open(os.path.join(here, "half"), "wb").close()
        raise KeyError
    assert not tf.io.gfile.exists("ram://failed/folder/half")


def test_a_file_is_made_here(tmp_path):
    for path in (str(tmp_path / "file"), "ram://single"):
        with transfer.made_locally(path) as here, open(here, "wb") as file:
            file.write(b"content")
        assert storage.read_bytes(path) == b"content"
