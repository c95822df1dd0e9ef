import pytest
from trees import lines

from data_tools.sources.listing import Listing
from data_tools.sources.pairing import pair_up
from kseg.errors import RunError


def both(images, masks, image_suffix="", mask_suffix=""):
    return (
        Listing("image", "i", (".jpg", ".png"), tuple(sorted(images)), image_suffix),
        Listing("mask", "m", (".png",), tuple(sorted(masks)), mask_suffix),
    )


def test_files_of_one_stem_are_a_problem_and_make_no_pair():
    found = pair_up(*both(["a.jpg", "a.png", "b.jpg", "c.png"], ["a.png", "b.PNG", "b.png", "c.png"]))
    assert [pair.stem for pair in found.pairs] == ["c"]
    assert lines(found.problems) == [
        "i/a.png: has the stem of a.jpg; expected one image a stem",
        "m/b.png: has the stem of b.PNG; expected one mask a stem",
    ]
    assert [problem.stem for problem in found.problems] == ["a", "b"]


def test_suffixes_of_both_kinds():
    found = pair_up(*both(["x/a_img.png", "x/b_img.png"], ["x/a_id.png", "x/a_color.png"], "_img", "_id"))
    assert [(pair.stem, pair.filename, pair.image, pair.mask) for pair in found.pairs] == [
        ("x/a", "x/a_img.png", "i/x/a_img.png", "m/x/a_id.png")
    ]
    assert lines(found.problems) == ["i/x/b_img.png: no mask named x/b_id in m (.png)"]


@pytest.mark.parametrize(
    ("image", "masks", "hint"),
    [
        ("frame1.jpg", ["frame1_L.png", "frame10_L.png"], "; frame1_L.png there: is --mask_suffix=_L missing?"),
        ("a.jpg", ["a-mask.png"], "; a-mask.png there: is --mask_suffix=-mask missing?"),
        ("frame1.jpg", ["frame10.png"], ""),
        ("a.jpg", ["a_L.txt"], ""),
        ("a.jpg", ["a.txt"], "; a.txt there is of another kind"),
    ],
)
def test_a_mask_under_nearly_the_name_is_pointed_out(image, masks, hint):
    found = pair_up(*both([image], masks))
    assert str(found.problems[0]) == f"i/{image}: no mask of that name in m (.png){hint}"


def test_the_mask_of_another_image_is_not_pointed_out():
    found = pair_up(*both(["a.jpg", "a_2.jpg"], ["a_2.png"]))
    assert lines(found.problems) == ["i/a.jpg: no mask of that name in m (.png)"]


def test_a_name_with_a_line_break_stays_on_one_line():
    found = pair_up(*both(["a\nb.jpg"], ["a\nb.txt"]))
    assert lines(found.problems) == [
        r"'i/a\nb.jpg': no mask of that name in m (.png); 'a\nb.txt' there is of another kind"
    ]
    assert found.problems[0].file == "i/a\nb.jpg"


def test_refuses_folders_without_pictures():
    with pytest.raises(RunError, match=r"i: no image there \(.jpg, .png\), and no mask in m \(.png\)"):
        pair_up(*both(["notes.txt"], ["a.jpg"]))
    with pytest.raises(RunError, match=r"no mask in m \(\*_L.png\)"):
        pair_up(*both([], ["a.png"], mask_suffix="_L"))
