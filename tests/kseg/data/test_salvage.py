"""--on_bad_record: what is refused at once, what is skipped, and what is said about it."""

import pathlib
import shutil

import pytest
import tensorflow as tf

from kseg import records
from kseg.data import salvage
from kseg.errors import RunError


@pytest.fixture
def data(tiny_data, tmp_path):
    """A copy of the tiny data set (train: 3 + 3 pictures) that a test may spoil."""
    return shutil.copytree(tiny_data, tmp_path / "data")


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Where temporary files go in these tests."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


def shards(data, on_bad_record="skip"):
    return salvage.Shards(records.read_dataset(str(data)), on_bad_record)


def shard(data, number) -> pathlib.Path:
    return data / f"train-{number:05d}-of-00002.tfrecord"


def spoil(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def names(source):
    """File names of the records, by shard."""
    return [
        [records.parse(serialized)[records.FILENAME].numpy().decode() for serialized in tf.data.TFRecordDataset(path)]
        for path in source.paths
    ]


@pytest.mark.parametrize("choice", ["refuse", "skip"])
def test_a_sound_data_set_is_read_where_it_is(data, scratch, choice, capsys):
    with shards(data, choice) as opened:
        source = opened.open("train")
        assert source.paths == [str(shard(data, number)) for number in (0, 1)]
        assert (source.examples, source.num_classes) == (6, 2)
        assert opened.open("train") is source  # looked at once
        assert list(scratch.iterdir()) == []
        with pytest.raises(RunError, match=r"no split 'test' in dataset\.json"):
            opened.open("test")
    assert capsys.readouterr().out == ""


def test_refusing_names_file_and_record(data, scratch):
    mend = r"; run convert-dataset again, or --on_bad_record=skip to go on without it$"
    whole = shard(data, 1).read_bytes()
    size = rf"; {len(whole) - 9} bytes, dataset\.json says {len(whole)}"
    shard(data, 1).write_bytes(whole[:-9])
    with pytest.raises(
        RunError, match=rf"{shard(data, 1)}: record 2 \(5.jpg\): cut off: \d+ of \d+ bytes are there{size}{mend}"
    ):
        shards(data, "refuse").open("train")
    shard(data, 1).unlink()
    missing = r": records 0 to 2: listed in dataset\.json but not there"
    with pytest.raises(RunError, match=rf"^{shard(data, 1)}{missing}{mend}"):
        shards(data, "refuse").open("train")
    assert list(scratch.iterdir()) == []


def test_refusing_sound_records_that_dataset_json_does_not_describe(data):
    """Three other records in as many frames."""
    described = records.read_dataset(str(data)).splits["train"].shards[0].bytes
    shutil.copy(data / "validation-00000-of-00001.tfrecord", shard(data, 0))
    with pytest.raises(RunError, match=rf"{shard(data, 0)}: \d+ bytes, dataset\.json says {described}; run convert"):
        shards(data, "refuse").open("train")


def test_skipping_tells_of_a_sound_shard_of_other_content(data, capsys):
    """A copy of another shard; dataset.json says its size too."""
    shutil.copy(data / "validation-00000-of-00001.tfrecord", shard(data, 0))
    with shards(data) as opened:
        assert opened.open("train").examples == 6
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"warning: {shard(data, 0)}: sound, but not the shard that dataset.json describes")


def test_skipping_leaves_out_what_is_damaged_and_says_so(data, scratch, capsys):
    spoil(shard(data, 0), shard(data, 0).stat().st_size // 2)
    with shards(data) as opened:
        source = opened.open("train")
        assert names(source) == [["0.jpg", "2.jpg"], ["3.jpg", "4.jpg", "5.jpg"]]
        assert (source.examples, [part.examples for part in source.parts]) == (5, [2, 3])
        assert source.paths[1] == str(shard(data, 1)) and source.paths[0].startswith(str(scratch))
        assert opened.open("validation").examples == 3
    assert list(scratch.iterdir()) == []
    assert capsys.readouterr().out.splitlines() == [
        f"skipped: {shard(data, 0)}: record 1 (1.jpg): damaged: its checksum is not that of its bytes",
        "skipped 1 of 6 records of train (1 shard)",
    ]


def test_skipping_a_missing_shard_and_a_cut_one(data, capsys):
    shard(data, 0).unlink()
    shard(data, 1).write_bytes(shard(data, 1).read_bytes()[:-1])
    with shards(data) as opened:
        assert names(opened.open("train")) == [["3.jpg", "4.jpg"]]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"skipped: {shard(data, 0)}: records 0 to 2: listed in dataset.json but not there"
    assert lines[1].startswith(f"skipped: {shard(data, 1)}: record 2 (5.jpg): cut off: ")
    assert lines[2] == "skipped 4 of 6 records of train (2 shards)"


def test_skipping_everything_is_an_error(data, scratch, capsys):
    shard(data, 0).unlink()
    shard(data, 1).write_bytes(b"")
    opened = shards(data)
    with pytest.raises(RunError, match=rf"{data}: no record of train is sound; run convert-dataset again"), opened:
        opened.open("train")
    assert "skipped 6 of 6 records of train (2 shards)" in capsys.readouterr().out
    assert list(scratch.iterdir()) == []


def test_many_faults_are_counted_after_the_first(data, capsys, monkeypatch):
    monkeypatch.setattr(salvage, "LISTED", 1)
    for number in (0, 1):
        spoil(shard(data, number), 100)
    shards(data).open("train")
    assert capsys.readouterr().out.splitlines()[1:] == [
        "skipped: … and 1 more places",
        "skipped 2 of 6 records of train (2 shards)",
    ]


def test_no_place_for_the_copy_is_an_error(data, scratch):
    spoil(data / "validation-00000-of-00001.tfrecord", 100)
    spoil(shard(data, 0), 100)
    with shards(data) as opened:
        assert opened.open("validation").examples == 2
        (copies,) = scratch.iterdir()
        shutil.rmtree(copies)
        message = rf"{shard(data, 0)}: its sound records cannot be copied to {scratch}: .*No such file.*TMPDIR"
        with pytest.raises(RunError, match=message):
            opened.open("train")
