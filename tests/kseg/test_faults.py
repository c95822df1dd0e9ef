"""Disks that become full or may not be written: the commands as a user meets them, and what tells the reasons."""

import errno
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest
import tensorflow as tf

from kseg import faults
from kseg.errors import RunError

# Two epochs of three steps.
FLAGS = ["--backbone=resnet-18", "--use_pretrained_model=False", "--output_stride=32", "--base_size=48"]
FLAGS += ["--crop_size=32", "--mini_batch_size=2", "--epochs=2", "--validation_mini_batch_size=1", "--deterministic"]
FLAGS += ["--mixed_precision=float32", "--validation_pictures=1", "--checkpoint_every_steps=2"]
FULL, LIMITED = "the disk is full (No space left on device)", "no file of that size is allowed there (File too large)"


def mounted(folder: pathlib.Path, command: list[str]) -> list[str]:
    """A command that has a small disk of its own at `folder`, which no other process sees."""
    mount = f"mount -t tmpfs -o size=64m tmpfs {shlex.quote(str(folder))}"
    root = "-m" if os.getuid() == 0 else "-rm"
    return ["unshare", root, "sh", "-c", f"{mount} && exec {shlex.join(map(str, command))}"]


def may_mount(folder: pathlib.Path) -> bool:
    if not shutil.which("unshare"):
        return False
    return not subprocess.run(mounted(folder, ["true"]), capture_output=True, check=False).returncode


@pytest.fixture(scope="module")
def told(tiny_data, tmp_path_factory) -> dict:
    """What faulty_runs.py tells, on a real disk where one may be mounted, else under a limit; `full`: its words."""
    folder = tmp_path_factory.mktemp("disk")
    way = "disk" if may_mount(folder) else "limit"
    command = [sys.executable, pathlib.Path(__file__).with_name("faulty_runs.py"), tiny_data, folder, way]
    command.append(json.dumps(FLAGS))
    command = mounted(folder, command) if way == "disk" else command
    environment = os.environ | {"KSEG_CACHE": str(tmp_path_factory.mktemp("cache"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.split("TOLD ")[1]) | {"full": FULL if way == "disk" else LIMITED}


def message(start: dict) -> str:
    """The one line that a command ended with; the others are progress bars."""
    assert start["status"] == 1, start["err"]
    lines = start["err"].replace("\r", "\n").splitlines()
    others = [line for line in lines[:-1] if line.strip() and "images/s]" not in line]
    assert others == []
    return lines[-1]


def hit(starts: list[dict]) -> dict[str, str]:
    """The messages of the starts that a fault hit."""
    return {start["fault"]: message(start) for start in starts if start["fault"]}


def test_a_training_on_a_full_disk_says_so_in_one_line(told):
    found, full = hit(told["training"]), told["full"]
    kept = "is kept, and the same command goes on from it"
    assert f"/run/labels.json: cannot be written: {full}" in found["configuration"]
    place = "/run/checkpoints/epoch-0000{}-step-000000{}: cannot be written: {}; what earlier checkpoints hold {}"
    assert found["checkpoint"].endswith(place.format(0, 2, full, kept))
    assert found["place of a checkpoint"].endswith(place.format(1, 0, full, kept))
    assert found["last model"].endswith(
        f"/run/last/model.keras: cannot be written: {full}; what earlier epochs left {kept}"
    )
    assert f"/run/metrics.jsonl: cannot be written: {full}" in found["metrics"]
    assert "/run/tensorboard" in found["TensorBoard"]
    assert found["TensorBoard"].endswith((f": {full}", ": the disk is full, or was for a moment"))


def test_nothing_half_written_stays_and_the_same_command_comes_to_the_same_end(told):
    assert [start["there"] for start in told["training"]] == [[]] * len(told["training"])
    assert [start["status"] for start in told["training"] if start["fault"] is None] == [0, 0]
    assert "after epoch 1 and step 1 of 3" in told["training"][-1]["out"]  # all of it but the last partial interval
    whole, run = told["metrics"]
    assert whole == run
    assert whole.count("\n") == 2


def test_export_and_conversion_leave_nothing_and_work_once_there_is_room(told):
    starts = {start["fault"]: start for start in told["writing"] if start["fault"]}
    found, full = hit(starts.values()), told["full"]
    for fault in ("variables", "warm-up"):
        assert found[fault].endswith(f"/export/1: cannot be written: {full}")
        assert starts[fault]["there"] == []
    assert found["shard"].endswith(f".tfrecord: cannot be written: {full}")
    assert starts["shard"]["there"] == []
    assert found["dataset.json"].endswith(f"/records/dataset.json: cannot be written: {full}")
    assert [name for name in starts["dataset.json"]["there"] if not name.endswith(".tfrecord")] == ["records"]
    after = [start for start in told["writing"] if start["fault"] is None]
    assert [start["status"] for start in after] == [0, 0]
    assert not [name for start in after for name in start["there"] if ".part" in name]


def test_where_nothing_may_be_written_is_said_before_the_work(told):
    found = hit(told["read-only"])
    assert set(found) == {"kseg-train", "kseg-export", "convert-dataset", "kseg-predict", "kseg-eval"}
    for name, line in found.items():
        assert line.startswith(f"{name}: /")
        assert "read-only" in line or "this user may make no files in /proc/self" in line
    assert [start["out"] for start in told["read-only"]] == [""] * len(found)


SAID = {
    FULL: OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "the quota of this disk is used up (Disk quota exceeded)": tf.errors.ResourceExhaustedError(
        None, None, "{{function_node __wrapped__SaveV2}} /run/state; Disk quota exceeded [Op:SaveV2]"
    ),
    LIMITED: OSError("unable to flush (errno = 27, error message = 'File too large', buf = 0x55)"),  # as h5py says it
    "Permission denied": PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/run/state"),
    "another": RunError("another\nand more"),
}


@pytest.mark.parametrize("words", SAID)
def test_reasons_are_in_words(words):
    assert faults.why("/run/state", SAID[words]) == words


def test_the_disk_of_temporary_files_is_named_for_what_is_remote():
    assert faults.why("gs://bucket/state", SAID[FULL]).startswith(f"{FULL}, of temporary files in /")


def test_a_folder_that_cannot_be_written_is_refused_and_not_made(tmp_path):
    faults.refuse_unwritable(str(tmp_path / "new" / "newer"))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match=r"newer: cannot be written: .*/file is no folder"):
        faults.refuse_unwritable(str(tmp_path / "file" / "newer"))
    with pytest.raises(RunError, match=r"^/proc/self/new: cannot be written: this user may make no files in /proc/"):
        faults.refuse_unwritable("/proc/self/new")
