import contextlib
import hashlib
import http.server
import os
import socket
import threading

import pytest
from kagglehub.cache import Cache
from kagglehub.handle import parse_model_handle

from kseg.errors import RunError
from kseg.models import published

CONTENT = b"weights " * 50_000
MD5 = hashlib.md5(CONTENT).hexdigest()
HANDLE = "keras/resnetv1/keras/resnet50_imagenet/2"


@contextlib.contextmanager
def server(content: bytes, status: int = 200):
    """Serves the same answer for every path on 127.0.0.1; yields its URL."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}/weights.h5"
        httpd.shutdown()


@contextlib.contextmanager
def silent_listener():
    """A port that takes connections and never answers; yields its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/weights.h5"


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return f"http://127.0.0.1:{port}/"


@pytest.mark.parametrize("backbone", ["resnet-50", "resnet-101", "resnet-152"])
def test_published_files_are_those_that_keras_knows(backbone):
    from keras.src.applications import resnet  # its only list of names and checksums

    name, md5 = published.PUBLISHED[backbone]
    short = backbone.replace("-", "")
    assert name == f"{short}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert (published.BASE_URL, md5) == (resnet.BASE_WEIGHTS_PATH, resnet.WEIGHTS_HASHES[short][1])


def test_without_network_the_message_says_how_to_go_on(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(published, "BASE_URL", closed_port())
    with pytest.raises(RunError) as caught:
        published.fetch_published("resnet-50")
    path = tmp_path / "models" / published.PUBLISHED["resnet-50"][0]
    message = str(caught.value)
    assert message.startswith(f"cannot fetch {published.BASE_URL}resnet50_weights")
    assert "refused" in message
    assert f"put that file at {path}" in message
    assert "--pretrained_weights=FILE" in message
    assert "--use_pretrained_model=False" in message
    assert os.listdir(path.parent) == []
    assert capfd.readouterr() == ("", "")


def test_fetch_downloads_once(tmp_path):
    path = str(tmp_path / "cache" / "weights.h5")
    with server(CONTENT) as url:
        assert published.fetch(url, path, MD5) == path
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert published.fetch(closed_port(), path, MD5) == path  # nobody is asked again
    assert os.listdir(tmp_path / "cache") == ["weights.h5"]


def test_damaged_file_in_the_cache_is_replaced(tmp_path):
    path = tmp_path / "weights.h5"
    path.write_bytes(CONTENT[:100])
    with server(CONTENT) as url:
        published.fetch(url, str(path), MD5)
    assert path.read_bytes() == CONTENT


def test_wrong_checksum_is_refused_and_not_kept(tmp_path):
    with server(b"something else") as url, pytest.raises(RunError) as caught:
        published.fetch(url, str(tmp_path / "weights.h5"), MD5)
    wrong = hashlib.md5(b"something else").hexdigest()
    assert f"{url} gave a file of md5 {wrong} instead of {MD5}. To go on without a network" in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_server_error_is_told(tmp_path):
    with (
        server(b"", status=404) as url,
        pytest.raises(RunError, match=r"cannot fetch .*: HTTP Error 404: Not Found. To"),
    ):
        published.fetch(url, str(tmp_path / "weights.h5"), MD5)


def test_connection_that_hangs_is_given_up(tmp_path):
    with (
        silent_listener() as url,
        pytest.raises(RunError, match=r"cannot fetch .*(0 bytes in 0.2 seconds|timed out). To"),
    ):
        published.fetch(url, str(tmp_path / "weights.h5"), MD5, stall_seconds=0.2)
    assert published.STALL_SECONDS <= 20


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file" / "weights.h5")
    with pytest.raises(RunError, match=rf"{path}: cannot be written: .*To go on"):
        published.fetch(closed_port(), path, MD5)


@pytest.fixture
def kaggle(tmp_path, monkeypatch):
    """kagglehub with an empty cache, its folder of HANDLE, and no network but what HTTPS_PROXY is set to."""
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HTTPS_PROXY", closed_port())
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache" / "models" / HANDLE


def test_preset_in_kagglehubs_cache_needs_no_network(kaggle, capfd):
    kaggle.mkdir(parents=True)
    (kaggle / "config.json").write_text('{"weights": "model.weights.h5"}')
    (kaggle / "model.weights.h5").write_bytes(CONTENT)
    for name in ("config.json", "model.weights.h5"):
        Cache().mark_as_complete(parse_model_handle(HANDLE), name)
    assert published.fetch_preset("resnet50_imagenet", HANDLE) == str(kaggle)
    assert capfd.readouterr() == ("", "")


def test_preset_without_network_is_told_in_one_line(kaggle, capfd):
    with pytest.raises(RunError) as caught:
        published.fetch_preset("resnet50_imagenet", HANDLE)
    message = str(caught.value)
    assert message.startswith(
        f"cannot fetch keras-cv's preset resnet50_imagenet from Kaggle ({HANDLE}): ProxyError: HTTPSConnectionPool("
    )
    for way in ("--pretrained_weights=FOLDER", "--pretrained_weights=FILE", "--use_pretrained_model=False"):
        assert way in message
    assert "\n" not in message
    assert capfd.readouterr() == ("", "")


def test_kaggle_that_hangs_is_given_up(kaggle, monkeypatch, capfd):
    with silent_listener() as url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(RunError, match=r"from Kaggle .*: 0 bytes in 0.2 seconds. To go on without a network"):
            published.fetch_preset("resnet50_imagenet", HANDLE, stall_seconds=0.2)
    assert capfd.readouterr() == ("", "")
