import hashlib
import json

import pytest

from data_tools.inspection.output import Output
from kseg.errors import RunError


def write(folder, *names, given=(), html=None):
    output = Output(str(folder), html, map(str, given))
    with output.made():
        output.write({name: name.encode() for name in names} | {"summary.json": b'{"path": "x"}'})


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_was_written_is_recorded_and_makes_room(tmp_path):
    folder = tmp_path / "deep" / "out"
    write(folder, "classes.txt", "convert.flags", "train_label_map.json", "contact_sheet_train.png")
    (folder / "notes.txt").write_text("the user's")
    write(folder, "classes.txt", "sizes.png")
    assert names(folder) == ["classes.txt", "notes.txt", "sizes.png", "summary.json"]
    written = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("classes.txt", "sizes.png")}
    assert json.loads((folder / "summary.json").read_text()) == {"path": "x", "written": written}


@pytest.mark.parametrize("name", ["classes.txt", "my_label_map.json", "summary.json"])
def test_files_of_others_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text('{"my": "own"}')
    with pytest.raises(RunError, match=rf"^{tmp_path}: {name} would be overwritten, .*another --output$"):
        write(tmp_path)
    assert names(tmp_path) == [name]


def test_a_file_that_was_changed_since_is_the_users(tmp_path):
    write(tmp_path, "classes.txt")
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(RunError, match=r"classes\.txt would be overwritten"):
        write(tmp_path, "classes.txt")
    write(tmp_path, "convert.flags", given=[tmp_path / "classes.txt"])  # names put in, then used
    assert (tmp_path / "classes.txt").read_text() == "sky\nroad\n"
    with pytest.raises(RunError, match=r"classes\.txt would be overwritten"):
        write(tmp_path, "classes.txt", given=[tmp_path / "classes.txt"])


def test_a_suggestion_that_is_used_as_it_is_stays(tmp_path):
    write(tmp_path, "train_label_map.json", "colors.txt")
    write(tmp_path, "convert.flags", given=[tmp_path])
    assert names(tmp_path) == ["convert.flags", "summary.json", "train_label_map.json"]
    write(tmp_path, "train_label_map.json")  # known as written by an inspection still
    write(tmp_path)
    assert names(tmp_path) == ["summary.json"]


def test_what_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=rf"^{tmp_path}/file: is a file; expected a folder for --output$"):
        write(tmp_path / "file")
    with pytest.raises(RunError, match=rf"{tmp_path}/file/under: cannot be written: {tmp_path}/file is no folder$"):
        write(tmp_path / "file" / "under")
    with pytest.raises(RunError, match=rf"{tmp_path}: is a folder; expected the name of a file"):
        write(tmp_path / "new", html=str(tmp_path))
    assert names(tmp_path) == ["file"]


def test_a_new_folder_goes_when_the_work_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(ValueError), Output(str(tmp_path / "new"), None, ()).made():
            assert (tmp_path / "new").is_dir()
            raise ValueError
        assert names(tmp_path) == []
    (tmp_path / "new").mkdir()
    with pytest.raises(ValueError), Output(str(tmp_path / "new"), None, ()).made():
        raise ValueError
    assert names(tmp_path) == ["new"]
