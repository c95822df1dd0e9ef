"""Runs killed at chosen points, in real processes that all start at once: what they leave, and that a new run heals."""

import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from converted import convert as converted
from drawn import flags, write_pairs

from kseg import records
from kseg.errors import RunError

SHARDS = 3
# What is called, in this order: sha256 for each shard aside; write_text for dataset.json without the split; rename for
# each shard; write_text for dataset.json with it; remove for each old shard.
POINTS = {
    "writing": ("sha256", 2),  # into a new folder, from two worker processes; the others replace a split
    "renaming": ("rename", 2),
    "cleaning": ("remove", 2),  # the first call is for the staging folder's left-over
}


def convert(root: pathlib.Path, output: pathlib.Path, split: str = "train", num_shards: int = SHARDS) -> None:
    converted(root, output, split, num_shards=num_shards)


def content(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> pathlib.Path:
    root = tmp_path_factory.mktemp("source")
    write_pairs(root, [f"{index}" for index in range(9)])
    return root


@pytest.fixture(scope="module")
def killed(source, tmp_path_factory) -> dict[str, tuple[pathlib.Path, int]]:
    """{point: (output folder, process group)} of runs that are dead."""
    old = tmp_path_factory.mktemp("old")
    write_pairs(old, [f"{index}" for index in range(12)], seed=100)
    running = {}
    for point, (function, last) in POINTS.items():
        output = tmp_path_factory.mktemp(point) / "records"
        if point != "writing":
            # As many shards as the new run's, or (cleaning) more of them.
            convert(old, output, num_shards=SHARDS + (point == "cleaning"))
            convert(old, output, "validation", num_shards=1)
        if point == "cleaning":
            (output / ".train.0123abcd.part").mkdir()
        options = flags(source, output, num_shards=SHARDS, workers=2 if point == "writing" else 1)[1:]
        program = [sys.executable, str(pathlib.Path(__file__).with_name("killed_run.py")), function, str(last)]
        # A file, not a pipe: a pipe would stay open as long as a worker lives.
        with (output.parent / "messages").open("w") as messages:
            process = subprocess.Popen([*program, *options], stderr=messages, stdout=messages, start_new_session=True)
        running[point] = (output, process)
    ended = {}
    for point, (output, process) in running.items():
        status = process.wait(timeout=120)
        assert status == -signal.SIGKILL, f"{point}: {(output.parent / 'messages').read_text()}"
        ended[point] = (output, process.pid)
    return ended


def assert_whole(output: pathlib.Path, split: str) -> None:
    """Every shard that dataset.json lists for a split is there with the bytes it says."""
    dataset = records.read_dataset(str(output))
    shards = dataset.split(split).shards
    for path, shard in zip(dataset.shard_paths(split), shards, strict=True):
        assert hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() == shard.sha256


def test_killed_while_writing_nothing_can_be_taken_for_a_shard(killed):
    output, _ = killed["writing"]
    assert tf.io.gfile.glob(f"{output}/*.tfrecord") == []  # this glob would find names that start with a dot
    assert not (output / "dataset.json").exists()
    assert [path.name[:7] for path in output.iterdir()] == [".train."]


def test_killed_while_replacing_the_split_is_refused_and_the_other_one_stays(killed):
    output, _ = killed["renaming"]
    with pytest.raises(RunError, match=r"no split 'train' in dataset\.json; there: validation"):
        records.read_dataset(str(output)).shard_paths("train")
    assert_whole(output, "validation")
    for path in output.glob("*.tfrecord"):
        assert 3 <= sum(1 for _ in tf.data.TFRecordDataset(str(path))) <= 12  # each file by itself is whole


def test_killed_while_old_shards_are_deleted_the_new_split_is_there(killed):
    output, _ = killed["cleaning"]
    for split in ("train", "validation"):
        assert_whole(output, split)
    assert records.read_dataset(str(output)).split("train").examples == 9


def test_worker_processes_end_with_their_killed_parent(killed):
    _, group = killed["writing"]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        os.sched_yield()
    os.killpg(group, signal.SIGKILL)
    pytest.fail("a worker process is still there")


def test_a_new_run_heals_all_of_them_byte_for_byte(killed, source, tmp_path):
    convert(source, tmp_path)
    clean = content(tmp_path)
    shards = {name: data for name, data in clean.items() if name.startswith("train")}
    assert len(shards) == SHARDS
    for output, _ in killed.values():
        convert(source, output)
        there = content(output)
        assert {name: data for name, data in there.items() if name.startswith("train")} == shards
        assert not [name for name in there if name.startswith(".")]
        assert_whole(output, "train")
    assert content(killed["writing"][0]) == clean
