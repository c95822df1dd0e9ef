from data_tools.inspection.facts import PictureFacts
from data_tools.inspection.palettes import majority_palette, misordered

BLACK, RED, GREEN, BLUE = (0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)


def paletted(name: str, *colors, split="train") -> PictureFacts:
    return PictureFacts(split, name, palette=dict(enumerate(colors)))


USUAL = [paletted(name, BLACK, RED, GREEN) for name in "abc"]


def test_most_masks_decide_the_color_of_an_index():
    assert majority_palette([*USUAL, paletted("x", RED, RED)]) == {0: BLACK, 1: RED, 2: GREEN}


def test_a_mask_in_another_order():
    assert misordered(USUAL) == frozenset()
    assert misordered([*USUAL, paletted("x", RED, BLACK), paletted("y", BLUE, RED)]) == {("train", "x")}


def test_a_split_whose_masks_are_each_in_their_own_order():
    """They are more than the usual ones, but those agree."""
    orders = [(RED, GREEN, BLACK, BLUE), (GREEN, BLACK, RED, BLUE), (RED, BLACK, BLUE, GREEN), (BLUE, RED, BLACK)]
    odd = [paletted(str(number), *colors, split="validation") for number, colors in enumerate(orders)]
    assert misordered([*USUAL, *odd]) == {("validation", str(number)) for number in range(4)}


def test_a_stray_value_in_a_padded_color_is_no_other_order():
    stray = PictureFacts("train", "x", palette={0: BLACK, 1: RED, 200: BLACK})
    assert misordered([*USUAL, stray]) == frozenset()


def test_colors_that_two_indices_share_tell_nothing():
    shared = [paletted(name, BLACK, RED, RED) for name in "ab"]
    assert misordered([*shared, PictureFacts("train", "x", palette={2: RED})]) == frozenset()
    stray = paletted("x", BLACK, RED, GREEN, GREEN)
    assert misordered([*USUAL, stray, paletted("y", GREEN, BLACK, RED)]) == {("train", "y")}
    assert misordered([]) == frozenset()
