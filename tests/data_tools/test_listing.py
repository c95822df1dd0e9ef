import inspect
import os
import sys

import pytest
from trees import lines, make_tree

from data_tools.sources.listing import files_of, images_of, masks_of, refuse_missing
from kseg.errors import RunError


def test_lists_subfolders_and_passes_over_hidden_names(tmp_path):
    root = make_tree(tmp_path, "b.jpg", "a/x.png", "a/deep/er/y.txt", "._b.jpg", ".DS_Store", ".trash/c.jpg", "odd")
    assert files_of(root) == (("a/deep/er/y.txt", "a/x.png", "b.jpg", "odd"), ())
    assert files_of(root, leave_out=f"{root}/a/deep/")[0] == ("a/x.png", "b.jpg", "odd")


def test_images_and_masks_by_stem(tmp_path):
    root = make_tree(tmp_path, "a.JPG", "a_L.png", "b.txt", "a_L.Tif")
    assert images_of(root).names == {"a": ["a.JPG"], "a_L": ["a_L.Tif", "a_L.png"]}
    assert masks_of(root, "_L").names == {"a": ["a_L.png"]}
    assert masks_of(root, "_L").path("a") == f"{root}/a_L.png"


def test_links_that_lead_back_or_nowhere_are_named(tmp_path):
    root = make_tree(tmp_path / "root", "a/x.jpg", "b/y.jpg")
    os.symlink(tmp_path / "root", tmp_path / "root/a/loop")
    os.symlink(".", tmp_path / "root/b/self")
    os.symlink(tmp_path, tmp_path / "root/b/up")  # above the folder that is listed, so this one is in it again
    os.symlink("gone", tmp_path / "root/lost")
    os.symlink("round", tmp_path / "root/round")
    os.symlink("b", tmp_path / "root/c")  # no loop: the files are there under a second name
    files, problems = files_of(root)
    assert files == ("a/x.jpg", "b/y.jpg", "c/y.jpg")
    assert lines(problems) == [
        f"{root}/a/loop: a symbolic link back to {root}; remove it",
        f"{root}/b/self: a symbolic link back to {root}/b; remove it",
        f"{root}/b/up: a symbolic link back to {tmp_path}; remove it",
        f"{root}/c/self: a symbolic link back to {root}/b; remove it",
        f"{root}/c/up: a symbolic link back to {tmp_path}; remove it",
        f"{root}/lost: a symbolic link to gone, which is not there",
        f"{root}/round: a symbolic link to round, which is not there",
    ]
    assert images_of(root).problems == problems


def test_folders_deeper_than_the_stack(tmp_path):
    file = "d/" * 150 + "x.jpg"  # not a thousand: pytest removes folders by recursion
    make_tree(tmp_path, file)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 100)
    try:
        assert files_of(str(tmp_path)) == ((file,), ())
    finally:
        sys.setrecursionlimit(limit)


def test_missing_folders_are_named(tmp_path):
    root = make_tree(tmp_path, "file")
    with pytest.raises(RunError) as error:
        refuse_missing(root, f"{root}/file", f"{root}/line\nbreak")
    assert str(error.value).splitlines() == [
        f"{root}/file: no such folder; expected one of pictures",
        f"{f'{root}/line' + chr(10) + 'break'!r}: no such folder; expected one of pictures",
    ]
