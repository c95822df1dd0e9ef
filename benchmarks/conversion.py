"""How fast convert-dataset is beside a plain loop, and how much memory it takes.

    python benchmarks/conversion.py

The plain loop does what the scripts of the TensorFlow models repository do: one process opens each pair with Pillow,
checks sizes and mask values, encodes both again and writes a tf.train.Example. Both read the same files, whose pages
are in memory after the first run; runs alternate, as other work on the machine slows both.
"""

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
from kseg.knobs import Range, check, knob

SIZE = (360, 480)  # height, width in pixels: CamVid's
SCENES = 50  # drawn; the other pairs are links to their files
CLASSES = 4
SAMPLE_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """Flags of the benchmark."""

    pairs: int = knob(2000, "Pairs that both convert.", allowed=POSITIVE)
    workers: int = knob(2, "Of convert-dataset.", allowed=POSITIVE)
    rounds: int = knob(3, "Alternating runs of each.", allowed=POSITIVE)
    few: int = knob(200, "The smaller data set for the memory.", allowed=POSITIVE)
    many: int = knob(20000, "The larger one; 0 leaves the memory out.", allowed=Range(0, 10**6))
    plain: str = knob(None, "Internal: convert this folder by the plain loop and stop.")

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


def convert(root: pathlib.Path, workers: int) -> list[str]:
    """The command line of convert-dataset for the drawn folder."""
    program = "from data_tools.convert import main; main()"
    folders = [f"--images={root}/train", f"--masks={root}/train_annotation", f"--output={root}/records"]
    flags = ["--split=train", f"--num_classes={CLASSES}", f"--workers={workers}"]
    return [sys.executable, "-c", program, *folders, *flags]


def seconds(command: list[str]) -> float:
    """Wall clock of a process, its start and TensorFlow's import included."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


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
    ours, plain = convert(root, config.workers), [sys.executable, __file__, f"--plain={root}"]
    print(f"{config.pairs} pairs of {SIZE[1]} x {SIZE[0]}; pairs a second, process start included")
    print(f"{'round':>5}  {'plain loop':>10}  {f'{config.workers} workers':>10}  {'ratio':>6}")
    for index in range(config.rounds):
        slow, fast = seconds(plain), seconds(ours)
        print(f"{index + 1:>5}  {config.pairs / slow:>10.0f}  {config.pairs / fast:>10.0f}  {slow / fast:>5.1f}x")


def compare_memory(root: pathlib.Path, config: BenchmarkConfig) -> None:
    """Prints the memory for few and for many pairs."""
    peaks = []
    for count in (config.few, config.many):
        folder = root / str(count)
        draw_pairs(folder, count)
        peaks.append(peak_megabytes(convert(folder, config.workers)))
        print(f"memory at {count:>6} pairs: {peaks[-1]:.0f} MB (all processes)")
        shutil.rmtree(folder)
    print(f"difference: {peaks[1] - peaks[0]:.0f} MB")


def run(config: BenchmarkConfig) -> None:
    """Draws, measures, prints."""
    if config.plain is not None:
        plain_loop(pathlib.Path(config.plain))
        return
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        draw_pairs(root / "speed", config.pairs)
        compare_speed(root / "speed", config)
        if config.many:
            compare_memory(root, config)


if __name__ == "__main__":
    launch("conversion.py", "convert-dataset beside a plain loop: speed and memory.", BenchmarkConfig, run)
