"""Images a second of the training input, from TFRecords to batches: one JSON line.

    python benchmarks/input.py --images=camvid/train --masks=camvid/train_annotation --crop_size=480
    python benchmarks/input.py --images=camvid/train --masks=camvid/train_annotation --make_large=large

The first converts the folders (outside of the timing) and measures; --data takes a converted folder instead. The second
measures nothing: it makes large/train and large/train_annotation of 2048 x 1024 pixels from frames of the first, and
their records, large/records.
"""

import contextlib
import dataclasses
import io
import json
import pathlib
import tempfile
import time

from PIL import Image

from kseg.command import launch
from kseg.config.values import POSITIVE
from kseg.errors import RunError
from kseg.knobs import Range, check, knob, parse

LARGE = (2048, 1024)  # width, height in pixels
LARGE_COUNT = 60
QUALITY = 92


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """Flags of the benchmark."""

    data: str = knob(None, "A folder that convert-dataset wrote; without it --images and --masks are converted.")
    images: str = knob("camvid/train", "Folder of JPEG files.")
    masks: str = knob("camvid/train_annotation", "Folder of their masks, PNG.")
    num_classes: int = knob(11, "Of --masks.", allowed=Range(2, 254))
    base_size: int = knob(520, "Pixels, as in kseg-train.", allowed=POSITIVE)
    crop_size: int = knob(480, "Pixels, as in kseg-train.", allowed=POSITIVE)
    batch: int = knob(4, "Pictures.", allowed=POSITIVE)
    seconds: float = knob(8.0, "How long to measure, after an epoch to warm up.", allowed=Range(0.1, 3600))
    parallel: int = knob(0, "Calls at once, each of up to 4 pictures; 0 = as kseg-train.", allowed=Range(0, 1024))
    make_large: str = knob(None, "Write large pictures to this folder instead of measuring.")

    def __post_init__(self):
        check(self)


def make_large(config: InputConfig) -> None:
    """FOLDER/train/*.jpg, train_annotation/*.png: the middle two thirds of frames, enlarged; and FOLDER/records."""
    folder = pathlib.Path(config.make_large)
    for name in ("train", "train_annotation"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for path in _frames(config)[:LARGE_COUNT]:
        image = Image.open(path)
        # The largest window of the result's aspect ratio, in the middle.
        height = min(image.height, image.width * LARGE[1] / LARGE[0])
        width = height * LARGE[0] / LARGE[1]
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (left, top, left + width, top + height)
        large = image.convert("RGB").resize(LARGE, Image.Resampling.BICUBIC, box=box)
        large.save(folder / "train" / path.name, quality=QUALITY)
        mask = Image.open(pathlib.Path(config.masks) / f"{path.stem}.png")
        mask = mask.resize(LARGE, Image.Resampling.NEAREST, box=box)
        # Grey: of a palette OpenCV, which peers read with, makes three channels of colours, and thrice the work.
        mask = Image.frombytes("L", LARGE, mask.tobytes())
        mask.save(folder / "train_annotation" / f"{path.stem}.png")
    made = {"images": str(folder / "train"), "masks": str(folder / "train_annotation")}
    convert(dataclasses.replace(config, **made), str(folder / "records"))


def _frames(config: InputConfig) -> list[pathlib.Path]:
    found = sorted(pathlib.Path(config.images).glob("*.jpg"))
    if not found:
        raise RunError(f"--images: no *.jpg in {config.images}; expected a folder of JPEG files")
    return found


def convert(config: InputConfig, folder: str) -> None:
    """Converts --images and --masks to TFRecords in `folder`."""
    from data_tools import convert

    _frames(config)
    flags = [f"--images={config.images}", f"--masks={config.masks}", f"--output={folder}", "--split=train"]
    parsed = parse(convert.ConvertConfig, ["convert-dataset", *flags, f"--num_classes={config.num_classes}"])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        convert.run(parsed)


def measure(folder: str, config: InputConfig) -> float:
    """Images a second."""
    from kseg import records, storage
    from kseg.data import pipeline

    dataset = records.read_dataset(folder)
    split = dataset.split("train")
    if config.parallel:
        pipeline.PARALLEL = config.parallel
    batches = pipeline.train_dataset(
        [storage.join(dataset.folder, shard.name) for shard in split.shards],
        examples=split.examples,
        num_classes=dataset.labels.num_classes,
        samples_per_epoch=split.examples,
        epochs=range(10**6),
        batch_size=config.batch,
        base_size=config.base_size,
        crop_size=config.crop_size,
        seed=0,
    )
    iterator = iter(batches)
    for _ in range(-(-split.examples // config.batch)):
        next(iterator)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < config.seconds:
        next(iterator)
        count += config.batch
    del iterator
    return count / elapsed


def run(config: InputConfig) -> None:
    """Measures and prints, or makes large pictures."""
    if config.make_large:
        make_large(config)
        return
    with tempfile.TemporaryDirectory() as folder:
        if config.data is None:
            convert(config, folder)
        rate = measure(config.data or folder, config)
    sizes = {"base_size": config.base_size, "crop_size": config.crop_size}
    print(json.dumps({"peer": "kseg", "what": "input", **sizes, "images_per_second": round(rate, 1)}))


if __name__ == "__main__":
    launch("input.py", "Speed of the training input.", InputConfig, run)
