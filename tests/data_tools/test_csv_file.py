import pytest
from trees import lines, make_tree

from data_tools.pairs import Pair, Place
from data_tools.sources.csv_file import find_csv, fits
from kseg.errors import RunError


@pytest.fixture
def write(tmp_path):
    """Writes the text and gives the file's path."""
    make_tree(tmp_path, "i/a.jpg", "i/b,c.jpg", "m/a.png", "m/b.png", 'm/"q".png')

    def table(text):
        path = tmp_path / "list.csv"
        path.write_bytes(text.encode())
        return str(path)

    return table


def found(path):
    return find_csv(Place(path)).splits[""]


@pytest.mark.parametrize("header", ["", "image,mask\r\n", "\ufeffimage,mask\n", '"File","Its mask"\n'])
def test_pairs_with_and_without_a_header(write, tmp_path, header):
    result = found(write(header + 'i/a.jpg, m/a.png\r\n"i/b,c.jpg",m/b.png\r\n'))
    assert result.problems == ()
    assert result.pairs == (
        Pair("i/a", "i/a.jpg", f"{tmp_path}/i/a.jpg", f"{tmp_path}/m/a.png"),
        Pair("i/b,c", "i/b,c.jpg", f"{tmp_path}/i/b,c.jpg", f"{tmp_path}/m/b.png"),
    )


def test_the_split_has_the_name_that_is_given(write):
    assert list(find_csv(Place(write("i/a.jpg,m/a.png"), split="train")).splits) == ["train"]


def test_doubled_quotes(write, tmp_path):
    assert found(write('i/a.jpg,"m/""q"".png"\n')).pairs[0].mask == f'{tmp_path}/m/"q".png'


def test_a_header_later_on_is_none(write, tmp_path):
    path = write("i/a.jpg,m/a.png\nimage,mask\n")
    assert lines(found(path).problems) == [f"{path}:2: {tmp_path}/image: no such file"]


def test_bad_lines_are_named_by_the_line_they_begin_in(write):
    path = write('image,mask\n"i/\nx.jpg",m/a.png\ni/a.jpg\n\ni/a.jpg,m/a.png,1\n,m/a.png\ni/a.jpg,m/b.png\n')
    assert [pair.mask[-7:] for pair in found(path).pairs] == ["m/b.png"]
    first, *others = lines(found(path).problems)
    assert first.startswith(f"{path}:2: ") and first.endswith(r"i/\nx.jpg': no such file")
    assert others == [
        f"{path}:4: 1 columns; expected 2: image,mask",
        f"{path}:5: an empty line; remove it",
        f"{path}:6: 3 columns; expected 2: image,mask",
        f"{path}:7: an empty field; expected image,mask",
    ]


def test_files_without_an_extension_are_no_header(write, tmp_path):
    for name in ("e0", "ann0"):
        (tmp_path / name).touch()
    path = write("e0,ann0\n")
    assert [pair.stem for pair in found(path).pairs] == ["e0"]
    path = write("e0;ann0\n")
    assert lines(found(path).problems) == [f"{path}:1: 1 columns; expected 2: image,mask; separate them by a comma"]
    path = write("frames/0001,masks/0001\n")
    assert lines(found(path).problems) == [f"{path}:1: {tmp_path}/frames/0001: no such file"]
    path = write("image,mask\ne0;ann0\n")
    assert lines(found(path).problems) == [f"{path}:2: 1 columns; expected 2: image,mask; separate them by a comma"]


def test_an_open_quote_does_not_swallow_the_rest(write):
    with pytest.raises(RunError, match=r"list.csv:2: not CSV \(.*\); are its quotes closed"):
        found(write('i/a.jpg,m/a.png\n"i/b.jpg,m/b.png\ni/c.jpg,m/c.png\n'))


def test_fits(tmp_path):
    assert fits("x.CSV")
    assert not fits("x.json")
    assert not fits(make_tree(tmp_path / "folder.csv"))
