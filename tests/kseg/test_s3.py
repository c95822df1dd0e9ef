"""kseg.storage on s3://, against a server."""

import hashlib
import json
import pathlib
import subprocess
import sys

import pytest
from s3_server import needs_tensorflow_io, s3_server

from kseg import s3

ODD = "ö + %41 #?&.bin"


@pytest.fixture(scope="module")
def session() -> dict:
    """What s3_session.py tells while the server works, forbids, and is gone; and what then lay in the bucket."""
    script = pathlib.Path(__file__).with_name("s3_session.py")
    with s3_server() as server:
        server.put("console/folder/", b"")  # as S3's console makes a folder
        server.put("console/folder/file", b"x")
        environment = server.environment | {"KSEG_STORAGE_PATIENCE": "0"}  # else it waits for a server that is gone
        process = subprocess.Popen(
            [sys.executable, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        with process:
            told = json.loads(process.stdout.readline())
            told["bucket"] = server.content("made")
            told["console"] = server.content("console")
            server.forbid()
            process.stdin.write("\n")
            process.stdin.flush()
            told["forbidden"] = json.loads(process.stdout.readline())
            server.stop()
            process.stdin.write("\n")
            process.stdin.flush()
            told["gone"] = json.loads(process.stdout.readline())
    assert process.returncode == 0
    return told


@needs_tensorflow_io
def test_folders_are_what_files_lie_in(session):
    *lists, part_of_a_name, a_file = session["lists"]
    assert lists == [["console", "made"], ["console", "made"], ["in"], [ODD]]
    no_folder = "cannot list this folder: no such file or folder"
    assert part_of_a_name == f"RunError: s3://bucket/made/in/fold: {no_folder}"
    assert a_file == f"RunError: s3://bucket/made/in/big: {no_folder}"
    assert session["exists"] == [True, True, True, False, False]
    assert session["is_dir"] == [True, True, False, False]


@needs_tensorflow_io
def test_content_comes_back(session):
    content = ["hä".encode(), bytes(3_000_000) + b"end"]
    assert session["text"] == "hä"
    assert session["empty"] == ""
    assert session["big"] == [3_000_003, "end"]
    assert session["sizes"] == [3, 0, 3_000_003]
    assert session["hashes"] == [hashlib.sha256(part).hexdigest() for part in content]
    assert [session["bucket"][f"in/{name}"] for name in (f"folder/{ODD}", "big")] == content


@needs_tensorflow_io
def test_a_move_takes_its_own_file_alone(session):
    """tensorflow-io's takes a.txt along with a, leaves empty files where they are, and needs no source."""
    moved = {key.removeprefix("moved/"): value for key, value in session["bucket"].items() if key.startswith("moved/")}
    assert moved == {ODD: b"a", "a.txt": b"a.txt", "other": b"ab", "still nothing": b""}
    assert session["no_source"].endswith("s3://bucket/made/never cannot be renamed to it: no such file or folder")
    assert session["onto_a_folder"].endswith("s3://bucket/made/model is there already")


@needs_tensorflow_io
def test_a_folder_appears_whole_and_is_never_replaced(session):
    made = {key: value for key, value in session["bucket"].items() if key.startswith(("model", "."))}
    assert made == {"model/part/first": b"first", "model/empty": b""}


@needs_tensorflow_io
def test_what_is_made_locally_is_uploaded(session):
    assert session["bucket"]["local"] == b"x" * 200_000
    assert session["bucket"]["local_empty"] == b""


@needs_tensorflow_io
def test_a_folder_is_removed_with_all_in_it_and_nothing_else(session):
    assert [key for key in session["bucket"] if key.startswith("deep")] == ["deeper"]
    assert session["console"] == {}


@needs_tensorflow_io
def test_errors_name_the_file_and_the_reason(session):
    assert session["missing"] == "RunError: s3://bucket/made/in/fold: cannot be read: no such file or folder"
    assert session["on_a_folder"].endswith("in/folder: is a folder; expected the name of a file")
    assert session["no_name"] == "RunError: s3://: names no bucket; expected s3://BUCKET/…"
    for message in session["no_bucket"]:
        assert message.startswith("RunError: s3://nothing/x: cannot be ") or "cannot list this folder" in message
        assert message.endswith(": there is no bucket nothing")


@needs_tensorflow_io
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("forbidden", "access denied; expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, of one"),
        ("gone", "no access to the bucket bucket at http://127.0.0.1:"),
    ],
)
def test_no_access_is_not_taken_for_no_file(session, state, reason):
    told = dict(session[state])
    assert told.pop("aside") == "RunError: the first error"
    assert list(told) == ["exists", "is_dir", "list_dir", "read_bytes", "write_bytes", "remove"]
    kind = {"forbidden": "RunError", "gone": "UnreachableError"}[state]
    for message in told.values():
        assert message.startswith(f"{kind}: s3://bucket/made/in/big: cannot ")
        assert reason in message
        assert "No response body" not in message


@needs_tensorflow_io
def test_waits_are_bounded_unless_the_environment_says_otherwise(session, monkeypatch):
    assert session["defaults"] == ["standard", "1", "3000", "3000"]
    for name in s3.DEFAULTS:
        monkeypatch.setenv(name, "own")
    s3.use_defaults()
    assert [s3.os.environ[name] for name in s3.DEFAULTS] == ["own"] * 4
