import pytest
from trees import lines, make_tree, stems

from data_tools.pairs import Pair, Place
from data_tools.sources.folders import find_folders, fits
from kseg.errors import RunError, UsageError

EXTENSIONS = ".jpg, .jpeg, .png, .bmp, .gif, .webp, .tif, .tiff"


@pytest.fixture
def make(tmp_path):
    """Makes empty files and gives the folders of images and masks."""

    def files(images=(), masks=()):
        return make_tree(tmp_path / "images", *images), make_tree(tmp_path / "masks", *masks)

    return files


def find_pairs(images, masks, suffix=""):
    (found,) = find_folders(Place(images=images, masks=masks, mask_suffix=suffix)).splits.values()
    return found


def test_pairs_by_stem_whatever_the_extension_and_its_case(make):
    images, masks = make(
        ["b.JPG", "a.jpeg", "d.Bmp", "c.png", "e.v2.jpg", "f.TIFF", "g.webp", "h.gif", "i.tif"],
        ["a.png", "b.PNG", "c.png", "d.png", "e.v2.png", "f.png", "g.png", "h.png", "i.png"],
    )
    found = find_pairs(images, masks)
    assert found.problems == ()
    assert [(pair.stem, pair.filename) for pair in found.pairs] == [
        ("a", "a.jpeg"), ("b", "b.JPG"), ("c", "c.png"), ("d", "d.Bmp"), ("e.v2", "e.v2.jpg"), ("f", "f.TIFF"),
        ("g", "g.webp"), ("h", "h.gif"), ("i", "i.tif"),
    ]  # fmt: skip
    assert found.pairs[1] == Pair("b", "b.JPG", f"{images}/b.JPG", f"{masks}/b.PNG")


def test_subfolders_are_part_of_the_stem(make):
    images, masks = make(["aachen/1.jpg", "bonn/1.jpg"], ["aachen/1.png", "bonn/1.png"])
    found = find_pairs(images, masks)
    assert found.problems == ()
    assert [pair.filename for pair in found.pairs] == ["aachen/1.jpg", "bonn/1.jpg"]
    assert found.pairs[0].mask == f"{masks}/aachen/1.png"


def test_the_split_has_the_name_that_is_given_or_none(make):
    images, masks = make(["a.jpg"], ["a.png"])
    assert list(find_folders(Place(images=images, masks=masks, split="train")).splits) == ["train"]
    assert list(find_folders(Place(images=images, masks=masks)).splits) == [""]


def test_input_alone_is_a_folder_with_images_and_masks(make, tmp_path):
    images, masks = make(["a.jpg"], ["a.png"])
    assert fits(str(tmp_path))
    assert not fits(images)
    offered = find_folders(Place(input=str(tmp_path)))
    assert offered.splits[""].pairs == (Pair("a", "a.jpg", f"{images}/a.jpg", f"{masks}/a.png"),)
    assert offered.labels is None


def test_masks_with_a_suffix(make):
    images, masks = make(["a.jpg", "b_L.jpg", "c.jpg"], ["a_L.png", "b_L_L.png", "a_color.png", "c.png"])
    found = find_pairs(images, masks, "_L")
    assert [(pair.stem, pair.mask) for pair in found.pairs] == [
        ("a", f"{masks}/a_L.png"),
        ("b_L", f"{masks}/b_L_L.png"),
    ]
    assert lines(found.problems) == [f"{images}/c.jpg: no mask named c_L in {masks} (.png)"]


def test_a_suffix_may_tell_images_and_masks_of_one_folder_apart(tmp_path):
    folder = make_tree(tmp_path / "all", "a.png", "a_mask.png", "b.jpg", "b_mask.png", "c_mask.png")
    found = find_pairs(folder + "/", folder, "_mask")
    assert [(pair.filename, pair.mask) for pair in found.pairs] == [
        ("a.png", f"{folder}/a_mask.png"),
        ("b.jpg", f"{folder}/b_mask.png"),
    ]
    assert [problem.stem for problem in found.problems] == ["c"]


@pytest.mark.parametrize("inner", ["images", "masks"])
def test_one_folder_may_lie_in_the_other(make, tmp_path, inner):
    make()
    outer = tmp_path / "outer"
    (outer / inner).mkdir(parents=True)
    image_folder, mask_folder = (outer / "images", outer) if inner == "images" else (outer, outer / "masks")
    (image_folder / "a.png").touch()
    (mask_folder / "a.png").touch()
    found = find_pairs(f"{image_folder}/", str(mask_folder))
    assert [pair.filename for pair in found.pairs] == ["a.png"]
    assert found.problems == ()


def test_every_file_without_partner_is_a_problem_and_the_rest_still_pair(make):
    images, masks = make(["a.jpg", "b.jpg", "c.psd"], ["b.jpg", "c.png", "d.png", "a.png"])
    found = find_pairs(images, masks)
    assert stems(found) == ["a"]
    assert lines(found.problems) == [
        f"{images}/b.jpg: no mask of that name in {masks} (.png); b.jpg there is of another kind",
        f"{masks}/c.png: no image of that name in {images} ({EXTENSIONS}); c.psd there is of another kind",
        f"{masks}/d.png: no image of that name in {images} ({EXTENSIONS})",
    ]
    assert [problem.stem for problem in found.problems] == ["b", "c", "d"]


def test_missing_folders_are_named_together(tmp_path):
    with pytest.raises(RunError) as error:
        find_pairs(str(tmp_path / "x"), str(tmp_path / "y"))
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [f"{tmp_path}/x", f"{tmp_path}/y"]


def test_refuses_the_same_folder_twice(make):
    images, _ = make(["a.jpg"])
    with pytest.raises(RunError, match=r"both images and masks.*--mask_suffix"):
        find_pairs(images, images + "/")


def test_a_folder_of_images_without_masks_names_each(make):
    found = find_pairs(*make(["a.jpg", "b.jpg"]))
    assert found.pairs == ()
    assert len(found.problems) == 2


def test_refuses_a_name_that_is_not_utf8(make):
    images, masks = make(["a.jpg"], ["a.png"])
    with open(images.encode() + b"/caf\xe9.jpg", "wb"):
        pass
    with pytest.raises(RunError, match=r"the file name b'caf\\xe9.jpg' there is not UTF-8; rename it"):
        find_pairs(images, masks)


@pytest.mark.parametrize(
    "place", [Place(), Place(images="x"), Place(masks="x"), Place(input="x", masks="y"), Place("x", "y", "z")]
)
def test_refuses_other_flags_than_its_own(place):
    with pytest.raises(UsageError, match="--source=folders: allowed: --images and --masks, or --input alone"):
        find_folders(place)
