import numpy as np
import pytest
from drawn import class_mask, encoded, photo, png, rows
from PIL import Image

from data_tools.colors import ColorTable
from data_tools.encoding import make_encoding
from data_tools.inspection import scan
from data_tools.inspection.facts import PictureFacts
from data_tools.pairs import Pair
from data_tools.reading import read_file

EXIF_ON_ITS_SIDE = {"exif": b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\6\0\0\0\0\0\0\0"}
MASK = class_mask(24, 32)


def facts_of(mask: bytes, encoding=None, image: bytes | None = None) -> PictureFacts:
    image = encoded(photo(24, 32), "JPEG") if image is None else image
    return scan.scan_bytes(PictureFacts("train", "p", "p.jpg", "p.png"), image, mask, encoding)


def test_what_is_known_of_a_pair_from_its_files(tmp_path):
    image, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    image.write_bytes(encoded(photo(24, 32), "JPEG"))
    mask.write_bytes(encoded(MASK, mode="P"))
    pair = Pair("a", "a.jpg", str(image), str(mask))
    facts = scan.scan_pair((("train", pair), read_file), {"train": make_encoding(3)})
    assert (facts.split, facts.name, facts.image, facts.mask) == ("train", "a", str(image), str(mask))
    assert (facts.size, facts.mask_size, facts.turn, facts.mask_kind) == ((24, 32), (24, 32), 1, "palette")
    counts = np.bincount(MASK.ravel(), minlength=256)
    assert facts.values == {value: counts[value] for value in (0, 1, 2, 255)}
    assert facts.classes == tuple(counts)
    assert facts.palette[1] == tuple(Image.open(mask).getpalette()[3:6])
    assert facts.faults == ()


def test_without_an_encoding_values_have_no_classes():
    facts = facts_of(encoded(MASK + np.uint8(40)))
    assert (facts.classes, facts.faults) == (None, ())
    assert set(facts.values) == {40, 41, 42, 39}


def test_missing_files_are_faults(tmp_path):
    pair = Pair("a", "a.jpg", str(tmp_path / "a.jpg"), str(tmp_path / "a.png"))
    facts = scan.scan_pair((("train", pair), read_file), {"train": None})
    assert [(fault.kind, fault.file) for fault in facts.faults] == [
        ("unreadable_image", pair.image),
        ("unreadable_mask", pair.mask),
    ]
    assert (facts.size, facts.mask_size, facts.digest) == (None, None, None)


TABLE = ColorTable(("a", "b"), ((0, 0, 0), (9, 9, 9)))
BLACK = np.zeros((24, 32, 3), np.uint8)


@pytest.mark.parametrize(
    ("mask", "encoding", "kind"),
    [
        (encoded(MASK)[:-15], None, "unreadable_mask"),
        (encoded(MASK, "JPEG"), None, "lossy_mask"),
        (encoded(MASK, "BMP"), None, "unreadable_mask"),
        (encoded(BLACK), None, "rgb_masks"),
        (encoded(BLACK), make_encoding(3), "rgb_masks"),
        (encoded(BLACK + np.uint8(7)), make_encoding(2, colors=TABLE), "unknown_colors"),
        (encoded(np.dstack([BLACK, MASK])), None, "unusable_mask"),
        (png(32, 24, 2, 0, rows(np.zeros((24, 8), np.uint8))), None, "unusable_mask"),
        (encoded(MASK, **EXIF_ON_ITS_SIDE), None, "unusable_mask"),
        (encoded(MASK), make_encoding(2), "unknown_values"),
        (encoded(MASK % 2, mode="P"), make_encoding(2, colors=TABLE), "palette_order"),
        (encoded(MASK % 2, mode="P"), make_encoding(2, colors=TABLE, palette="color"), "unknown_colors"),
    ],
)
def test_kinds_of_faults(mask, encoding, kind):
    facts = facts_of(mask, encoding)
    assert [(fault.kind, fault.file) for fault in facts.faults] == [(kind, "p.png")]
    assert facts.classes is None
    assert facts.size == (24, 32)


@pytest.mark.parametrize(
    ("mask", "encoding"),
    [
        (encoded(BLACK + np.uint8(9)), make_encoding(2, colors=TABLE)),
        (png(32, 24, 1, 0, rows(np.full((24, 4), 255, np.uint8))), make_encoding(2)),
        (png(32, 24, 16, 0, rows(np.ones((24, 32), np.uint16))), make_encoding(2)),
        (encoded(np.full((24, 32), 77, np.uint8)), make_encoding(2, label_map={"map": {"1": 77}})),
        (encoded(np.full((24, 32), 2, np.uint8)), make_encoding(2, reduce_zero_label=True)),
    ],
)
def test_classes_by_an_encoding(mask, encoding):
    facts = facts_of(mask, encoding)
    assert facts.faults == ()
    assert (facts.classes[1], sum(facts.classes)) == (24 * 32, 24 * 32)


def test_the_size_is_the_upright_one():
    lying = facts_of(encoded(MASK), None, encoded(photo(24, 32), "JPEG", **EXIF_ON_ITS_SIDE))
    assert (lying.size, lying.mask_size, lying.turn) == ((32, 24), (24, 32), 6)


def test_digests_tell_content_apart_from_compression():
    palette, grey, other = encoded(MASK, mode="P"), encoded(MASK), encoded(MASK.reshape(32, 24))
    digests = [facts_of(mask).mask_digest for mask in (palette, grey, other)]
    assert digests[0] == digests[1] != digests[2]


def test_the_most_frequent_colors_are_kept(monkeypatch):
    monkeypatch.setattr(scan, "MOST_COLORS", 2)
    colors = BLACK.copy()
    colors[:5], colors[5:9], colors[9:10] = (1, 2, 3), (4, 5, 6), (7, 8, 9)
    assert facts_of(encoded(colors)).colors == {(0, 0, 0): 14 * 32, (1, 2, 3): 5 * 32}


def test_edges_are_measured_where_there_are_enough_pixels():
    image, mask = photo(140, 150), class_mask(140, 150)
    assert len(facts_of(encoded(mask), None, encoded(image)).fits) == 4
    assert facts_of(encoded(mask[:100]), None, encoded(image[:100])).fits == ()
    assert facts_of(encoded(mask[:139]), None, encoded(image)).fits == ()
