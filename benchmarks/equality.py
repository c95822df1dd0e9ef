"""How far two devices and two workers train from one device, beside what rounding alone does. A JSON line a comparison.

    python benchmarks/equality.py [--learning_rate=0.00001] [--precision=float64 --steps=3]

kseg-train on the demo (configs/demo_fcn.flags, two epochs, syncbn, auxiliary head, class weights, last batches that do
not divide): on one device, on two mirrored ones, as two workers, and two controls. "moved" is one device again, from
initial weights of which each was multiplied by 1 + 1e-8 x a normal deviate: in float32 one in some 2,700 changes, by
its last bit. Where it is as far from the first run as two devices are, their distance is rounding, which a network
grows: a ReLU that one rounding turns on or off turns its whole gradient on or off. In float64, at some twenty times the
time and without Winograd's convolutions and fused batch normalisation, rounding is too small for that. "without syncbn"
is two devices with statistics of their own, which has to be seen. Status 1 where two devices or two workers are further
away than --within, or two devices without syncbn are not.
"""

import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile

import numpy as np

from kseg.command import launch
from kseg.config.values import ABOVE_0
from kseg.errors import RunError
from kseg.knobs import OneOf, Range, check, knob

HERE = pathlib.Path(__file__).parent
RECIPE = HERE.parent / "configs" / "demo_fcn.flags"
BATCH, MISSING, LOSSES = 8, 3, ("train:loss", "validation:loss")  # pictures missing in an epoch's last batch
FLAGS = ("--epochs=2", f"--mini_batch_size={BATCH}", "--mixed_precision=float32")
FLAGS += ("--aux_loss_weight=0.4", "--class_weights=balanced", "--validation_mini_batch_size=7")
FLAGS += ("--validation_pictures=0", "--keep_checkpoints=9")
CONTROL = "without syncbn"
KINDS = {
    "moved": {"moved": 1e-8},
    "two devices": {"devices": 2},
    "two workers": {"workers": 2},
    CONTROL: {"devices": 2, "syncbn": False},
}


@dataclasses.dataclass(frozen=True)
class EqualityConfig:
    """Flags of the benchmark."""

    learning_rate: float = knob(1e-5, "Of the trainings; the demo's own is 0.02.", allowed=ABOVE_0)
    optimizer: str = knob("sgd", "Of the trainings.", allowed=OneOf(("sgd", "adam")))
    precision: str = knob("float32", "Of weights and arithmetic.", allowed=OneOf(("float32", "float64")))
    steps: int = knob(20, "Of an epoch, of 8 pictures each.", allowed=Range(2, 20))
    within: float = knob(1e-4, "The most that losses, scores and weights may be apart, relative.", allowed=ABOVE_0)

    def __post_init__(self):
        check(self)


def train(
    config: EqualityConfig, data: str, output: pathlib.Path, *, moved: float = 0.0, devices=1, workers=1, syncbn=True
) -> None:
    """One training, of as many processes as workers; RunError with the last lines of one that fails."""
    flags = [f"--flagfile={RECIPE}", *FLAGS, f"--learning_rate={config.learning_rate}", f"--data={data}"]
    flags += [
        f"--num_training_samples={BATCH * config.steps - MISSING}",
        f"--checkpoint_every_steps={config.steps - 1}",
    ]
    flags += [f"--optimizer={config.optimizer}", f"--output_dir={output}", "--syncbn" if syncbn else "--nosyncbn"]
    flags += [f"--logical_devices={devices}"] if devices > 1 else []
    command = [sys.executable, HERE / "equality_run.py", config.precision, str(moved), *flags]
    variables = os.environ | {"KSEG_CACHE": "off", "CUDA_VISIBLE_DEVICES": "-1"}
    there = addresses(workers)
    running = []
    for index in range(workers):
        cluster = {"cluster": {"worker": there}, "task": {"type": "worker", "index": index}}
        more = {"TF_CONFIG": json.dumps(cluster)} if workers > 1 else {}
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        running.append(subprocess.Popen(command, env=variables | more, **pipes))
    errors = [process.communicate()[1] for process in running]
    failed = [error for process, error in zip(running, errors, strict=True) if process.returncode]
    if failed:
        raise RunError(f"{output.name}: the training failed:\n" + "\n".join(failed[0].splitlines()[-15:]))


def addresses(count: int) -> list[str]:
    """Of ports that nobody listens on."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    found = [f"localhost:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return found


def weights(folder: pathlib.Path) -> dict[str, np.ndarray]:
    """Of the last epoch's model, statistics included, by their paths."""
    import keras

    from kseg.models import segmenter  # noqa: F401 - makes kseg's layers known to Keras

    network = keras.saving.load_model(folder / "last" / "model.keras", compile=False)
    return {each.path: keras.ops.convert_to_numpy(each) for each in network.weights}


def confusion(folder: pathlib.Path) -> np.ndarray:
    """Of the last epoch's training, up to the last checkpoint within it."""
    places = sorted(folder.glob("checkpoints/*/place.json"))
    (*_, scores) = (kept for place in places if (kept := json.loads(place.read_text())["scores"]))
    return np.asarray(scores[-1]["value"])


def apart(one: pathlib.Path, other: pathlib.Path) -> dict:
    """The largest distances of a run from `one`.

    Of losses and scores relative, of a weight or statistic to the largest of its tensor or to 1, of pixels their share.
    """
    from kseg import checkpoints

    expected, found = (checkpoints.read_metrics(str(folder)) for folder in (one, other))
    pairs = [
        (name, abs(theirs[name] - ours[name]) / max(abs(ours[name]), 1e-12))
        for ours, theirs in zip(expected, found, strict=True)
        for name in ours
        if ":" in name
    ]
    tensors, others = weights(one), weights(other)
    of_weights = [np.abs(others[name] - value).max() / max(np.abs(value).max(), 1) for name, value in tensors.items()]
    counted = confusion(one)
    return {
        "loss": max(distance for name, distance in pairs if name in LOSSES),
        "scores": max(distance for name, distance in pairs if name not in LOSSES),
        "weights": float(max(of_weights)),
        "confusion": float(np.abs(confusion(other) - counted).sum() / 2 / counted.sum()),
    }


def run(config: EqualityConfig) -> int:
    """Draws, trains, prints."""
    from benchmarks.soak import draw_data

    status = 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data = draw_data(name)
        train(config, data, folder / "one")
        for kind, options in KINDS.items():
            train(config, data, folder / kind, **options)
            found = apart(folder / "one", folder / kind)
            print(json.dumps({"peer": kind, "what": "equality", **dataclasses.asdict(config), **found}), flush=True)
            if kind != "moved" and (max(found.values()) <= config.within) == (kind == CONTROL):
                status = 1
    return status


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parent))  # data_tools is installed, but maybe another's
    launch("equality.py", "Trains on one device, two devices and two workers and compares.", EqualityConfig, run)
