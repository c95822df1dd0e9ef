"""convert-dataset --runner=beam on Beam's DirectRunner, with two worker processes."""

import subprocess
import sys

import pytest
from converted import convert
from drawn import flags, write_pairs
from test_writer import content

from data_tools.beam import beam_runner, write_job
from kseg.errors import RunError, UsageError

TWO_WORKERS = "--direct_num_workers=2 --direct_running_mode=multi_processing"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("beam")
    write_pairs(root, [f"frame_{index}" for index in range(12)])
    return root


def test_two_worker_processes_write_the_shards_of_the_local_run(root, tmp_path):
    convert(root, tmp_path / "local", num_shards=3)
    program = [sys.executable, "-c", "from data_tools.convert import main; main()"]
    argv = flags(root, tmp_path / "beam", num_shards=3, runner="beam", beam_args=TWO_WORKERS)[1:]
    done = subprocess.run([*program, *argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "beam") == content(tmp_path / "local")
    assert len(content(tmp_path / "local")) == 4


def test_problems_of_all_shards_are_told_at_once_and_nothing_is_written(root, tmp_path):
    bad = tmp_path / "bad"
    write_pairs(bad, [f"frame_{index}" for index in range(6)])
    for index in (1, 4):
        (bad / "images" / f"frame_{index}.jpg").write_bytes(b"no picture")
    with pytest.raises(RunError, match="2 problems, 6 pairs checked, nothing written") as error:
        convert(bad, tmp_path / "out", num_shards=3, runner=beam_runner([]))
    assert [line.split(": ")[0].strip() for line in str(error.value).splitlines()[1:3]] == [
        f"{bad}/images/frame_{index}.jpg" for index in (1, 4)
    ]
    assert not (tmp_path / "out").exists()


def test_bad_pairs_are_skipped_as_locally(tmp_path):
    bad = tmp_path / "bad"
    write_pairs(bad, [f"frame_{index}" for index in range(6)])
    (bad / "masks" / "frame_2.png").write_bytes(b"")
    for name, runner in (("local", None), ("beam", beam_runner([]))):
        entry = convert(bad, tmp_path / name, num_shards=2, skip_problems=True, runner=runner)
        assert (entry.examples, entry.skipped) == (5, 1)
    assert content(tmp_path / "beam") == content(tmp_path / "local")
    assert "problems.jsonl" in content(tmp_path / "beam")


def test_a_step_done_twice_leaves_one_whole_shard(root, tmp_path):
    """As a runner may do it; the jobs are those that a real run left, caught before it publishes."""
    seen = []

    def twice(jobs, folder, *how):
        results = beam_runner([])(jobs, folder, *how)
        for index in range(len(jobs)):
            write_job(f"{folder}/job-{index:05d}")
        seen.extend(results)
        return results

    convert(root, tmp_path / "local", num_shards=2)
    convert(root, tmp_path / "beam", num_shards=2, runner=twice)
    assert [result.shard.examples for result in seen] == [6, 6]
    assert content(tmp_path / "beam") == content(tmp_path / "local")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--runner=Nope", "Unexpected pipeline runner: Nope"),
        ("--direct_num_workers=abc", "invalid int value: 'abc'"),
        ("--max_num_wrokers=3", "--max_num_wrokers=3 is no option of Apache Beam's DirectRunner"),
        ("--help", "--help is no option"),
    ],
)
def test_wrong_options_of_beam_are_told_before_the_work(option, message):
    with pytest.raises(UsageError) as error:
        beam_runner([option])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_options_that_only_a_job_server_knows_pass():
    assert callable(beam_runner(["--runner=FlinkRunner", "--object_reuse"]))
