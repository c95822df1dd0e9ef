"""Published weights: where they are, their download, the caches that keep them, checksums.

keras.applications' files come by HTTP into Keras' cache, keras-cv's presets through kagglehub into its own.

A failure must be told within 30 seconds, however it fails: looking up the name and each of the host's addresses have
time limits of their own that add up to minutes (kagglehub has none at all), so every transfer is watched from outside.
"""

import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from contextlib import ExitStack

from kseg.errors import RunError
from kseg.progress import bar

BASE_URL = "https://storage.googleapis.com/tensorflow/keras-applications/resnet/"
# backbone: (file, md5) as in keras/src/applications/resnet.py, the files without the classifier; 95, 171 and 235 MB
PUBLISHED = {
    "resnet-50": ("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet-101": ("resnet101_weights_tf_dim_ordering_tf_kernels_notop.h5", "88cf7a10940856eca736dc7b7e228a21"),
    "resnet-152": ("resnet152_weights_tf_dim_ordering_tf_kernels_notop.h5", "ee4c566cf9a93f14d82f913c2dc6dd0c"),
}
STALL_SECONDS = 15.0  # building the network, before the transfer, takes up to 10 s more
STALL_BYTES = 60_000  # fewer than these in STALL_SECONDS count as nothing
CHUNK_BYTES = 1 << 16
# Run by another interpreter: kagglehub writes its files straight into its cache, prints to both streams, and a
# connection that hangs can only be ended with its process. It goes on with a file that was left unfinished.
KAGGLE_PROGRAM = """
import json, sys
sys.excepthook = lambda kind, error, _: print("\\n" + " ".join(f"{kind.__name__}: {error}".split()), file=sys.stderr)
import kagglehub
config = kagglehub.model_download(sys.argv[1], "config.json")
with open(config) as file:
    weights = json.load(file).get("weights")
if weights:
    kagglehub.model_download(sys.argv[1], weights)
print("\\n" + config)
"""


def fetch_published(backbone: str) -> str:
    """The path of keras.applications' file for a key of PUBLISHED, downloaded if need be; RunError like `fetch`."""
    name, md5 = PUBLISHED[backbone]
    return fetch(BASE_URL + name, os.path.join(cache_folder(), name), md5)


def cache_folder() -> str:
    """Keras' own cache of weights, so that a file is downloaded once for both: ~/.keras/models, or under KERAS_HOME."""
    return os.path.join(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "models")


def md5_of(path: str) -> str:
    """The md5 of a file in hexadecimal; a checksum against damage, not against malice."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


class _HttpTransfer(threading.Thread):
    """Writes what a URL gives to a file, in the background, because no timeout covers the whole of a transfer."""

    def __init__(self, url: str, path: str, stall_seconds: float):
        super().__init__(daemon=True)  # one that hangs must not keep the process alive
        self.url, self.path, self.stall_seconds = url, path, stall_seconds
        self.received, self.total, self.error, self.given_up = 0, 0, "", False

    def run(self):
        try:
            response = urllib.request.urlopen(self.url, timeout=self.stall_seconds)
            if self.given_up:  # nobody would remove the file now
                return
            with response, open(self.path, "wb") as file:
                self.total = int(response.headers.get("Content-Length") or 0)
                while not self.given_up and (chunk := response.read(CHUNK_BYTES)):
                    file.write(chunk)
                    self.received += len(chunk)
        except (OSError, http.client.HTTPException) as error:
            self.error = str(error) or type(error).__name__

    def ended_within(self, seconds: float) -> bool:
        self.join(seconds)
        return not self.is_alive()

    def give_up(self) -> None:
        self.given_up = True


class _KaggleTransfer:
    """The download of a preset into kagglehub's cache by another process."""

    total = 0  # kagglehub keeps it to itself

    def __init__(self, handle: str, streams: ExitStack):
        cache = os.environ.get("KAGGLEHUB_CACHE") or os.path.expanduser("~/.cache/kagglehub")
        self.folder = os.path.join(cache, "models", handle)
        self.before = self._size()
        self.output, self.errors = (
            streams.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in range(2)
        )
        command = [sys.executable, "-c", KAGGLE_PROGRAM, handle]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.errors)
        streams.callback(self.give_up)

    def _size(self) -> int:
        try:
            return sum(entry.stat().st_size for entry in os.scandir(self.folder))
        except OSError:  # not there yet, or a file was removed since it was listed
            return 0

    @property
    def received(self) -> int:
        return max(0, self._size() - self.before)

    def ended_within(self, seconds: float) -> bool:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def give_up(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def error(self) -> str:
        return self._last_line(self.errors) if self.process.returncode else ""

    @property
    def result(self) -> str:
        """The path of config.json."""
        return self._last_line(self.output)

    @staticmethod
    def _last_line(stream) -> str:
        stream.seek(0)
        return (stream.read().strip().splitlines() or ["no message"])[-1]


def _watch(transfer: _HttpTransfer | _KaggleTransfer, name: str, stall_seconds: float) -> str:
    """Waits for the end, with a progress bar once something arrives; returns what went wrong, or ""."""
    marked, since, shown = 0, time.monotonic(), None
    with ExitStack() as stack:
        while not transfer.ended_within(0.1):
            received = transfer.received
            if received and shown is None:
                shown = stack.enter_context(bar(0, "MB", name))
            if shown is not None:
                shown.total = transfer.total // 1_000_000
                shown.update(received // 1_000_000 - shown.n)
            if received - marked >= STALL_BYTES:
                marked, since = received, time.monotonic()
            elif time.monotonic() - since > stall_seconds:
                transfer.give_up()
                return f"{received - marked} bytes in {stall_seconds:g} seconds"
    return transfer.error


def fetch(url: str, path: str, md5: str, *, stall_seconds: float = STALL_SECONDS) -> str:
    """Returns `path`, holding the file of that checksum, downloaded if it is not there yet.

    Args:
        url: where the file is published.
        path: where it is kept; a file there with another checksum is replaced.
        md5: in hexadecimal.
        stall_seconds: how long a transfer may bring next to nothing before it is given up.

    Raises:
        RunError: within 30 seconds of the last byte, saying why and how to go on without a network.
    """
    advice = (
        f"To go on without a network: put that file at {path}, or pass --pretrained_weights=FILE, "
        "or start from random weights with --use_pretrained_model=False"
    )
    aside = f"{path}.{uuid.uuid4().hex[:8]}.part"
    try:
        if os.path.exists(path) and md5_of(path) == md5:
            return path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        transfer = _HttpTransfer(url, aside, stall_seconds)
        transfer.start()
        problem = _watch(transfer, os.path.basename(url), stall_seconds)
        if problem:
            raise RunError(f"cannot fetch {url}: {problem}. {advice}")
        if md5_of(aside) != md5:
            raise RunError(f"{url} gave a file of md5 {md5_of(aside)} instead of {md5}. {advice}")
        os.replace(aside, path)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error}. {advice}") from None
    finally:
        if os.path.exists(aside):
            os.remove(aside)
    return path


def fetch_preset(name: str, handle: str, *, stall_seconds: float = STALL_SECONDS) -> str:
    """The local folder of a keras-cv preset, downloaded from Kaggle if it is not in kagglehub's cache.

    Args:
        name: of the preset, for messages.
        handle: what kagglehub calls it, "keras/resnetv1/keras/resnet50_imagenet/2".
        stall_seconds: like `fetch`; kagglehub writes 1 MiB at once, so this wants at least 1 MiB in that time.

    Raises:
        RunError: like `fetch`.
    """
    with ExitStack() as streams:
        transfer = _KaggleTransfer(handle, streams)
        problem = _watch(transfer, name, stall_seconds)
        if problem:
            raise RunError(
                f"cannot fetch keras-cv's preset {name} from Kaggle ({handle}): {problem}. "
                "To go on without a network: pass --pretrained_weights=FOLDER with a copy of the preset's config.json "
                "and model.weights.h5, or --pretrained_weights=FILE, or start from random weights with "
                "--use_pretrained_model=False"
            )
        return os.path.dirname(transfer.result)
