"""PNG files with one fault in their chunks."""

import struct
import zlib
from collections.abc import Iterator

from drawn import chunk, class_mask, photo, png, rows

HEIGHT, WIDTH = 24, 40
PHOTO, CLASSES = photo(HEIGHT, WIDTH), class_mask(HEIGHT, WIDTH)
HEAD, END = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")


def chunk_faults() -> Iterator[tuple[str, bytes]]:
    """Name, "png-…" of a picture or "mask-…" of a mask, and bytes."""
    for name, color_type, lines in (("png", 2, rows(PHOTO)), ("mask", 3, rows(CLASSES))):
        faults = _checksums(color_type, lines) | _sound_chunks(color_type, lines)
        for fault, data in faults.items():
            yield f"{name}-{fault}", data


def _checksums(color_type: int, lines: bytes) -> dict[str, bytes]:
    """One of many kinds of chunks has a wrong checksum."""
    extra = [chunk(b"gAMA", struct.pack(">I", 45455)), chunk(b"tEXt", b"a\0b"), chunk(b"pHYs", bytes(9))]
    extra += [chunk(b"PLTE", bytes(768))] if color_type == 3 else []
    whole = png(WIDTH, HEIGHT, 8, color_type, lines, extra=b"".join(extra))
    faults = {}
    for kind in [b"IHDR", b"IDAT", b"IEND", *(part[4:8] for part in extra)]:
        at = whole.index(kind) - 4
        at += 8 + int.from_bytes(whole[at : at + 4], "big")  # of the checksum
        faults[f"checksum-{kind.decode()}"] = whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    return faults


def _sound_chunks(color_type: int, lines: bytes) -> dict[str, bytes]:
    """Each chunk is sound by itself: what Pillow reads in some way and libpng refuses."""
    header, other = (
        chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, kind, 0, 0, 0)) for kind in (color_type, 0)
    )
    palette = chunk(b"PLTE", bytes(range(192))) if color_type == 3 else b""
    packed = zlib.compress(lines)
    pixels, text = chunk(b"IDAT", packed), chunk(b"tEXt", b"a\0b")
    frame = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">6I2H2B", 0, 9, 9, *[0] * 7))
    faults = {
        "two-headers": [header, other, palette, pixels],
        "late-header": [text, header, palette, pixels],
        "two-places": [header, palette, chunk(b"IDAT", packed[:50]), text, chunk(b"IDAT", packed[50:])],
        "critical": [header, palette, chunk(b"QQQQ", b""), pixels],
        "odd-kind": [header, palette, chunk(b"a\0\1b", b""), pixels],
        "two-palettes": [header, chunk(b"PLTE", bytes(768)), chunk(b"PLTE", bytes(768)), pixels],
        "odd-palette": [header, chunk(b"PLTE", bytes(4)), pixels],
        "short": [header, palette, chunk(b"IDAT", zlib.compress(lines[: len(lines) // 2]))],
        "no-pixels": [header, palette],
        "small-frame": [header, palette, frame, pixels],
        "odd-bits": [chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 3, color_type, 0, 0, 0)), palette, pixels],
        "odd-method": [chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, color_type, 1, 0, 0)), palette, pixels],
    }
    if palette:
        faults["no-palette"] = [header, pixels]
    return {name: b"".join([HEAD, *parts, END]) for name, parts in faults.items()}
