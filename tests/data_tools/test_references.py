import os

import pytest
from trees import lines, make_tree, stems

from data_tools.pairs import Pair, Place
from data_tools.sources.references import Line, pairs_of, read_input
from kseg.errors import RunError, UsageError


@pytest.fixture
def root(tmp_path):
    return make_tree(tmp_path, *(f"{folder}/{name}" for folder in ("x", "y") for name in ("a.jpg", "a.png", "b c.png")))


def found(path, *references):
    return pairs_of(path, [Line(number, *both) for number, both in enumerate(references, 1)])


def test_kinds_of_references(root):
    result = found(
        f"{root}/x/list.csv",
        ("a.jpg", "a.png"),
        ("../y/a.jpg", f"{root}/y/a.png"),
        (f"file://{root}/x/b%20c.png", f"file://localhost{root}/y/b%20c.png"),
        ("s3://bucket/p/a.jpg", "gs://bucket/p/a.png"),
    )
    assert result.problems == ()
    assert [(pair.stem, pair.filename, os.path.normpath(pair.image), pair.mask) for pair in result.pairs[:3]] == [
        ("a", "a.jpg", f"{root}/x/a.jpg", f"{root}/x/a.png"),
        ("b c", "b c.png", f"{root}/x/b c.png", f"{root}/y/b c.png"),
        ("bucket/p/a", "bucket/p/a.jpg", "s3:/bucket/p/a.jpg", "gs://bucket/p/a.png"),
    ]
    assert result.pairs[2].image == "s3://bucket/p/a.jpg"
    assert (result.pairs[3].stem, os.path.normpath(result.pairs[3].image)) == ("y/a", f"{root}/y/a.jpg")


def test_a_stem_does_not_depend_on_the_other_lines_nor_on_how_it_is_referred_to(root):
    inside, outside = (f"{root}/x/a.jpg", f"{root}/x/a.png"), (f"{root}/y/a.jpg", f"{root}/y/a.png")
    path = f"{root}/x/list.csv"
    assert stems(found(path, inside)) == ["a"]
    assert stems(found(path, outside)) == [f"{root}/y/a"[1:]]
    assert stems(found(path, inside, outside)) == ["a", f"{root}/y/a"[1:]]
    assert stems(found(f"{root}/list.csv", inside, outside)) == ["x/a", "y/a"]
    assert stems(found(f"{root}/list.csv", ("x/a.jpg", "x/a.png"))) == ["x/a"]


def test_a_remote_list_of_relative_references():
    result = found("s3://bucket/lists/train.csv", ("a.jpg", "../masks/a.png"), ("s3://bucket/lists/b/c.jpg", "m.png"))
    assert result.problems == ()
    assert result.pairs == (
        Pair("a", "a.jpg", "s3://bucket/lists/a.jpg", "s3://bucket/masks/a.png"),
        Pair("b/c", "b/c.jpg", "s3://bucket/lists/b/c.jpg", "s3://bucket/lists/m.png"),
    )


def test_a_list_in_the_working_folder(root, monkeypatch):
    monkeypatch.chdir(root)
    assert found("list.csv", ("x/a.jpg", f"{root}/x/a.png")).pairs == (
        Pair("x/a", "x/a.jpg", "x/a.jpg", f"{root}/x/a.png"),
    )
    assert stems(found("list.csv", (f"{root}/x/a.jpg", "x/a.png"))) == ["x/a"]


def test_bad_references_are_named_by_line(root):
    result = found(
        f"{root}/list",
        ("x/none.jpg", "x/a.png"),
        ("x/a.jpg", "x"),
        ("ftp://host/a.jpg", "x/a.png"),
        ("file://x/a.jpg", "x/a.png"),
        ("x/a\0.jpg", "x/a.png"),
        ("x/\ud800.jpg", "x/a.png"),
        ("x/a.png", "x/a.png"),
        ("y/a.jpg", "y/a.png"),
    )
    assert stems(result) == ["y/a"]
    kinds = "expected a path relative to this file, an absolute one, file:///… or s3://…"
    assert lines(result.problems) == [
        f"{root}/list:1: {root}/x/none.jpg: no such file",
        f"{root}/list:2: {root}/x: no such file",
        f"{root}/list:3: ftp://host/a.jpg has an unknown scheme; {kinds}",
        f"{root}/list:4: file://x/a.jpg is not absolute; {kinds}",
        rf"{root}/list:5: 'x/a\x00.jpg' is no file name; {kinds}",
        rf"{root}/list:6: 'x/\ud800.jpg' is no file name; {kinds}",
        f"{root}/list:7: x/a.png is given for both image and mask; expected two files",
    ]


def test_lines_of_one_stem_make_no_pair(root):
    result = found(f"{root}/list", ("x/a.jpg", "x/a.png"), ("y/a.jpg", "y/a.png"), (f"{root}/x/a.jpg", "y/a.png"))
    assert stems(result) == ["y/a"]
    assert lines(result.problems) == [
        f"{root}/list:3: x/a.jpg has the stem of x/a.jpg in line 1; expected one line a stem"
    ]
    assert result.problems[0].stem == "x/a"


def test_read_input(tmp_path):
    path = tmp_path / "list"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n\r\n")
    assert read_input(Place(str(path)), "csv") == (str(path), "a,b")
    for content, message in ((b" \n", "an empty file"), (b"\xff", "not UTF-8 text")):
        path.write_bytes(content)
        with pytest.raises(RunError, match=f"list: {message}"):
            read_input(Place(str(path)), "csv")
    with pytest.raises(RunError, match="is a folder; --source=csv reads a file"):
        read_input(Place(str(tmp_path)), "csv")
    with pytest.raises(RunError, match="cannot be read"):
        read_input(Place(f"{tmp_path}/none"), "csv")
    with pytest.raises(UsageError, match="--input is required"):
        read_input(Place(), "csv")
