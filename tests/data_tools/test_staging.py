import pytest

from data_tools.staging import staging
from kseg.errors import RunError


def test_a_folder_of_its_own_that_goes_with_the_new_output(tmp_path):
    output = tmp_path / "out"
    with staging(str(output), {"train"}) as aside:
        assert [str(path) for path in output.iterdir()] == [aside]
    assert not output.exists()


def test_one_process_at_a_time_writes_a_split(tmp_path):
    with staging(str(tmp_path), {"train", "test"}) as aside, staging(str(tmp_path), {"validation"}):
        with pytest.raises(RunError, match="another conversion is writing train there; wait for it"):
            with staging(str(tmp_path), {"train", "validation"}):
                pass
        assert aside in [str(path) for path in tmp_path.iterdir()]
    assert not list(tmp_path.iterdir())


def test_what_killed_runs_left_goes(tmp_path):
    for name in (".train.0123abcd.part", ".test.train.0123abcd.part", ".validation.0123abcd.part", ".trained"):
        (tmp_path / name).mkdir()
    (tmp_path / ".problems.0123abcd.part.jsonl").touch()
    with staging(str(tmp_path), {"train"}):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".trained", ".validation.0123abcd.part"]
