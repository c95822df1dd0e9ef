"""How fast kseg's training step is by itself. Prints one JSON line.

    python benchmarks/train_step.py --algorithm=fcn --crop_size=240 --batch=4 --precision=float32

What kseg-train runs for each batch (forward, loss, backward, update, scores: the train function that Keras compiles of
`kseg.assembly.assemble`), on one constant batch in memory, without an auxiliary head, as the peers have none. After
`--warm_up` steps the median of `--steps`, each timed until its loss is there.
"""

import dataclasses
import json
import resource
import statistics
import time

from network import NetworkFlags

from kseg.command import launch
from kseg.config.values import POSITIVE
from kseg.knobs import check, knob

NUM_CLASSES = 21
ALL_STEPS = 10_000  # of the learning rate's schedule: more than any run takes


@dataclasses.dataclass(frozen=True)
class StepConfig(NetworkFlags):
    """Flags of the benchmark."""

    steps: int = knob(5, "Steps that are timed.", allowed=POSITIVE)
    warm_up: int = knob(2, "Steps before.", allowed=POSITIVE)

    def __post_init__(self):
        check(self)


def build_trainee(config: StepConfig):
    """The compiled `kseg.models.trainee.Trainee` that kseg-train makes of these flags, from random weights."""
    import keras

    from kseg.assembly import assemble
    from kseg.config import TrainConfig
    from kseg.plan import Plan

    flags = TrainConfig(
        data="unused",
        output_dir="unused",
        algorithm=config.algorithm,
        num_classes=NUM_CLASSES,
        crop_size=config.crop_size,
        mini_batch_size=config.batch,
        aux_loss_weight=0.0,
        use_pretrained_model=False,
        epochs=1,
    )
    keras.utils.set_random_seed(flags.seed)
    plan = Plan(flags, dataset=None, steps_per_epoch=ALL_STEPS, class_weights=None, shards=None)
    return assemble(plan, config.precision, replicas=1).model


def constant_batches(batch: int, crop_size: int, num_classes: int):
    """An endless tf.data iterator of the same images uint8 [B, c, c, 3] and masks uint8 [B, c, c]."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (batch, crop_size, crop_size, 3), np.uint8)
    masks = random.integers(0, num_classes, (batch, crop_size, crop_size), np.uint8)
    return iter(tf.data.Dataset.from_tensors((images, masks)).repeat())


def seconds_of_steps(model, batches, *, warm_up: int, steps: int) -> list[float]:
    """Seconds of each of `steps` training steps, until the loss is on the host."""
    model.make_train_function()
    times = []
    for _ in range(warm_up + steps):
        start = time.perf_counter()
        float(model.train_function(batches)["loss"])
        times.append(time.perf_counter() - start)
    return times[warm_up:]


def run(config: StepConfig) -> None:
    """Builds, steps, prints."""
    batches = constant_batches(config.batch, config.crop_size, NUM_CLASSES)
    times = seconds_of_steps(build_trainee(config), batches, warm_up=config.warm_up, steps=config.steps)
    line = {
        "peer": "kseg",
        "what": "train",
        "algorithm": config.algorithm,
        "crop_size": config.crop_size,
        "batch": config.batch,
        "precision": config.precision,
        "train_images_per_second": round(config.batch / statistics.median(times), 3),
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    launch("train_step.py", "Times kseg's training step on a constant batch.", StepConfig, run)
