import pytest

from data_tools.colors import read_colors
from kseg.errors import UsageError


def written(tmp_path, text: str, encoding: str = "utf-8") -> str:
    path = tmp_path / "colors.txt"
    path.write_text(text, encoding=encoding)
    return str(path)


def test_a_line_a_class(tmp_path):
    text = "# made by hand\nroad 1 2 3\n\n  traffic light  40 50 60\nVOID 0 0 0\ncar\t255 0 7\n"
    text += "Unlabeled 9 9 9\nignore 8 8 8\n"
    table = read_colors(written(tmp_path, text, "utf-8-sig"))
    assert table.names == ("road", "traffic light", "car")
    assert table.colors == ((1, 2, 3), (40, 50, 60), (255, 0, 7))
    assert table.ignored == ((0, 0, 0), (9, 9, 9), (8, 8, 8))
    assert table.values == {
        **{(1, 2, 3): 0, (40, 50, 60): 1, (255, 0, 7): 2},
        **{(0, 0, 0): 255, (9, 9, 9): 255, (8, 8, 8): 255},
    }
    assert table.shared == {}


def test_the_nearest_colour(tmp_path):
    table = read_colors(written(tmp_path, "a 0 0 0\nb 100 0 0\nvoid 0 0 250\n"))
    assert table.nearest((60, 10, 0)) == ("b", (100, 0, 0))
    assert table.nearest((0, 0, 200)) == ("ignored", (0, 0, 250))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2 3\nb 4 5\n", r"line 2: 'b 4 5'; allowed: name r g b"),
        ("a 1 2 3\n4 5 6\n", r"line 2: '4 5 6'; allowed: name r g b"),
        ("a 1 2 3\n# c\nb 4 5 256\n", r"line 3: 'b 4 5 256'; allowed: name r g b, with r, g and b from 0 to 255"),
        ("a 1 2 3\nb 4 -5 6\n", "line 2"),
        ("a 1 2 " + "9" * 5000, "line 1"),
        ("64 128 64 Animal\n", r"line 1: '64 128 64 Animal'; .*; the name comes first"),
        ("a 1 2 3\nb 1 2 3\n", r"'a' and 'b' have the colour \(1, 2, 3\)"),
        ("a 1 2 3\nb 4 4 4\nvoid 1 2 3\n", r"'a' and 'void' have the colour"),
        ("a 1 2 3\na 4 5 6\n", "'a' is there twice"),
        ("a 1 2 3\nvoid 4 5 6\n", "1 classes; allowed: 2 to 254"),
        ("".join(f"c{index} {index} 0 0\n" for index in range(255)), "255 classes; allowed: 2 to 254"),
        ("", "0 classes"),
    ],
)
def test_refused_files_are_named(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(UsageError, match=message) as error:
        read_colors(path)
    assert str(error.value).startswith(f"--colors={path}: ")


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"--colors=vox: cannot be read \(No such file.*, or cityscapes, voc, ade20k$"):
        read_colors("vox")
    (tmp_path / "latin.txt").write_bytes(b"stra\xdfe 1 2 3\n")
    with pytest.raises(UsageError, match=r"latin\.txt: cannot be read .*utf-8"):
        read_colors(str(tmp_path / "latin.txt"))
    with pytest.raises(UsageError, match=r"cannot be read \(Is a directory\)"):
        read_colors(str(tmp_path))
