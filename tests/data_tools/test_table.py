"""The inspection for a terminal."""

import pytest

from data_tools.inspection.facts import Finding, Inspection, SplitFacts
from data_tools.inspection.table import plain, share, shortened, sizes, table, verdict
from kseg.labels import LabelMap

LABELS = LabelMap.from_names(["road", "car"])


def inspection(splits=None, findings=(), labels=LABELS) -> Inspection:
    return Inspection("data", labels, splits or {}, tuple(findings), {}, {})


def findings(*levels) -> tuple[Finding, ...]:
    return tuple(Finding(level, "kind", "message") for level in levels)


def test_the_whole_table():
    splits = {
        "train": SplitFacts(3, ((20, 30), (20, 40)), (999_970, 30), (2, 1), 1_000_000),
        "validation": SplitFacts(1, ((20, 30),), (0, 600), (0, 1), 0),
    }
    found = (
        Finding("error", "unreadable", "1 image of train cannot be read", ("train/a\n.jpg",)),
        Finding("warning", "missing_class", "class 'road' is not in validation", tuple("abcde")),
    )
    assert (
        table(inspection(splits, found))
        == """\
data: 4 pictures in 2 splits, 2 classes

split       pictures  size (width x height)
train              3  30 x 20 to 40 x 20, 1 unreadable
validation         1  30 x 20

                             share of labelled pixels       images with it
 id  class                          train  validation    train  validation
  0  road                         100.00%           -        2           -
  1  car                           <0.01%     100.00%        1           1
255  ignored, of all pixels        50.00%           -

error unreadable: 1 image of train cannot be read
    train/a\\n.jpg

warning missing_class: class 'road' is not in validation
    a
    b
    c
    and 2 more

1 error, 1 warning"""
    )


def test_nothing_found_in_nothing():
    assert table(inspection()) == "data: 0 pictures in 0 splits, 2 classes\n\nnothing wrong found"


def test_a_split_without_a_readable_picture():
    text = table(inspection({"train": SplitFacts(2, (), (0, 0), (0, 0), 0)}))
    assert "train         2  no readable image" in text
    assert text.splitlines()[7].split() == ["0", "road", "-", "-"]


def test_long_names_and_messages_keep_to_120_columns():
    labels = LabelMap.from_names(f"{index} {'a long name ' * 15}" for index in range(150))
    splits = {name: SplitFacts(1, ((9, 9),), (1,) * 150, (1,) * 150, 0) for name in ("train", "validation", "test")}
    lines = table(inspection(splits, [Finding("error", "kind", "some words " * 40)], labels)).splitlines()
    assert max(map(len, lines)) == 120
    assert len(set(lines[6:156])) == 150  # 0 to 149 stay apart
    assert sum(line.count("words") for line in lines) == 40


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ((), "nothing wrong found"),
        (("error",), "1 error"),
        (("warning", "warning"), "2 warnings"),
        (("error", "error", "error", "warning"), "3 errors, 1 warning"),
    ],
)
def test_verdict_counts_by_level(levels, expected):
    assert verdict(findings(*levels)) == expected


def test_shares_round_to_something():
    assert [share(*pair) for pair in ((0, 0), (0, 9), (1, 3), (5, 100_000), (4, 100_000))] == [
        *("-", "-", "33.33%", "0.01%", "<0.01%")
    ]


def test_sizes_of_one_range_of_each_side():
    assert sizes(SplitFacts(2, ((10, 40), (30, 20)), (), (), 0)) == "20 x 10 to 40 x 30"


def test_plain_keeps_letters_and_shows_the_rest():
    assert plain("straße 猫 <b>.jpg") == "straße 猫 <b>.jpg"
    assert plain("a\nb\x1b[31m\u202e\udcff") == r"a\nb\x1b[31m\u202e\udcff"


def test_shortened_leaves_out_the_middle():
    assert [shortened("abcdefgh", length) for length in (8, 7, 4, 3)] == ["abcdefgh", "abc…fgh", "ab…h", "a…h"]
