"""How fast convert-dataset is beside a plain loop, and how much memory it takes.

    python benchmarks/conversion.py

The plain loop does what the scripts of the TensorFlow models repository do: one process opens each pair with Pillow,
checks sizes and mask values, encodes both again and writes a tf.train.Example. Both read the same files, whose pages
are in memory after the first run; runs alternate, as other work on the machine slows both. Each is a process of its
own that imports TensorFlow first; the time of the work alone and that of the whole process are given.
"""

import contextlib
import dataclasses
import io
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
from PIL import Image

from kseg.command import launch
from kseg.config.values import POSITIVE
from kseg.knobs import OneOf, Range, check, knob, parse

SIZE = (360, 480)  # height, width in pixels: CamVid's
SCENES = 50  # drawn; the other pairs are links to their files
CLASSES = 4
SAMPLE_SECONDS = 0.1
PROGRAM = "from data_tools.convert import main; main()"


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Flags of the benchmark."""

    pairs: int = knob(2000, "Pairs that both convert.", allowed=POSITIVE)
    workers: int = knob(2, "Of convert-dataset.", allowed=POSITIVE)
    rounds: int = knob(3, "Alternating runs of each.", allowed=POSITIVE)
    few: int = knob(200, "The smaller data set for the memory.", allowed=POSITIVE)
    many: int = knob(20000, "The larger one; 0 leaves the memory out.", allowed=Range(0, 10**6))
    time: str = knob(None, "Internal: what a child process does.", allowed=OneOf(("plain", "ours")))
    root: str = knob(None, "Internal: the folder it does it in.")

    def __post_init__(self):
        check(self)


def draw_pairs(root: pathlib.Path, count: int) -> None:
    """ROOT/train/*.jpg and ROOT/train_annotation/*.png: scenes of the demo's kind, repeated by hard links."""
    from data_tools.sources import synthetic

    images, masks = root / "train", root / "train_annotation"
    images.mkdir(parents=True)
    masks.mkdir()
    for index in range(count):
        image, mask = images / f"{index:06d}.jpg", masks / f"{index:06d}.png"
        if index < SCENES:
            picture, classes = synthetic.scene(*SIZE, (0, index))
            Image.fromarray(picture).save(image, "JPEG", quality=92)
            Image.fromarray(classes).save(mask, "PNG")
        else:
            os.link(images / f"{index % SCENES:06d}.jpg", image)
            os.link(masks / f"{index % SCENES:06d}.png", mask)


def plain_loop(root: pathlib.Path) -> None:
    """Decodes, checks, encodes again and writes, a pair after the other."""
    import tensorflow as tf

    def feature(value: bytes | int) -> tf.train.Feature:
        if isinstance(value, int):
            return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    with tf.io.TFRecordWriter(str(root / "plain.tfrecord")) as writer:
        for path in sorted((root / "train").iterdir()):
            image = np.asarray(Image.open(path).convert("RGB"))
            mask = np.asarray(Image.open(root / "train_annotation" / f"{path.stem}.png"))
            if image.shape[:2] != mask.shape:
                raise ValueError(f"{path}: sizes differ")
            values = np.unique(mask)
            if ((values >= CLASSES) & (values != 255)).any():
                raise ValueError(f"{path}: values that are no class")
            encoded_image, encoded_mask = io.BytesIO(), io.BytesIO()
            Image.fromarray(image).save(encoded_image, "JPEG", quality=95)
            Image.fromarray(mask).save(encoded_mask, "PNG")
            features = {
                "image/encoded": feature(encoded_image.getvalue()),
                "image/filename": feature(path.name.encode()),
                "image/height": feature(image.shape[0]),
                "image/width": feature(image.shape[1]),
                "image/segmentation/class/encoded": feature(encoded_mask.getvalue()),
            }
            example = tf.train.Example(features=tf.train.Features(feature=features))
            writer.write(example.SerializeToString())


def flags(root: pathlib.Path, workers: int) -> list[str]:
    """Those of convert-dataset for the drawn folder."""
    folders = [f"--images={root}/train", f"--masks={root}/train_annotation", f"--output={root}/records"]
    return [*folders, "--split=train", f"--num_classes={CLASSES}", f"--workers={workers}"]


def timed(config: BenchmarkConfig) -> float:
    """Does the work of a child process; returns its seconds without TensorFlow's import."""
    import tensorflow  # noqa: F401

    from data_tools import convert

    root = pathlib.Path(config.root)
    start = time.perf_counter()
    if config.time == "plain":
        plain_loop(root)
    else:
        parsed = parse(convert.ConvertConfig, ["convert-dataset", *flags(root, config.workers)])
        with contextlib.redirect_stdout(io.StringIO()):
            convert.run(parsed)
    return time.perf_counter() - start


def seconds(which: str, root: pathlib.Path, config: BenchmarkConfig) -> tuple[float, float]:
    """Of the work, and of its whole process."""
    command = [sys.executable, __file__, f"--time={which}", f"--root={root}", f"--workers={config.workers}"]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout), time.perf_counter() - start


def peak_megabytes(command: list[str]) -> float:
    """The most memory that a process and its children held together; pages they share are counted once."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(_proportional_set(pid) for pid in _tree(process.pid)))
        threading.Event().wait(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"{command} ended with status {process.returncode}")
    return peak / 1024


def _tree(pid: int) -> list[int]:
    try:
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(each for child in children for each in _tree(int(child)))]


def _proportional_set(pid: int) -> int:
    """PSS in kB; 0 for a process that has just ended."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def compare_speed(root: pathlib.Path, config: BenchmarkConfig) -> None:
    """Prints the pairs a second of both, in alternating runs, and their ratios."""
    print(f"{config.pairs} pairs of {SIZE[1]} x {SIZE[0]}: pairs a second in the work alone, and in the whole process")
    print(f"{'round':>5}  {'plain loop':>17}  {f'{config.workers} workers':>17}  {'ratio':>17}")
    for index in range(config.rounds):
        plain, ours = seconds("plain", root, config), seconds("ours", root, config)
        rates = [f"{config.pairs / work:>8.0f} {config.pairs / whole:>8.0f}" for work, whole in (plain, ours)]
        ratios = f"{plain[0] / ours[0]:>7.1f}x {plain[1] / ours[1]:>7.1f}x"
        print(f"{index + 1:>5}  {rates[0]}  {rates[1]}  {ratios}", flush=True)


def compare_memory(root: pathlib.Path, config: BenchmarkConfig) -> None:
    """Prints the memory for few and for many pairs."""
    peaks = []
    for count in (config.few, config.many):
        folder = root / str(count)
        draw_pairs(folder, count)
        peaks.append(peak_megabytes([sys.executable, "-c", PROGRAM, *flags(folder, config.workers)]))
        print(f"memory at {count:>6} pairs: {peaks[-1]:.0f} MB (all processes)")
        shutil.rmtree(folder)
    print(f"difference: {peaks[1] - peaks[0]:.0f} MB")


def run(config: BenchmarkConfig) -> None:
    """Draws, measures, prints."""
    if config.time is not None:
        print(timed(config))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        draw_pairs(root / "speed", config.pairs)
        compare_speed(root / "speed", config)
        if config.many:
            compare_memory(root, config)


if __name__ == "__main__":
    launch("conversion.py", "convert-dataset beside a plain loop: speed and memory.", BenchmarkConfig, run)
