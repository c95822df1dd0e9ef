"""An S3 server (moto) in a process of its own, for tests of s3:// paths."""

import contextlib
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator

import pytest

BUCKET = "bucket"
ACCESS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}
# Looked for without importing it: tensorflow-io, once used, aborts the test process at its end.
needs_tensorflow_io = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_io") is None, reason="s3:// needs tensorflow-io, which this stack has not"
)


class S3Server:
    """A server with one bucket, empty at first.

    Attributes:
        environment: of processes that shall use it through tensorflow-io.
    """

    def __init__(self):
        command = [sys.executable, "-m", "moto.server", "--host=127.0.0.1", "--port=0"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self._log = []
        for line in self._process.stderr:
            self._log.append(line)
            if found := re.search(r"Running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            raise RuntimeError(f"the S3 server ended: {''.join(self._log)}")
        self._reader = threading.Thread(target=lambda: self._log.extend(self._process.stderr))
        self._reader.start()  # or the pipe would be full at some time, and the server wait
        self._endpoint = found[1]
        # tensorflow-io 0.37.1 takes "http" from here only, not from S3_USE_HTTPS=0.
        self.environment = os.environ | ACCESS | {"S3_ENDPOINT": self._endpoint, "TF_CPP_MIN_LOG_LEVEL": "3"}

        import boto3  # not at the top: it takes 0.4 s, where all tests are skipped too

        self._client = boto3.client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=ACCESS["AWS_REGION"],
            aws_access_key_id=ACCESS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=ACCESS["AWS_SECRET_ACCESS_KEY"],
        )
        self._client.create_bucket(Bucket=BUCKET)

    def put(self, key: str, content: bytes) -> None:
        """Makes the object s3://bucket/KEY."""
        self._client.put_object(Bucket=BUCKET, Key=key, Body=content)

    def upload(self, folder: pathlib.Path, prefix: str) -> None:
        """Copies the files of a local folder to s3://bucket/PREFIX/."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def content(self, prefix: str) -> dict[str, bytes]:
        """Every object below s3://bucket/PREFIX/: its name without the prefix -> its bytes."""
        listed = self._client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", [])
        found = {}
        for key in (entry["Key"] for entry in listed):
            found[key.removeprefix(f"{prefix}/")] = self._client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return found

    def requests(self) -> list[str]:
        """What was asked so far, as "GET /bucket/key"."""
        return re.findall(r'"(?:\x1b\[\d+m)*([A-Z]+ \S+) HTTP', "".join(self._log))

    def forbid(self) -> None:
        """From here on, asks for credentials that it knows; it knows none."""
        request = urllib.request.Request(f"{self._endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
        urllib.request.urlopen(request).close()

    def stop(self) -> None:
        """Ends it; no harm if it has ended."""
        self._process.terminate()
        self._process.wait()
        self._reader.join()
        self._process.stderr.close()


@contextlib.contextmanager
def s3_server() -> Iterator[S3Server]:
    """Starts a server on a free port, and ends it with the block."""
    server = S3Server()
    try:
        yield server
    finally:
        server.stop()
