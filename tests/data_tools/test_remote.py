"""convert-dataset from s3:// and to s3://, against a server: what is written, and the exit status."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from drawn import class_mask, encoded, photo, write_pairs
from s3_server import BUCKET, needs_tensorflow_io, s3_server

from data_tools import convert
from kseg import knobs

STEMS = ["a", "b c", "ü/d+e", *map(str, range(13))]
IN = f"s3://{BUCKET}/in"


def write_four(root: pathlib.Path) -> None:
    """The layout of four directories, whose splits have masks of different encodings, and a label map for each."""
    for split, values in {"train": (0, 3, 6), "validation": (6, 3, 0)}.items():
        in_file = np.array([*values, *[255] * 253], np.uint8)
        for index in range(3):
            image, mask = root / split / f"{index}.jpg", root / f"{split}_annotation" / f"{index}.png"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            image.write_bytes(encoded(photo(24, 32, index), "JPEG"))
            mask.write_bytes(encoded(in_file[class_mask(24, 32, index)]))
    (root / "label_map").mkdir()
    (root / "label_map" / "train_label_map.json").write_text('{"scale": "3"}')
    (root / "label_map" / "validation_label_map.json").write_text('{"map": {"0": 6, "1": 3, "2": 0}}')


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> pathlib.Path:
    """pairs/, with a manifest of relative references and one of s3:// ones; four/; broken/, with one mask cut short."""
    root = tmp_path_factory.mktemp("local")
    write_pairs(root / "pairs", STEMS)
    for base, name in (("", "relative"), (f"{IN}/pairs/", "remote")):
        lines = [{"source-ref": f"{base}images/{stem}.jpg", "mask-ref": f"{base}masks/{stem}.png"} for stem in STEMS]
        (root / "pairs" / f"{name}.manifest").write_text("\n".join(map(json.dumps, lines)))
    write_four(root / "four")
    write_pairs(root / "broken", ["good", "bad", "fine"])
    mask = root / "broken" / "masks" / "bad.png"
    mask.write_bytes(mask.read_bytes()[:-20])
    return root


@pytest.fixture(scope="module")
def server(local):
    with s3_server() as server:
        server.upload(local, "in")
        yield server


def convert_dataset(server, *flags: str) -> tuple[int, str]:
    """Exit status of the command, and its own lines on standard error (the progress bar left out)."""
    command = [str(pathlib.Path(sys.executable).with_name("convert-dataset")), *flags]
    done = subprocess.run(command, env=server.environment, capture_output=True, text=True, check=False)
    assert "virtual method" not in done.stderr
    start = done.stderr.find("convert-dataset: ")
    return done.returncode, done.stderr[start:] if start >= 0 else ""


def converted(folder: pathlib.Path, *flags: str) -> dict[str, bytes]:
    """What a local conversion writes: file name -> content."""
    convert.run(knobs.parse(convert.ConvertConfig, ["convert-dataset", *flags, f"--output={folder}"]))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def folder_flags(root: str) -> list[str]:
    return [f"--images={root}/images", f"--masks={root}/masks", "--split=train", f"--classes={root}/classes.txt"]


@needs_tensorflow_io
def test_folders_by_two_processes(server, local, tmp_path):
    """Byte for byte the local conversion, nothing else left there, and no request that is not needed."""
    before = len(server.requests())
    output = f"--output=s3://{BUCKET}/folders/"
    assert convert_dataset(server, *folder_flags(f"{IN}/pairs"), output, "--workers=2") == (0, "")
    expected = converted(tmp_path / "out", *folder_flags(f"{local}/pairs"))
    assert sorted(expected) == ["dataset.json", "train-00000-of-00002.tfrecord", "train-00001-of-00002.tfrecord"]
    assert server.content("folders") == expected
    of_one = [request for request in server.requests()[before:] if "images/7.jpg" in request]
    assert len(of_one) == 4  # two for its size, two for its content


@pytest.fixture(scope="module")
def session(server) -> None:
    """Converts four/ and the manifest, and broken/ with --on_error=skip, in one process (3 s each otherwise)."""
    runs = [
        [f"--input={IN}/four", "--num_classes=3", f"--output=s3://{BUCKET}/four"],
        [f"--input={IN}/pairs/remote.manifest", "--split=train", "--num_classes=3", f"--output=s3://{BUCKET}/manifest"],
        [*folder_flags(f"{IN}/broken"), "--on_error=skip", "--num_shards=3", f"--output=s3://{BUCKET}/skipped"],
    ]
    command = [sys.executable, pathlib.Path(__file__).with_name("remote_session.py"), *map(json.dumps, runs)]
    subprocess.run(command, env=server.environment, check=True)


@needs_tensorflow_io
@pytest.mark.usefixtures("session")
def test_four_directories(server, local, tmp_path):
    expected = converted(tmp_path / "out", f"--input={local}/four", "--num_classes=3")
    assert len(expected) == 3
    assert server.content("four") == expected


@needs_tensorflow_io
@pytest.mark.usefixtures("session")
def test_a_manifest_of_s3_references(server, local, tmp_path):
    flags = [f"--input={local}/pairs/relative.manifest", "--split=train", "--num_classes=3"]
    assert server.content("manifest") == converted(tmp_path / "out", *flags)


@needs_tensorflow_io
@pytest.mark.usefixtures("session")
def test_a_shard_whose_only_pair_was_skipped(server, local, tmp_path):
    """It is an empty file here as there; tensorflow-io by itself makes none."""
    flags = [*folder_flags(f"{local}/broken"), "--on_error=skip", "--num_shards=3"]
    expected, there = converted(tmp_path / "out", *flags), server.content("skipped")
    (problem,) = map(json.loads, there.pop("problems.jsonl").splitlines())
    assert problem["file"] == f"{IN}/broken/masks/bad.png"
    del expected["problems.jsonl"]
    assert [len(content) for content in expected.values()].count(0) == 1
    assert there == expected


@needs_tensorflow_io
def test_a_bad_mask_ends_with_1_and_leaves_nothing(server):
    status, message = convert_dataset(server, *folder_flags(f"{IN}/broken"), f"--output=s3://{BUCKET}/refused")
    assert status == 1
    assert "1 problem, 3 pairs checked, nothing written" in message
    assert f"{IN}/broken/masks/bad.png: truncated or damaged" in message
    assert "Traceback" not in message
    assert server.content("refused") == {}


@needs_tensorflow_io
def test_a_flag_found_wrong_in_the_midst_ends_with_2(server):
    flags = [*folder_flags(f"{IN}/broken"), f"--output=s3://{BUCKET}/wrong", "--num_shards=4"]
    status, message = convert_dataset(server, *flags)
    assert (status, message) == (
        2,
        "convert-dataset: --num_shards=4: allowed: 1 to 3, the number of pictures in train\n",
    )
    assert server.content("wrong") == {}
