"""Files that are whole or not there."""

import importlib.util
import subprocess
import sys

import pytest
import tensorflow as tf

from kseg import storage
from kseg.errors import RunError


def test_write_and_read(tmp_path):
    path = str(tmp_path / "new" / "folder" / "a.txt")
    storage.write_text(path, "hä")
    assert storage.read_text(path) == "hä"
    assert storage.size(path) == 3
    assert storage.list_dir(str(tmp_path / "new" / "folder")) == ["a.txt"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), storage.written_aside(str(path)) as aside:
        with open(aside, "w") as file:
            file.write("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_and_is_never_replaced(tmp_path):
    target = tmp_path / "model"
    for content in ("first", "second"):
        try:
            with storage.written_aside(str(target), replace=False) as aside:
                storage.make_dirs(aside)
                storage.write_text(storage.join(aside, content), content)
        except tf.errors.OpError:
            assert content == "second"
    assert [child.name for child in target.iterdir()] == ["first"]
    assert [child.name for child in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", ["folder", "folder/", "new/"])
def test_a_folder_is_no_place_for_a_file(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("x")
    with pytest.raises(RunError, match="is a folder; expected the name of a file"):
        storage.write_text(f"{tmp_path}/{name}", "y")
    assert (tmp_path / "folder" / "thesis.txt").read_text() == "x"
    assert [child.name for child in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("path", ["foo://bucket/x", "S3://bucket/x", "gcs://bucket/x"])
def test_unknown_schemes_are_refused(path):
    with pytest.raises(RunError, match=r"unknown scheme .*; allowed: a local path, s3://"):
        storage.exists(path)


def test_errors_name_the_file(tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(RunError, match="missing: cannot be read"):
        storage.read_bytes(missing)
    with pytest.raises(RunError, match="missing: cannot list"):
        storage.list_dir(missing)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="file/below: cannot make"):
        storage.make_dirs(str(tmp_path / "file" / "below"))
    with pytest.raises(RunError, match="cannot"):
        storage.write_bytes(str(tmp_path / "file" / "below"), b"x")


def test_google_storage_needs_no_tensorflow_io():
    assert storage.prepare("gs://bucket/x") == "gs://bucket/x"
    assert "gs" in tf.io.gfile.get_registered_schemes()
    assert not storage.used_remote()


# A process of its own: tensorflow-io, once loaded, makes every command of a process leave by os._exit.
REMOTE = """
from kseg.command import launch
from kseg.config import ExportConfig

def run(config):
    from kseg import storage
    assert storage.prepare(config.run) == config.run
    return 3

launch("command", "", ExportConfig, run, ["command", "--run=s3://bucket/run", "--export_dir=e"])
"""


def test_remote_paths_need_tensorflow_io_and_keep_the_exit_status():
    done = subprocess.run([sys.executable, "-c", REMOTE], capture_output=True, text=True, check=False)
    if importlib.util.find_spec("tensorflow_io"):
        assert (done.returncode, done.stderr) == (3, "")
    else:
        assert done.returncode == 1
        assert "pip install -c constraints/tf-2.16.txt -e '.[io]'" in done.stderr
