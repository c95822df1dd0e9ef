"""Every hostile input ends in a message or a good record, by itself and in a run of the whole command."""

import contextlib
import json
import os
import pathlib
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from hostile import GOOD_IMAGE, GOOD_MASK, hostile_cases, write_cases
from odd_files import write_oddities

from data_tools import convert
from data_tools.encoding import make_encoding
from data_tools.pairs import Pair
from data_tools.preparation import Prepared, Recipe, prepare
from kseg import records

CASES = hostile_cases()
RECIPE = Recipe(make_encoding(3))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Holds images/ and masks/ of all cases."""
    folder = tmp_path_factory.mktemp("torture")
    write_cases(folder, CASES)
    return folder


@pytest.fixture(scope="module")
def oddities(folder) -> list[str]:
    return write_oddities(folder)


def faults_of(image: bytes, mask: bytes, height: int, width: int) -> list[str]:
    """What is wrong with a record's pictures, decoded as a training does."""
    try:
        pixels = records.decode_image(tf.constant(image))
        classes = tf.io.decode_png(mask, channels=1).numpy()
    except tf.errors.InvalidArgumentError as error:
        return [error.message]
    faults = [] if pixels.shape == (height, width, 3) else [f"image of {pixels.shape}"]
    faults += [] if classes.shape == (height, width, 1) else [f"mask of {classes.shape}"]
    return faults + ([] if np.isin(classes, (0, 1, 2, 255)).all() else ["other classes"])


def test_there_are_enough_of_them_and_a_seed_gives_the_same():
    assert len(CASES) == len({case.name for case in CASES}) >= 300
    assert hostile_cases() == CASES
    assert hostile_cases(seed=1) != CASES


@pytest.fixture(scope="module")
def bounded(folder, tmp_path_factory):
    """Stem -> what preparing and what inspecting the pair gave, in a process that may not take much memory or time."""
    pairs = [
        (case.name, f"{folder}/images/{case.name}{case.extension}", f"{folder}/masks/{case.name}.png") for case in CASES
    ]
    results = tmp_path_factory.mktemp("bounded") / "results"
    argv = [sys.executable, pathlib.Path(__file__).with_name("bounded_run.py"), results]
    done = subprocess.run(argv, input=json.dumps(pairs), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, f"died at {done.stdout.splitlines()[-1:]}: {done.stderr}"
    return pickle.loads(results.read_bytes())


def test_each_is_a_message_or_a_good_record(folder, bounded):
    wrong = {}
    for case in CASES:
        image, mask = folder / "images" / f"{case.name}{case.extension}", folder / "masks" / f"{case.name}.png"
        result, _ = bounded[case.name]
        good = isinstance(result, Prepared)
        if good:
            faults = faults_of(result.image.encoded, result.mask.encoded, result.image.height, result.image.width)
        elif isinstance(result, str):
            faults = [result]  # a traceback
        else:
            faults = [] if result else ["neither a record nor a problem"]
            faults += [f"file {each.file}" for each in result if each.file not in (str(image), str(mask))]
            faults += [f"not one line: {each}" for each in result if not str(each).isprintable() or not each.what]
        if case.good not in (None, good):
            faults.append("a record" if good else str(result))
        if faults:
            wrong[case.name] = faults
    assert wrong == {}


def test_each_can_be_inspected(bounded):
    """What conversion refuses is a fault, or the image and the mask differ in size."""
    wrong = {}
    for case in CASES:
        prepared, facts = bounded[case.name]
        if isinstance(facts, str) or isinstance(prepared, Prepared) != (
            not facts.faults and facts.size == facts.mask_size
        ):
            wrong[case.name] = facts, prepared
    assert wrong == {}


def status_of(folder, output, capfd, **flags) -> tuple[int, str]:
    """Exit status and standard error of one conversion in this process."""
    values = {"input": folder, "output": output, "split": "train", "num_classes": 3, "workers": 1} | flags
    with pytest.raises(SystemExit) as end:
        convert.main(["convert-dataset", *(f"--{name}={value}" for name, value in values.items())])
    return end.value.code, capfd.readouterr().err


def test_all_in_one_run_are_converted_or_listed(folder, oddities, tmp_path, capfd):
    status, message = status_of(folder, tmp_path / "out", capfd, on_error="skip", workers=2)
    assert status == 0
    assert "Traceback" not in message
    data = records.read_dataset(str(tmp_path / "out"))
    read, wrong = [], {}
    for example in tf.data.TFRecordDataset(data.shard_paths("train")).map(records.parse):
        name = example[records.FILENAME].numpy().decode()
        read.append(os.path.splitext(name)[0])
        size = int(example[records.HEIGHT]), int(example[records.WIDTH])
        if faults := faults_of(example[records.IMAGE].numpy(), example[records.MASK].numpy(), *size):
            wrong[name] = faults
    assert wrong == {}
    problems = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    left_out = {problem["stem"] for problem in problems}
    assert sorted([*read, *left_out]) == sorted([*(case.name for case in CASES), *oddities])
    assert set(oddities) <= left_out
    assert (len(read), len(left_out)) == (data.split("train").examples, data.split("train").skipped)
    assert {case.name for case in CASES if case.good} <= set(read)


def test_refusing_writes_nothing(folder, oddities, tmp_path, capfd):
    status, message = status_of(folder, tmp_path / "out", capfd)
    assert status == 1
    assert "pairs checked, nothing written; the first 20:" in message
    assert "Traceback" not in message
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_not_utf_8_is_named(tmp_path, capfd):
    write_cases(tmp_path, CASES[-1:])
    (tmp_path / "images" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(GOOD_IMAGE)
    status, message = status_of(tmp_path, tmp_path / "out", capfd, on_error="skip")
    assert status == 1
    assert "b'caf\\xe9.jpg' there is not UTF-8; rename it" in message


@contextlib.contextmanager
def nobody():
    """Runs the block without root's right to read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_files_that_may_not_be_read():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        os.chmod(folder, 0o755)
        image, mask = os.path.join(folder, "a.jpg"), os.path.join(folder, "a.png")
        for path, data in ((image, GOOD_IMAGE), (mask, GOOD_MASK)):
            with open(path, "wb") as file:
                file.write(data)
            os.chmod(path, 0)
        with nobody():
            problems = prepare(Pair("a", "a.jpg", image, mask), RECIPE)
    assert [(problem.file, problem.what) for problem in problems] == [
        (image, "cannot be read (Permission denied)"),
        (mask, "cannot be read (Permission denied)"),
    ]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 KiB, where this process may mount one."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=64k", "none", str(path)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_a_message_and_leaves_no_shard(folder, small_disk, capfd):
    status, message = status_of(folder, small_disk / "out", capfd, on_error="skip", num_shards=1)
    assert status == 1
    assert "train-00000-of-00001.tfrecord: cannot be written: " in message
    assert "No space left on device" in message
    assert not (small_disk / "out").exists()


def test_a_file_that_grows_too_large_is_a_message_and_leaves_no_shard(folder, tmp_path, capfd):
    """The limit on the size of a file stands for a full disk where none can be mounted: EFBIG for ENOSPC."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        status, message = status_of(folder, tmp_path / "out", capfd, on_error="skip", num_shards=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 1
    assert "train-00000-of-00001.tfrecord: cannot be written: " in message
    assert "File too large" in message
    assert not (tmp_path / "out").exists()
