"""Pieces of a file; against a server in test_s3.py."""

import pytest
import tensorflow as tf

from kseg import pieces, retries
from kseg.errors import UnreachableError
from kseg.pieces import Pieces


def test_any_piece_in_any_order(tmp_path):
    (tmp_path / "file").write_bytes(bytes(range(100)))
    with Pieces(str(tmp_path / "file")) as file:
        assert [file.read(*at) for at in ((90, 20), (0, 2))] == [bytes(range(90, 100)), b"\0\1"]


def test_what_is_not_there_is_an_error_when_it_is_read(tmp_path):
    with Pieces(str(tmp_path / "none")) as file, pytest.raises(tf.errors.NotFoundError):
        file.read(0, 1)


def test_after_no_answer_the_file_is_opened_anew(tmp_path, monkeypatch):
    """TensorFlow's file object may go on to say what it met once."""
    (tmp_path / "file").write_bytes(b"content")
    opened, gfile = [], tf.io.gfile.GFile

    class Failing(gfile):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            opened.append(self)

        def read(self, count):
            if len(opened) < 3:
                raise UnreachableError("no answer")
            return super().read(count)

    monkeypatch.setattr(tf.io.gfile, "GFile", Failing)
    monkeypatch.setattr(pieces.s3, "is_s3", lambda path: True)
    outage = retries.Outage(sleep=lambda seconds: None)
    outage.retried(lambda: None)
    monkeypatch.setattr(retries, "retried", outage.retried)
    with Pieces(str(tmp_path / "file")) as file:
        assert file.read(3, 2) == b"te"
    assert len(opened) == 3
