import numpy as np
import pytest

from kseg.data.planning import balanced_origin, central_plan, plan


def planned(size, draws, *places, base_size=80, crop_size=24, mask=None):
    mask = np.zeros(size, np.uint8) if mask is None else mask
    (scale, mirroring), (first, *more) = draws, places
    draws = np.array([scale, *first, mirroring, *np.ravel(more)], np.float32)
    return plan(mask, draws, base_size=base_size, crop_size=crop_size).tolist()


class TestPlan:
    def test_by_hand(self):
        # The long side is 80 x (0.5 + 1.5 / 2) = 100, so the short one 50 x 100 / 120 = 41.67; of the 42 - 24 + 1 = 19
        # tops it takes the tenth, of the 77 lefts the first.
        assert planned((50, 120), (0.5, 0.75), (0.5, 0.0)) == [42, 100, 9, 0, 0]
        assert planned((120, 50), (0.5, 0.25), (0.0, 0.5)) == [100, 42, 0, 9, 1]

    def test_the_ends_of_the_draws(self):
        last = 1 - 2**-23
        assert planned((60, 90), (0.0, 0.5), (0.0, 0.0)) == [27, 40, 0, 0, 0]
        assert planned((60, 90), (last, last), (last, last)) == [107, 160, 83, 136, 0]

    def test_numbers_are_float32(self):
        # In float64 the long side is 266.99999…, and the top 46.99999….
        assert planned((360, 480), (69905 / 2**23, 0.5), (0.0, 0.0), base_size=520)[1] == 267
        assert planned((1000, 1000), (1 / 3, 0.5), (507419 / 2**23, 0.0), base_size=800)[2] == 47

    def test_what_fits_into_the_crop_is_at_its_corner(self):
        assert planned((50, 120), (0.5, 0.75), (0.9, 0.9), crop_size=100) == [42, 100, 0, 0, 0]

    def test_a_side_is_at_least_a_pixel(self):
        assert planned((1, 3000), (0.0, 0.75), (0.5, 0.5))[:2] == [1, 40]

    @pytest.mark.parametrize("room", [2**10 + 1, 2**16 - 23, 2**22 + 1])
    def test_the_largest_draw_is_below_the_room(self, room):
        side = room + 23
        mask = np.broadcast_to(np.uint8(0), (side, side))
        found = planned(None, (1 / 3, 0.5), (1 - 2**-23, 0.0), base_size=side, mask=mask)
        assert found[0] >= 24 and found[2] <= found[0] - 24

    def test_of_several_places_the_first_that_is_balanced(self):
        mask = np.repeat(np.arange(100, dtype=np.uint8)[None] // 50, 100, axis=0)
        places = [(0.0, 0.0), (0.5, 0.9), (0.25, 0.5), (0.0, 0.5)]
        # Scaled to 100 x 100 pixels there are 77 lefts, the third is 38: columns 38 to 61, half of either class.
        assert planned(None, (1 / 3, 0.5), *places, base_size=100, mask=mask) == [100, 100, 19, 38, 0]


@pytest.mark.parametrize(
    ("size", "expected"), [((90, 61), [35, 24, 5, 0, 0]), ((17, 40), [24, 56, 0, 16, 0]), ((48, 48), [24, 24, 0, 0, 0])]
)
def test_central_plan(size, expected):
    assert central_plan(np.zeros(size, np.uint8), crop_size=24).tolist() == expected


def balanced(mask, places, crop_size, scaled_size=None):
    """Which of `places` `balanced_origin` takes."""
    return balanced_origin(mask, scaled_size or mask.shape, places, crop_size)


class TestBalancedOrigin:
    def test_three_quarters_are_enough(self):
        mask = np.array([[1, 1, 1, 1, 2, 3, 4, 5]] * 4, np.uint8)
        assert balanced(mask, [[0, 0], [0, 1], [0, 2]], 4) == [0, 1]  # 12 of 16 are class 1
        mask[0, 4] = 1
        assert balanced(mask, [[0, 0], [0, 1], [0, 2]], 4) == [0, 2]  # 13 of 16, then 9

    def test_unlabelled_pixels_do_not_count(self):
        mask = np.array([[255, 255, 255, 255, 1, 1, 1, 2, 255]] * 4, np.uint8)
        # None labelled; one class of two labelled columns; 3 of 4; 2 of 3.
        assert balanced(mask, [[0, 0], [0, 2], [0, 4], [0, 5]], 4) == [0, 4]
        assert balanced(mask, [[0, 0], [0, 2], [0, 5]], 4) == [0, 5]

    def test_the_last_place_is_kept(self):
        mask = np.zeros((8, 8), np.uint8)
        assert balanced(mask, [[0, 0], [1, 1], [2, 3], [4, 2]], 4) == [4, 2]
        assert balanced(np.full((8, 8), 255, np.uint8), [[0, 0], [3, 1]], 4) == [3, 1]

    def test_places_are_those_of_the_scaled_picture(self):
        mask = np.array([[1, 1, 1, 1, 2, 2]] * 6, np.uint8)
        assert balanced(mask, [[0, 4], [0, 5], [0, 6]], 4, scaled_size=(12, 12)) == [0, 5]

    def test_padding_does_not_count(self):
        # Of the two rows and four columns shown 6 of 8 pixels are one class; with the padding it would be 6 of 16.
        mask = np.array([[1, 1, 1, 2, 2]] * 2, np.uint8)
        mask[0, 3] = 1
        assert balanced(mask, [[0, 0], [0, 1]], 4) == [0, 1]
