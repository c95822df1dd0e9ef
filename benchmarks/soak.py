"""Whether a long training stays as it began: memory and open files at the end of every epoch. Prints one JSON line.

    python benchmarks/soak.py [--epochs=200] [--each=soak.csv]

kseg-train's own `kseg.trainer.train` on configs/demo_fcn.flags with fewer, smaller pictures of the demo's, so that an
epoch takes a second or two, but with all that a training does besides: validation of whole pictures, pictures and
scores for TensorBoard, the moving average, best and last model, a checkpoint every other step. At the end of every
epoch are noted the resident memory of the process, its open file handles, TensorFlow's functions (a trace more is a
function more) and what Python has allocated. Status 1 if after the tenth epoch memory grows by 5 %, the number of
handles or functions changes, or Python's blocks grow by 1,000 an epoch: a leak shows there before it does in memory.
"""

import dataclasses
import gc
import json
import os
import pathlib
import sys
import tempfile
import time
from typing import TextIO

from kseg.command import launch
from kseg.config import TrainConfig
from kseg.config.values import POSITIVE
from kseg.errors import UsageError
from kseg.knobs import check, knob, parse

RECIPE = pathlib.Path(__file__).parent.parent / "configs" / "demo_fcn.flags"
SETTLED = 10  # epochs, after which nothing may grow any more
MOST_GROWTH = 5.0  # percent of the memory
# An epoch. Some 500 are those of tensors made outside of a graph, which TensorFlow 2.16 never frees
# (https://github.com/tensorflow/tensorflow/issues/62551).
MOST_BLOCKS = 1000
FLAGS = ("--output_stride=32", "--base_size=48", "--crop_size=32", "--mini_batch_size=2")
FLAGS += ("--ema_decay=0.9", "--checkpoint_every_steps=2", "--validation_pictures=2", "--mixed_precision=float32")


@dataclasses.dataclass(frozen=True)
class SoakConfig:
    """Flags of the benchmark."""

    epochs: int = knob(200, "Epochs of the training.", allowed=POSITIVE)
    train_images: int = knob(6, "Pictures in training, two a step.", allowed=POSITIVE)
    validation_images: int = knob(2, "Pictures in validation.", allowed=POSITIVE)
    size: int = knob(40, "Mean side of a picture.", allowed=POSITIVE, unit="pixels")
    each: str = knob(None, "File for the figures of every epoch: epoch, MB, handles, functions, blocks.")

    def __post_init__(self):
        check(self)
        if self.epochs <= SETTLED:
            raise UsageError(f"--epochs={self.epochs}: allowed: more than {SETTLED}, after which growth is counted")


@dataclasses.dataclass(frozen=True)
class Figures:
    """Of this process, at an epoch's end.

    Attributes:
        rss_mb: resident memory, of 2^20 bytes.
        handles: open file descriptors.
        functions: that TensorFlow's runtime holds.
        blocks: of memory that Python's allocator has given out.
    """

    rss_mb: float
    handles: int
    functions: int
    blocks: int


def figures(collected: bool) -> Figures:
    """Of now; `collected`: what waits for Python's garbage collector counts to the memory, but not to the blocks."""
    from tensorflow.python.eager import context

    status = pathlib.Path("/proc/self/status").read_text()
    kilobytes = int(status.split("VmRSS:")[1].split()[0])
    handles = len(os.listdir("/proc/self/fd")) - 1  # that of the listing itself
    functions = len(context.context().list_function_names())
    if collected:
        gc.collect()
    return Figures(round(kilobytes / 2**10, 1), handles, functions, sys.getallocatedblocks())


def soaked(config: TrainConfig, each: TextIO) -> list[Figures]:
    """Trains; the figures of every epoch's end, after everything that is written there, which go to a CSV file too."""
    import keras

    from kseg import trainer

    noted, end = [], keras.callbacks.CallbackList.on_epoch_end

    def on_epoch_end(self, *arguments):
        end(self, *arguments)
        noted.append(figures(collected=len(noted) + 1 in (SETTLED, config.epochs)))
        print(len(noted), *dataclasses.astuple(noted[-1]), sep=",", file=each, flush=True)

    keras.callbacks.CallbackList.on_epoch_end = on_epoch_end
    try:
        trainer.train(config)
    finally:
        keras.callbacks.CallbackList.on_epoch_end = end
    return noted


def line(noted: list[Figures], seconds: float) -> dict:
    """The benchmark's line: what the tenth epoch left, and how far later ones went from it."""
    first, after = noted[SETTLED - 1], noted[SETTLED - 1 :]
    growth = [100 * (each.rss_mb / first.rss_mb - 1) for each in after]
    handles, functions = ([getattr(each, name) for each in after] for name in ("handles", "functions"))
    return {
        "peer": "kseg",
        "what": "soak",
        "epochs": len(noted),
        "seconds": round(seconds),
        "rss_mb": {"first": noted[0].rss_mb, "tenth": first.rss_mb, "last": noted[-1].rss_mb},
        "growth_percent": round(growth[-1], 2),
        "highest_growth_percent": round(max(growth), 2),
        "handles": [min(handles), max(handles)],
        "functions": [min(functions), max(functions)],
        "python_blocks_an_epoch": round((after[-1].blocks - first.blocks) / (len(after) - 1)),
    }


def stays(found: dict) -> bool:
    """Whether memory, handles, functions and blocks stayed as they were."""
    constant = all(low == high for low, high in (found["handles"], found["functions"]))
    return constant and found["highest_growth_percent"] < MOST_GROWTH and found["python_blocks_an_epoch"] < MOST_BLOCKS


def draw_data(folder: str, *sizes: int) -> str:
    """Converted pictures of the demo's kind, of `write_demo`'s numbers and size; their folder."""
    from data_tools import demo, jobs, writer
    from data_tools.convert import ConvertConfig

    demo.write_demo(f"{folder}/pictures", 0, *sizes)
    flags = {"input": f"{folder}/pictures", "classes": f"{folder}/pictures/classes.txt"}
    found = jobs.find_jobs(ConvertConfig(output=f"{folder}/records", **flags))
    writer.write_splits(found.splits, f"{folder}/records", found.labels, runner=writer.local_runner(1))
    return f"{folder}/records"


def run(config: SoakConfig) -> int:
    """Draws, trains, prints."""
    with tempfile.TemporaryDirectory() as folder, open(config.each or os.devnull, "w") as each:
        data = draw_data(folder, config.train_images, config.validation_images, config.size)
        places = [f"--data={data}", f"--output_dir={folder}/run", f"--epochs={config.epochs}"]
        training = parse(TrainConfig, ["soak.py", f"--flagfile={RECIPE}", *FLAGS, *places])
        began = time.monotonic()
        noted = soaked(training, each)
        seconds = time.monotonic() - began
    found = line(noted, seconds)
    print(json.dumps(found))
    return 0 if stays(found) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))  # data_tools is installed, but maybe another's
    launch("soak.py", "Trains for many epochs and sees that memory and file handles stay.", SoakConfig, run)
