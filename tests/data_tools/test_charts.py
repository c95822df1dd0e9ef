"""The pictures of an inspection, read back from their pixels."""

import io

import drawn
import numpy as np
import pytest
from PIL import Image

from data_tools.inspection import charts
from data_tools.inspection.facts import Inspection, Sample, SplitFacts
from kseg.labels import IGNORE_COLOR, LabelMap

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # C0 and C1 of matplotlib: first and second split
LABELS = LabelMap(("left", "right"), ((200, 0, 0), (0, 200, 0)))


def inspection(splits=None, samples=None, labels=LABELS) -> Inspection:
    return Inspection("data", labels, splits or {}, (), {}, samples or {})


def split(pixels, sizes=((20, 30),)) -> SplitFacts:
    return SplitFacts(len(sizes), tuple(sizes), tuple(pixels), tuple(int(count > 0) for count in pixels), 0)


def decoded(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def of_color(picture: np.ndarray, color) -> np.ndarray:
    return np.abs(picture - color).max(-1) <= 2


def bars(png: bytes, color) -> list[int]:
    """Length in pixels of each bar of a colour from the top down; legend marks are shorter than 20."""
    lengths = of_color(decoded(png), color).sum(1)
    ends = np.flatnonzero(np.diff(np.concatenate([[0], lengths > 20, [0]])))
    return [int(lengths[start:end].max()) for start, end in ends.reshape(-1, 2)]


def sample(image: np.ndarray, mask: np.ndarray, name: str = "name") -> Sample:
    return Sample(name, drawn.encoded(image), drawn.encoded(mask))


def halves(height: int, width: int, name: str = "name") -> Sample:
    """A black picture whose left half is class 0 and whose right half is class 1."""
    mask = np.zeros((height, width), np.uint8)
    mask[:, width // 2 :] = 1
    return sample(np.zeros((height, width, 3), np.uint8), mask, name)


def test_bars_are_as_long_as_shares():
    labels = LabelMap.numbered(4)
    png = charts.class_shares(
        inspection({"train": split((50, 0, 25, 25)), "test": split((0, 80, 20, 0))}, None, labels)
    )
    first, third, fourth = bars(png, BLUE)
    assert first / 2 == pytest.approx(third, abs=2) and third == pytest.approx(fourth, abs=2)
    second, last = bars(png, ORANGE)
    assert (second, last) == pytest.approx((first * 1.6, first * 0.4), abs=2)


def test_the_colours_of_the_classes_stand_beside_their_names():
    picture = decoded(charts.class_shares(inspection({"train": split((1, 1))})))
    rows = [np.flatnonzero(of_color(picture, color).any(1)) for color in LABELS.colors]
    assert all(len(row) >= 5 for row in rows) and rows[0].max() < rows[1].min()


def test_150_long_names_are_drawn_whole():
    labels = LabelMap.from_names(f"{'a name of many words ' * 5}{index} $x_$" for index in range(150))
    picture = decoded(charts.class_shares(inspection({"train": split(range(150))}, None, labels)))
    assert 150 * 20 <= len(picture) < 150 * 25
    assert (picture[:, 0] == 255).all(), "a name is cut off on the left"
    # Names stand left of the swatches, each with white above and below it: 150 lines, and the axis' figures below.
    dark = (picture[:, 8:60].min(axis=(1, 2)) < 160).astype(int)
    assert (np.diff(dark) == 1).sum() == 150


def test_10000_equal_sizes_are_one_mark_with_its_number():
    numbers = []
    for count in (10_000, 1):
        picture = decoded(charts.size_scatter({"train": split((1, 1), ((20, 30),) * count)}))[80:640]
        mark = np.argwhere(np.abs(picture - BLUE).max(-1) < 60)
        assert 15 < np.ptp(mark[:, 0]) < 40 and np.ptp(mark[:, 0]) == pytest.approx(np.ptp(mark[:, 1]), abs=1)
        top, middle = mark[:, 0].min(), int(mark[:, 1].mean())
        dark = (picture[top - 16 : top - 1, middle - 40 : middle + 40].max(-1) < 100).any(0)
        numbers.append(np.ptp(np.flatnonzero(dark)))
    assert numbers[0] > 4 * numbers[1] > 0  # "10000" beside "1"


def test_sizes_are_drawn_to_one_scale():
    png = charts.size_scatter({"train": split((1, 1), ((100, 400),)), "test": split((1, 1), ((400, 100),))})
    picture = decoded(png)[80:660, 75:]
    wide, high = (np.argwhere(np.abs(picture - color).max(-1) < 40).mean(0) for color in (BLUE, ORANGE))
    assert high[1] < wide[1] and high[0] < wide[0]
    assert wide[0] - high[0] == pytest.approx(wide[1] - high[1], abs=3)


def test_only_frequent_sizes_far_apart_are_numbered():
    counts = charts.collections.Counter({(100, 100): 60, (101, 100): 30, (10, 10): 9, (50, 50): 1})
    assert charts._to_number(counts, apart=5) == [((100, 100), 60), ((10, 10), 9)]


def test_a_tile_is_the_overlay_scaled_to_fit():
    picture = decoded(charts.contact_sheet((halves(10, 20), halves(1120, 280)), LABELS))
    gap, tile = charts.GAP, charts.TILE
    left = picture[gap : gap + tile // 2, gap : gap + tile]
    assert (left[:, : tile // 2] == (100, 0, 0)).all() and (left[:, tile // 2 :] == (0, 100, 0)).all()
    right = picture[gap : gap + tile, 2 * gap + tile :]
    assert (right[:, :35] == (100, 0, 0)).all() and (right[:, 35:70] == (0, 100, 0)).all()
    assert (right[:, 70:-gap] == 255).all()


@pytest.mark.parametrize(("given", "shown"), [(1, 1), (4, 4), (5, 5), (24, 24), (30, 24)])
def test_a_sheet_holds_24_tiles_at_most(given, shown):
    picture = decoded(charts.contact_sheet((halves(14, 280),) * given, LABELS))
    assert of_color(picture, (100, 0, 0)).sum() == shown * 14 * 140
    assert of_color(picture, (0, 100, 0)).sum() == shown * 14 * 140


def test_the_legend_holds_the_classes_shown_and_ignore():
    mask = np.full((10, 20), 255, np.uint8)
    mask[:, 10:] = 1
    picture = decoded(charts.contact_sheet((sample(np.zeros((10, 20, 3), np.uint8), mask),), LABELS))
    found = {color: of_color(picture, color).sum() >= 100 for color in (*LABELS.colors, IGNORE_COLOR)}
    assert found == {LABELS.colors[0]: False, LABELS.colors[1]: True, IGNORE_COLOR: True}
    assert of_color(picture, tuple(value // 2 for value in IGNORE_COLOR)).sum() >= 140 * 140


def test_names_are_written_under_their_tiles_and_kept_to_their_width():
    names = ("a", "a/very/long/" * 30 + "name\nof two lines.jpg", "")
    picture = decoded(charts.contact_sheet(tuple(halves(140, 280, name) for name in names), LABELS))
    line = picture[charts.GAP + 140 :][: charts.LINE]
    dark = [(line[:, start : start + charts.TILE + charts.GAP] < 128).all(-1) for start in range(10, 870, 290)]
    short, long, none = (int(part.any(0).sum()) for part in dark)
    assert 0 < short < 12 and 200 < long and none == 0
    assert not dark[1][:, charts.TILE :].any()


def test_extreme_shapes_and_a_split_without_samples():
    samples = {"train": (halves(1, 3000), halves(3000, 1), halves(1, 1)), "test": ()}
    drawings = charts.draw(inspection({}, samples))
    assert list(drawings) == ["contact_sheet_train.png"]
    assert Image.open(io.BytesIO(drawings["contact_sheet_train.png"])).format == "PNG"


def test_draw_leaves_out_what_has_nothing_to_show():
    assert charts.draw(inspection()) == {}
    assert list(charts.draw(inspection({"train": split((0, 0), ())}))) == ["class_shares.png"]
    both = {"train": split((1, 1)), "$broken$_{": split((0, 0), ())}
    assert list(charts.draw(inspection(both, {"train": (halves(2, 2),)}))) == [
        *("class_shares.png", "sizes.png", "contact_sheet_train.png")
    ]


def test_letters_without_a_glyph_raise_no_warning(recwarn):
    charts.draw(inspection({"train": split((1, 1))}, None, LabelMap.from_names(["猫", "犬"])))
    assert not recwarn.list
