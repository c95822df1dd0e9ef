"""What counts as a whole picture file."""

import io
import os
import socket

import numpy as np
import pytest
from drawn import adam7_rows, chunk, png, rows
from hostile_png import chunk_faults
from PIL import Image

from data_tools import reading
from data_tools.reading import PictureError, decoding, open_picture, read_file

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def jpeg(**options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def read(data: bytes) -> tuple[int, int]:
    with decoding("JPEG"):
        image = open_picture(data, ("JPEG",))
        image.load()
    return image.size


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_whole_jpegs(options):
    assert read(jpeg(**options)) == (32, 24)


@pytest.mark.parametrize("tail", [b"\0" * 9, b"maker \xff\xda\xff data", b"\xff\xd8\xff\xda" + b"\x11" * 99])
def test_what_stands_behind_the_end_does_not_matter(tail):
    """Phones append films, makers their own data, which may look like the start of another scan."""
    assert read(jpeg() + tail) == (32, 24)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_jpeg_without_its_end_is_truncated(share):
    data = jpeg()
    with pytest.raises(PictureError, match="truncated or damaged"):
        read(data[: int(len(data) * share)])


def test_the_end_of_a_thumbnail_is_not_the_pictures():
    """A whole JPEG inside the header (APP1, as EXIF has it) of one that is cut off."""
    thumbnail = jpeg()
    whole = jpeg()
    header = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + header + whole[2:]
    assert read(with_thumbnail) == (32, 24)
    with pytest.raises(PictureError, match="truncated or damaged"):
        read(with_thumbnail[:-2])


def test_refuses_an_empty_a_missing_file_and_a_folder(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(PictureError, match="an empty file"):
        read_file(str(tmp_path / "empty.jpg"))
    with pytest.raises(PictureError, match=r"cannot be read \(No such file"):
        read_file(str(tmp_path / "none.jpg"))
    with pytest.raises(PictureError, match=r"cannot be read \(Is a directory"):
        read_file(str(tmp_path))


def test_refuses_what_is_no_regular_file_without_waiting_for_it(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        with pytest.raises(PictureError, match="not a regular file"):
            read_file(str(path))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.png"))
        with pytest.raises(PictureError, match="cannot be read"):
            read_file(str(tmp_path / "s.png"))


def test_refuses_names_that_no_file_can_have_and_loops(tmp_path):
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name in ("a\0b.png", "half \ud800 pair.png", "loop.png", "x" * 300):
        with pytest.raises(PictureError, match="cannot be read"):
            read_file(str(tmp_path / name))


def test_refuses_files_too_large_for_a_picture(tmp_path):
    path = tmp_path / "hole.tif"
    path.touch()
    os.truncate(path, reading.LARGEST + 1)
    with pytest.raises(PictureError, match=r"1073741825 bytes; expected at most 1073741824"):
        read_file(str(path))


def test_a_damaged_header_is_told_apart_from_no_picture():
    with pytest.raises(PictureError, match=r"truncated or damaged \(its JPEG header cannot be read\)"):
        read(jpeg()[:30] + bytes(600))
    with pytest.raises(PictureError, match="not a readable picture; expected JPEG"):
        read(bytes(600))


def picture(height: int, bits: int, color_type: int, interlaced: bool, lost: int = 0) -> bytes:
    """A PNG of 7 columns whose last row is zeros, so that it could be one that is not there, without its last bytes."""
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[color_type] * bits / 8
    array = np.zeros((height, 7), np.uint8) if channels == 1 else np.zeros((height, 7, int(channels)), np.uint8)
    lines = adam7_rows(array) if interlaced else rows(array)
    if bits < 8:
        lines = bytes(height * (1 + -(-7 * bits // 8)))
    palette = chunk(b"PLTE", bytes(48)) if color_type == 3 else b""
    return png(7, height, bits, color_type, lines[: len(lines) - lost], interlaced, palette)


@pytest.mark.parametrize(
    ("bits", "color_type", "interlaced"),
    [(8, 0, False), (8, 2, False), (8, 6, True), (8, 3, True), (4, 3, False), (1, 0, False), (8, 0, True)],
)
@pytest.mark.parametrize("height", [1, 2, 5, 9])
def test_a_png_must_have_all_its_rows(height, bits, color_type, interlaced):
    def size(data: bytes) -> tuple[int, int]:
        with decoding("PNG"):
            return open_picture(data, ("PNG",)).size

    assert size(picture(height, bits, color_type, interlaced)) == (7, height)
    with pytest.raises(PictureError, match="truncated or damaged"):
        size(picture(height, bits, color_type, interlaced, lost=1))


@pytest.mark.parametrize(
    ("name", "data"), list(chunk_faults()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_refuses_a_png_with_one_fault_in_its_chunks(name, data):
    with pytest.raises(PictureError, match="truncated or damaged"), decoding("PNG"):
        open_picture(data, ("PNG",))


def test_a_jpeg_that_lost_its_scan_is_not_the_next_one():
    with pytest.raises(PictureError, match="truncated or damaged"):
        read((jpeg() + jpeg()).replace(b"\xff\xda", b"\xff\0", 1))
