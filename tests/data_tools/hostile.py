"""Hostile pictures: cut, flipped, misnamed, lying, swollen; and hostile names."""

import functools
import pathlib
import struct
import zlib
from typing import NamedTuple

import numpy as np
from drawn import adam7_rows, chunk, class_mask, encoded, photo, png, rows
from hostile_png import CLASSES, HEIGHT, PHOTO, WIDTH, chunk_faults

NOISE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GOOD_IMAGE, GOOD_MASK = encoded(PHOTO, "JPEG"), encoded(CLASSES)
INTERLACED = png(WIDTH, HEIGHT, 8, 2, adam7_rows(NOISE), interlaced=True)
IMAGES = {  # one of each kind: its extension and bytes
    "jpeg": (".jpg", encoded(NOISE, "JPEG")),
    "progressive": (".jpg", encoded(NOISE, "JPEG", progressive=True)),
    "png": (".png", encoded(NOISE)),
    "interlaced": (".png", INTERLACED),
    "webp": (".webp", encoded(NOISE, "WEBP")),
    "tiff": (".tif", encoded(NOISE, "TIFF", compression="tiff_lzw")),
    "gif": (".gif", encoded(PHOTO, "GIF")),
    "bmp": (".bmp", encoded(NOISE, "BMP")),
}
MASKS = {
    "grey": GOOD_MASK,
    "palette": encoded(CLASSES, mode="P"),
    "interlaced": png(WIDTH, HEIGHT, 8, 0, adam7_rows(CLASSES), interlaced=True),
}
FLIPS = 12  # of a picture


class Case(NamedTuple):
    """An image file and its mask, one of them hostile; `good`: whether a record must come of it, None = it may."""

    name: str
    extension: str
    image: bytes
    mask: bytes
    good: bool | None


def hostile_cases(seed: int = 0) -> list[Case]:
    """All of them, more than 300, of different names; the same for the same seed."""
    cases = [
        *_cut(),
        *_flipped(seed),
        *_misnamed(),
        *_no_pictures(seed),
        *_lying(),
        *_swollen(),
        *(
            _mask(name, data) if name.startswith("mask") else _image(name, ".png", data)
            for name, data in chunk_faults()
        ),
        *_long(),
    ]
    cases += [Case(name, ".jpg", GOOD_IMAGE, GOOD_MASK, good=True) for name in NAMES]
    return cases


def _image(name: str, extension: str, data: bytes, good: bool | None = False) -> Case:
    return Case(name, extension, data, GOOD_MASK, good)


def _mask(name: str, data: bytes, good: bool | None = False) -> Case:
    return Case(name, ".jpg", GOOD_IMAGE, data, good)


