"""TFRecord files read past damage. The file of four records is cut, flipped, emptied and filled at known places."""

import numpy as np
import pytest
import tensorflow as tf

from kseg.frames import read_frames

LENGTHS = [40, 1, 300, 5000]
STARTS = [0, 56, 73, 389]  # each frame is 16 bytes longer than its data
SIZE = 5405


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """A file of four records of random bytes."""
    path = str(tmp_path_factory.mktemp("frames") / "four")
    random = np.random.default_rng(0)
    with tf.io.TFRecordWriter(path) as writer:
        for length in LENGTHS:
            writer.write(random.bytes(length))
    with open(path, "rb") as file:
        return file.read()


@pytest.fixture
def frames_of(tmp_path):
    """Content -> its frames, that together are every byte of it."""

    def read(content: bytes):
        (tmp_path / "file").write_bytes(content)
        frames = list(read_frames(str(tmp_path / "file")))
        assert [frame.offset for frame in frames] == np.cumsum([0] + [frame.size for frame in frames])[:-1].tolist()
        assert sum(frame.size for frame in frames) == len(content)
        return frames

    return read


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_what_tensorflow_wrote(content, frames_of):
    frames = frames_of(content)
    assert len(content) == SIZE
    assert [frame.offset for frame in frames] == STARTS
    random = np.random.default_rng(0)
    assert [frame.data for frame in frames] == [random.bytes(length) for length in LENGTHS]
    assert {(frame.fault, frame.measured) for frame in frames} == {(None, True)}


@pytest.mark.parametrize("place", [73 + 12, 73 + 12 + 299, 73 + 12 + 300, 388])
def test_data_or_its_checksum_with_a_flipped_bit(content, frames_of, place):
    frames = frames_of(flipped(content, place))
    assert [frame.offset for frame in frames] == STARTS
    assert [frame.fault for frame in frames] == [None, None, "damaged: its checksum is not that of its bytes", None]
    assert frames[2].measured and len(frames[2].data) == 300


@pytest.mark.parametrize("place", [56, 63, 64, 67])
def test_a_header_with_a_flipped_bit_loses_its_frame_only(content, frames_of, place):
    frames = frames_of(flipped(content, place))
    assert [frame.offset for frame in frames] == STARTS
    assert [frame.data is None for frame in frames] == [False, True, False, False]
    assert frames[1].fault == "no record can be made out in these 17 bytes" and not frames[1].measured


@pytest.mark.parametrize(("end", "there"), [(400, None), (401, 0), (402, 1), (SIZE - 1, 5003)])
def test_a_cut_file(content, frames_of, end, there):
    frames = frames_of(content[:end])
    assert [frame.fault for frame in frames[:3]] == [None] * 3
    if there is None:
        assert frames[3].fault == "no record can be made out in these 11 bytes"
    else:
        assert (
            frames[3].fault == f"cut off: {there} of 5004 bytes are there" and frames[3].data == content[401:end][:5000]
        )
    assert len(frames) == 4 and not frames[3].measured


def test_bytes_taken_out_lose_what_they_belonged_to(content, frames_of):
    frames = frames_of(content[:60] + content[380:])  # from within the second record to within the third
    assert [frame.fault is None for frame in frames] == [True, False, True]
    assert frames[2].data == content[401:5401]
    frames = frames_of(content[:100] + content[110:])
    assert [frame.fault for frame in frames] == [None, None, "cut off: 294 of 304 bytes are there", None]
    assert frames[2].data == content[85:100] + content[110:389] and not frames[2].measured


def test_bytes_put_in_lose_what_they_belong_to(content, frames_of):
    frames = frames_of(content[:100] + b"12345" + content[100:])
    assert [frame.offset for frame in frames] == [0, 56, 73, 389, 394]
    assert [frame.data is None for frame in frames] == [False, False, False, True, False]
    assert frames[4].fault is None and frames[4].data == content[401:5401]


def test_headers_are_found_across_blocks(content, frames_of, monkeypatch):
    monkeypatch.setattr("kseg.frames.BLOCK", 13)
    frames = frames_of(b"\0" * 50 + content[:-1] + content)
    assert [frame.fault is None for frame in frames] == [False, True, True, True, False, True, True, True, True]


@pytest.mark.parametrize("content", [b"1", b"\0" * 1000, b"text " * 1000], ids=["short", "zeros", "text"])
def test_what_is_no_tfrecord_is_one_stretch(frames_of, content):
    (frame,) = frames_of(content)
    assert frame.data is None and frame.fault == f"no record can be made out in these {len(content)} bytes"


def test_an_empty_file_has_no_frames_and_a_missing_one_is_an_error(frames_of, tmp_path):
    assert frames_of(b"") == []
    with pytest.raises(tf.errors.NotFoundError):
        list(read_frames(str(tmp_path / "none")))
