import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from data_tools.inspection import duplicates
from data_tools.sources import synthetic

COUNT = 6


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.fromarray(synthetic.scene(230, 260, (4, seed))[0]) for seed in range(COUNT)]


def compressed(photo: Image.Image, quality: int = 92) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def thumbnails(photos, quality: int = 92) -> list[bytes]:
    return [duplicates.thumbnail(*duplicates.opened(compressed(photo, quality), 256)) for photo in photos]


def resized(photo, share):
    return photo.resize((round(photo.width * share), round(photo.height * share)), Image.Resampling.BICUBIC)


CHANGES = {
    "quality 75": lambda photo: photo,
    "75 %": lambda photo: resized(photo, 0.75),
    "half": lambda photo: resized(photo, 0.5),
    "larger": lambda photo: resized(photo, 2.5),  # a JPEG that is decoded at half its size
    "brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.12),
    "darker": lambda photo: ImageEnhance.Brightness(photo).enhance(0.8),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copies_are_found_and_nothing_else(photos, change):
    both = thumbnails(photos) + thumbnails([change(photo) for photo in photos], quality=75)
    assert duplicates.alike(both) == [(index, COUNT + index, False) for index in range(COUNT)]


def test_mirrored_copies(photos):
    mirrored = [photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for photo in photos]
    found = duplicates.alike(thumbnails(photos) + thumbnails(mirrored, quality=75))
    assert found == [(index, COUNT + index, True) for index in range(COUNT)]


def test_a_thing_that_moved_makes_another_picture(photos):
    """As between frames of a standing camera: everything else is the same to the pixel."""
    moved = photos[0].copy()
    moved.paste((20, 20, 20), (100, 80, 112, 100))
    assert duplicates.alike(thumbnails([photos[0], moved])) == []


def test_flat_images_are_no_copies_of_each_other():
    flat = [Image.new("RGB", (240, 240), color) for color in ((0, 0, 0), (0, 0, 0), (120, 120, 120))]
    assert duplicates.alike(thumbnails(flat)) == []
    assert [duplicates.contrast(packed) < duplicates.FLAT for packed in thumbnails(flat)] == [True] * 3


def test_pairs_further_apart_than_a_block(photos, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 2)
    both = thumbnails(photos)
    assert duplicates.alike([*both, both[0], both[4]]) == [(0, COUNT, False), (4, COUNT + 1, False)]


def test_only_the_most_alike_are_compared(photos, monkeypatch):
    """A film of one view, of which each frame would else be compared with every other."""
    monkeypatch.setattr(duplicates, "NEIGHBOURS", 2)
    compared = []
    monkeypatch.setattr(duplicates, "_is_copy", lambda *pair: compared.append(pair))
    noise = np.random.default_rng(0).integers(-2, 3, (10, *photos[0].size[::-1], 3))
    frames = [Image.fromarray(np.clip(np.asarray(photos[0]) + one, 0, 255).astype(np.uint8)) for one in noise]
    assert duplicates.alike(thumbnails(frames)) == []
    assert len(compared) == 8 * 2 + 1