def _cut():
    """At every 5 %, 0 included. Formats without an end marker may be whole without their last bytes."""
    for percent in range(0, 100, 5):
        for kind, (extension, data) in IMAGES.items():
            yield _image(f"{kind}-cut-{percent}", extension, data[: len(data) * percent // 100])
        for kind, data in MASKS.items():
            yield _mask(f"mask-{kind}-cut-{percent}", data[: len(data) * percent // 100])


def mutated(data: bytes, random: np.random.Generator) -> bytes:
    """One to three faults: a bit flipped, a byte set, bytes lost, put in or said twice."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 4)):
        kind, at, count = random.integers(5), int(random.integers(len(changed))), int(random.integers(1, 20))
        if kind == 0:
            changed[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            changed[at] = int(random.choice([0, 127, 255, int(random.integers(256))]))
        elif kind == 2 and len(changed) > 2 * count:
            del changed[at : at + count]
        elif kind == 3:
            changed[at:at] = random.bytes(count)
        else:
            changed[at:at] = changed[at : at + count]
    return bytes(changed)


def _flipped(seed: int):
    random = np.random.default_rng(seed)
    for number in range(FLIPS):
        for kind, (extension, data) in IMAGES.items():
            yield _image(f"{kind}-flip-{number}", extension, mutated(data, random), good=None)
        for kind, data in MASKS.items():
            yield _mask(f"mask-{kind}-flip-{number}", mutated(data, random), good=None)


def _misnamed():
    """Each format under the extension of each other, which does not count; as a mask only PNG of classes will do."""
    for kind, (own, data) in IMAGES.items():
        for extension in sorted({other for other, _ in IMAGES.values()} - {own}):
            yield _image(f"{kind}-named{extension[1:]}", extension, data, good=True)
        yield _mask(f"mask-is-{kind}", data)


def _no_pictures(seed: int):
    texts = {"empty": b"", "text": b"frame 12: see the other folder\n", "html": b"<!DOCTYPE html><html>404</html>"}
    texts |= {"zeros": bytes(5000), "random": np.random.default_rng(seed).bytes(5000), "pdf": b"%PDF-1.7\n%\xe2\xe3\n"}
    texts |= {"svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>", "lfs": b"version https://git-lfs.github.com/spec/v1"}
    for what, data in texts.items():
        for extension in (".jpg", ".png", ".tif"):
            yield _image(f"{what}-named{extension[1:]}", extension, data)
        yield _mask(f"mask-is-{what}", data)


def _header(width: int, height: int, bits: int = 8, color_type: int = 2) -> bytes:
    return png(width, height, bits, color_type, b"")


def _lying():
    """Headers that claim what does not follow."""
    jpeg, bmp, gif, webp = (IMAGES[kind][1] for kind in ("jpeg", "bmp", "gif", "webp"))
    size_at = jpeg.index(b"\xff\xc0") + 5
    for height, width in ((65535, 65535), (65500, 2700), (65500, 1), (0, 40), (24, 0), (24, 41), (25, 40)):
        size = struct.pack(">HH", height, width)
        yield _image(f"jpeg-claims-{height}x{width}", ".jpg", jpeg[:size_at] + size + jpeg[size_at + 4 :])
    for width, height in (
        (60000, 60000),
        (2**31 - 1, 1),
        (2**32 - 1, 2**32 - 1),
        (0, 0),
        (1_000_001, 1),
        (13000, 13000),
    ):
        yield _image(f"png-claims-{width}x{height}", ".png", _header(width, height))
        yield _mask(f"mask-claims-{width}x{height}", _header(width, height, color_type=0))
    for width, height in ((60000, 60000), (2**31 - 1, -(2**31)), (13000, 13000)):
        yield _image(f"bmp-claims-{width}x{height}", ".bmp", bmp[:18] + struct.pack("<ii", width, height) + bmp[26:])
    for width, height in ((65535, 65535), (6000, 6000)):
        claim = struct.pack("<HH", width, height)
        yield _image(f"gif-claims-{width}", ".gif", gif[:6] + claim + gif[10:])
        at = 13 + 3 * 256 + 5  # behind its header and colours, the frame's place
        assert gif[at - 5] == 0x2C
        yield _image(f"gif-frame-claims-{width}", ".gif", gif[:at] + claim + gif[at + 4 :])
        yield _image(f"tiff-claims-{width}", ".tif", _tiff(width, height, b"\0" * 64))
        yield _image(f"tiff-strip-claims-{width}", ".tif", _tiff(width, height, b"\0" * 64, length=2**32 - 1))
    yield _image("tiff-of-loops", ".tif", _tiff(WIDTH, HEIGHT, bytes(WIDTH * HEIGHT), following=8), good=True)
    place = _tiff(WIDTH, HEIGHT, bytes(WIDTH * HEIGHT))
    at = place.index(struct.pack("<HH", 273, 4))
    yield _image("tiff-place-of-fractions", ".tif", place[: at + 2] + b"\5" + place[at + 3 :])
    yield _image("tiff-of-tags", ".tif", b"II*\0\x08\0\0\0\xff\xff" + bytes(range(256)) * 20)
    yield _image("bigtiff-nowhere", ".tif", b"II+\0\x08\0\0\0" + b"\xff" * 64)
    yield _image("jpeg-lost-its-scan", ".jpg", (jpeg + jpeg).replace(b"\xff\xda", b"\xff\0", 1))
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (2**24 - 1).to_bytes(3, "little") * 2
    yield _image("webp-canvas", ".webp", webp[:12] + canvas + webp[12:])
    yield _image("webp-length", ".webp", webp[:4] + b"\xff" * 4 + webp[8:])


def _tiff(width: int, height: int, pixels: bytes, length: int | None = None, following: int = 0) -> bytes:
    """Grey, one strip of deflated bytes."""
    strip = zlib.compress(pixels)
    entries = {
        256: width,
        257: height,
        258: 8,
        259: 8,
        262: 1,
        273: 200,
        277: 1,
        278: height,
        279: length or len(strip),
    }
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(entries.items()))
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + directory + struct.pack("<I", following)
    return head.ljust(200, b"\0") + strip


@functools.cache
def _zeros(count: int) -> bytes:
    """`count` zero bytes, deflated 1000 to 1, without holding them."""
    packer = zlib.compressobj(9)
    return b"".join([packer.compress(bytes(2**20)) for _ in range(count // 2**20)]) + packer.flush()


def _swollen():
    """Small files that inflate to much."""
    head, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    bomb = _zeros(200 * 2**20)
    yield _image("png-bomb", ".png", head + chunk(b"IHDR", size) + chunk(b"IDAT", bomb) + end, good=None)
    yield _mask("mask-bomb", head + chunk(b"IHDR", size) + chunk(b"IDAT", bomb) + end, good=None)
    large = chunk(b"IHDR", struct.pack(">IIBBBBB", 5000, 5000, 1, 0, 0, 0, 0)) + chunk(b"IDAT", _zeros(4 * 2**20)) + end
    yield _image("png-of-25-million", ".png", head + large)
    yield _mask("mask-of-25-million", head + large)
    packed = {"zTXt": b"a\0\0" + bomb, "iTXt": b"a\0\1\0\0\0" + bomb, "iCCP": b"a\0\0" + bomb}
    for kind, content in packed.items():
        extra = chunk(kind.encode(), content)
        yield _image(f"png-{kind}", ".png", png(WIDTH, HEIGHT, 8, 2, rows(NOISE), extra=extra), good=None)
        yield _mask(f"mask-{kind}", png(WIDTH, HEIGHT, 8, 0, rows(CLASSES), extra=extra), good=None)
    texts = chunk(b"zTXt", b"a\0\0" + _zeros(2**20)) * 100
    yield _image("png-100-texts", ".png", png(WIDTH, HEIGHT, 8, 2, rows(NOISE), extra=texts), good=None)
    yield _image("tiff-bomb", ".tif", _tiff(WIDTH, HEIGHT, bytes(50 * 2**20)), good=None)


def _long():
    """Sides of 65,000 pixels that are there, and of 65,501, which no JPEG has."""
    for side in (65000, 65501):
        for height, width in ((1, side), (side, 1)):
            mask, image = encoded(class_mask(height, width)), photo(height, width)
            for extension, image_format in ((".png", "PNG"), (".bmp", "BMP"), (".jpg", "JPEG")):
                if side <= 65500 or image_format != "JPEG":
                    data = encoded(image, image_format)
                    yield Case(f"{image_format.lower()}-{height}x{width}", extension, data, mask, good=True)


NAMES = (
    *(
        "with space",
        " leading",
        "trailing ",
        "täglich",
        "日本語",
        "e\u0301",
        "🙂",
        "\u202eleft",
        "line\nbreak",
        "tab\tname",
    ),
    *("cr\rname", "quote'", 'double"quote', "back\\slash", "-dash", "--images", "$HOME", "`id`", "a;b", "a|b", "a&b"),
    *(
        "*",
        "?",
        "[ab]",
        "{a,b}",
        "%s%n",
        "%2e%2e",
        "#hash",
        "~",
        "a..b",
        "name.tar",
        "UPPER",
        "null",
        "0",
        "con",
        "\x01",
    ),
    *("\x1b[31mred", "a=b", "a,b", "@file", "!history", "<tag>", "x" * 250),
)


def write_cases(folder: pathlib.Path, cases: list[Case]) -> None:
    """FOLDER/images/NAME.EXTENSION and FOLDER/masks/NAME.png."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for case in cases:
        (folder / "images" / f"{case.name}{case.extension}").write_bytes(case.image)
        (folder / "masks" / f"{case.name}.png").write_bytes(case.mask)
