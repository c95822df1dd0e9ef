import numpy as np
import pytest
from PIL import Image

from data_tools.inspection import alignment
from data_tools.sources import synthetic


@pytest.fixture(scope="module")
def scene():
    image, mask = synthetic.scene(2 * alignment.SIDE, 2 * alignment.SIDE, (1, 2))
    return image.mean(-1, dtype=np.float32).reshape(alignment.SIDE, 2, -1, 2).mean((1, 3)), mask[::2, ::2]


def test_a_mask_fits_its_image_best_as_it_is(scene):
    fits = alignment.fits(*scene)
    assert len(fits) == 1 + len(alignment.TURNS)
    assert fits[0] == max(fits) > 1.2


@pytest.mark.parametrize(("place", "turn"), list(enumerate(alignment.TURNS.values(), 1)))
def test_a_turned_mask_fits_turned_back(scene, place, turn):
    grey, mask = scene
    fits = alignment.fits(grey, turn(mask))
    assert fits[place] == pytest.approx(alignment.fits(grey, mask)[0])
    assert fits[place] > 1.08 * fits[0]


def test_too_few_borders_or_no_edges_are_not_measured(scene):
    grey, mask = scene
    assert alignment.fits(grey, np.zeros_like(mask)) == ()
    assert alignment.fits(np.full_like(grey, 90), mask) == ()


def tall(*rows) -> np.ndarray:
    return np.array(rows * 50, np.uint8)


def test_ramps_by_hand():
    # One slope a row, of two steps of two and more; from 5 to 6 and back down the column is neither.
    assert alignment.ramps(tall([3, 5, 8], [3, 6, 8])) == 100 / (100 + 200)
    assert alignment.ramps(tall([3, 5, 8], [3, 6, 8])[:60]) == 0  # too few to tell
    assert alignment.ramps(tall([3, 5, 8], [3, 5, 8])) == 0  # one value alone is between: a border class
    assert alignment.ramps(tall([3, 3, 8, 8])) == 0
    assert alignment.ramps(np.full((4, 4), 7, np.uint8)) == 0


def test_interpolated_masks_have_ramps_and_drawn_ones_have_none(scene):
    spread = (scene[1] % 250 * 3).astype(np.uint8)  # classes 0, 3, 6, 9 and 15
    smoothed = Image.fromarray(spread).resize((90, 90), Image.Resampling.BILINEAR)
    assert alignment.ramps(spread) < 0.05
    assert alignment.ramps(np.array(smoothed)) > 0.2
