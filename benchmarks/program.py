"""How much of the bare training step's speed kseg-train as a whole reaches. Prints one JSON line.

    python benchmarks/program.py --data=camvid-records

Trains as kseg-train does, from records, with all its callbacks, and takes the images per second that it reports for an
epoch. After every epoch the very train function that Keras compiled for it steps on one constant batch in memory, as
often as the epoch had steps: pairs of the same process, minutes apart at most. The first epoch, which traces the graph
and starts the pipeline, is left out, and so is validation, of which one batch is scored.
"""

import dataclasses
import json
import statistics
import tempfile
import time
from unittest import mock

from network import NetworkFlags

from kseg.command import launch
from kseg.config.values import ABOVE_16, FOLDER, POSITIVE
from kseg.knobs import REQUIRED, check, knob


@dataclasses.dataclass(frozen=True)
class ProgramConfig(NetworkFlags):
    """Flags of the benchmark."""

    data: str = knob(REQUIRED, "Records of convert-dataset.", allowed=FOLDER)
    base_size: int = knob(520, "As of kseg-train.", allowed=ABOVE_16, unit="pixels")
    steps: int = knob(8, "Of an epoch, and of the bare step after it.", allowed=POSITIVE)
    pairs: int = knob(5, "Epochs that count.", allowed=POSITIVE)

    def __post_init__(self):
        check(self)


def train_config(config: ProgramConfig, output_dir: str):
    """The flags of kseg-train."""
    from kseg.config import TrainConfig

    return TrainConfig(
        data=config.data,
        output_dir=output_dir,
        algorithm=config.algorithm,
        base_size=config.base_size,
        crop_size=config.crop_size,
        mini_batch_size=config.batch,
        num_training_samples=config.steps * config.batch,
        mixed_precision=config.precision,
        epochs=config.pairs + 1,
        aux_loss_weight=0.0,
        use_pretrained_model=False,
        validation_pictures=0,
    )


def bare_steps(config: ProgramConfig):
    """A callback that runs the model's own train function alone after every epoch, and the list of its speeds."""
    import keras
    from train_step import constant_batches

    speeds: list[float] = []

    class BareSteps(keras.callbacks.Callback):
        """Steps on a constant batch."""

        def __init__(self, step, classes: int):
            super().__init__()
            self.step, self.batches = step, constant_batches(config.batch, config.crop_size, classes)

        def on_epoch_end(self, epoch, logs=None):
            """Images per second of as many steps as an epoch has, from the first's beginning to the last's end."""
            start = time.perf_counter()
            for _ in range(config.steps):
                last = self.step(self.batches)
            float(last["loss"])
            speeds.append(config.steps * config.batch / (time.perf_counter() - start))

    return BareSteps, speeds


def run(config: ProgramConfig) -> None:
    """Trains, prints."""
    from kseg import checkpoints, trainer
    from kseg.models.trainee import Trainee
    from kseg.plan import Plan

    bare, speeds = bare_steps(config)
    fit, validation_data = Trainee.fit, Plan.validation_data

    def fit_with_bare_steps(model, *arguments, callbacks, **keywords):
        model.make_train_function()  # Keras's own, before anything takes its place
        step = bare(model.train_function, model.network.output_shape[-1])
        return fit(model, *arguments, callbacks=[*callbacks, step], **keywords)

    def one_batch(plan, *arguments):
        return validation_data(plan, *arguments).take(1)

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(Trainee, "fit", fit_with_bare_steps),
        mock.patch.object(Plan, "validation_data", one_batch),
    ):
        trainer.train(train_config(config, folder))
        entries = checkpoints.read_timing(folder)[1:]
    program, bare_speeds = [entry["images_per_second"] for entry in entries], speeds[1:]
    ratios = [one / other for one, other in zip(program, bare_speeds, strict=True)]
    line = {
        "peer": "kseg",
        "what": "program",
        "crop_size": config.crop_size,
        "batch": config.batch,
        "precision": config.precision,
        "program_images_per_second": program,
        "bare_images_per_second": [round(speed, 3) for speed in bare_speeds],
        "ratio": round(statistics.median(ratios), 4),
        "input_wait": [entry["input_wait"] for entry in entries],
    }
    print(json.dumps(line))


if __name__ == "__main__":
    launch("program.py", "Compares kseg-train with its bare training step.", ProgramConfig, run)
