"""Scoring whole pictures of many sizes: one trace for all of them beside a trace a size. Prints one JSON line.

    python benchmarks/validation_sizes.py --way=one
    python benchmarks/validation_sizes.py --way=each

`one` is what kseg does: Keras's evaluate, as fit calls it after an epoch, and the function that kseg-eval scores with,
of pictures whose height and width are unknown to the graph. `each` is the same work by a tf.function that traces for
every size. FCN resnet-50, batches of one picture, `--sizes` different sizes within `--shortest` to `--longest` pixels.
`seconds` are of the first pass over them, once the network is built; `rss_growth_gb` is how much the resident memory
grew from before it to the end of `--passes` passes (`rss_gb` lists it after each).
"""

import dataclasses
import json
import time

from kseg.command import launch
from kseg.config.values import ABOVE_16, POSITIVE
from kseg.errors import UsageError
from kseg.knobs import OneOf, check, knob

CLASSES = 21


@dataclasses.dataclass(frozen=True)
class SizesConfig:
    """Flags of the benchmark."""

    way: str = knob(
        "one",
        "What runs: a trace for all sizes, one for each, or kseg-eval.",
        allowed=OneOf(("one", "each", "eval")),
    )
    sizes: int = knob(60, "Pictures, each of another size.", allowed=POSITIVE)
    passes: int = knob(1, "Times over all pictures.", allowed=POSITIVE)
    shortest: int = knob(64, "Shortest side.", allowed=ABOVE_16, unit="pixels")
    longest: int = knob(160, "Longest side.", allowed=ABOVE_16, unit="pixels")

    def __post_init__(self):
        check(self)
        if self.longest - self.shortest < self.sizes:
            raise UsageError(f"--longest={self.longest}: allowed: at least {self.shortest + self.sizes}")


def shapes(config: SizesConfig) -> list[tuple[int, int]]:
    """(height, width) of each picture: every height another, the widths in another order."""
    span = config.longest - config.shortest
    sides = [config.shortest + index * span // config.sizes for index in range(config.sizes)]
    return [(side, sides[(index * 7 + 3) % config.sizes]) for index, side in enumerate(sides)]


def pictures(config: SizesConfig):
    """A tf.data.Dataset of images uint8 [1, H, W, 3] and masks uint8 [1, H, W], H and W unknown to the graph."""
    import numpy as np
    import tensorflow as tf

    def draw():
        for index, shape in enumerate(shapes(config)):
            random = np.random.default_rng(index)
            yield random.integers(0, 256, (1, *shape, 3), np.uint8), random.integers(0, CLASSES, (1, *shape), np.uint8)

    signature = (tf.TensorSpec((1, None, None, 3), tf.uint8), tf.TensorSpec((1, None, None), tf.uint8))
    dataset = tf.data.Dataset.from_generator(draw, output_signature=signature)
    return dataset.apply(tf.data.experimental.assert_cardinality(config.sizes))


class InFit:
    """Keras's evaluate on the model that kseg-train compiles."""

    def __init__(self):
        from train_step import StepConfig, build_trainee

        self.model = build_trainee(StepConfig())
        self.calls = 0
        step = self.model.test_step

        def counted(data):  # the Python body of a traced function runs once a trace
            self.calls += 1
            return step(data)

        self.model.test_step = counted

    def score(self, dataset) -> None:
        """One pass."""
        self.model.evaluate(dataset, verbose=0)

    @property
    def traces(self) -> int:
        """Of the test step so far."""
        return self.calls


class ForEachSize(InFit):
    """The same test step in a function that traces for every size."""

    def __init__(self):
        import tensorflow as tf

        super().__init__()
        self.function = tf.function(self.model.test_step)

    def score(self, dataset) -> None:
        """One pass."""
        self.model.reset_metrics()
        for batch in dataset:  # eager tensors, whose sizes are known
            self.function(batch)


class InEvaluator:
    """kseg-eval's way of scoring the same network."""

    def __init__(self):
        from train_step import StepConfig, build_trainee

        from kseg import evaluator
        from kseg.labels import LabelMap

        self.labels = LabelMap.from_names([str(index) for index in range(CLASSES)])
        self.segment = evaluator.segment_with_model(build_trainee(StepConfig()).segmenter)
        self.evaluate = evaluator.evaluate

    def score(self, dataset) -> None:
        """One pass."""
        self.evaluate(self.segment, dataset, self.labels, total=0)

    @property
    def traces(self) -> int:
        """Of the network so far."""
        return self.segment.experimental_get_tracing_count()


def resident_gb() -> float:
    """Resident memory of this process now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return pages * 4096 / 1e9


def run(config: SizesConfig) -> None:
    """Scores, prints."""
    way = {"one": InFit, "each": ForEachSize, "eval": InEvaluator}[config.way]()
    dataset = pictures(config)
    before, seconds, resident = resident_gb(), [], []
    for _ in range(config.passes):
        start = time.perf_counter()
        way.score(dataset)
        seconds.append(round(time.perf_counter() - start, 2))
        resident.append(round(resident_gb(), 2))
    line = {
        "peer": "kseg",
        "what": "validation_sizes",
        "way": config.way,
        "sizes": config.sizes,
        "seconds": seconds[0],
        "seconds_of_passes": seconds,
        "traces": way.traces,
        "rss_before_gb": round(before, 2),
        "rss_gb": resident,
        "rss_growth_gb": round(resident[-1] - before, 2),
    }
    print(json.dumps(line))


if __name__ == "__main__":
    launch("validation_sizes.py", "Times the scoring of whole pictures of many sizes.", SizesConfig, run)
