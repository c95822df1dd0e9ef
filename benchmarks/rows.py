"""Which programs run beside which, and what kseg claims of them."""

import dataclasses
import pathlib
import sys

from benchmarks.harness import Command, Group, Row

ROOT = pathlib.Path(__file__).parent.parent
# Threads as the libraries choose; no GPU, as the peers are measured without; no start-up chatter.
QUIET = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
SPEED, FORWARD, MEMORY, INPUT = (
    "train_images_per_second",
    "forward_images_per_second",
    "peak_rss_gb",
    "images_per_second",
)
# Timed steps of a run, few since runs differ more than the steps of one: five pairs of fcn at 480 x 2 take 25 minutes.
STEPS = 2
SIZES = ((240, 4), (480, 2))  # crop, batch
# And of bfloat16 where it is emulated: PyTorch's step at 240 x 4 takes ten minutes.
EMULATED_SIZES, EMULATED_STEPS = ((240, 1),), 1


@dataclasses.dataclass(frozen=True)
class Places:
    """Where things are; None where they are not.

    Attributes:
        data: records of CamVid, by convert-dataset.
        camvid: its folders, `train` and `train_annotation`.
        large: pictures of 2048 x 1024 made of them: `train`, `train_annotation` and, converted, `records`.
        peers: the peers' scripts.
        torch_python, mxnet_python: interpreters of their environments.
        before: a checkout of kseg that this one is compared with.
    """

    data: str | None = None
    camvid: str | None = None
    large: str | None = None
    peers: str | None = None
    torch_python: str | None = None
    mxnet_python: str | None = None
    before: str | None = None

    def ours(self, script: str, *flags: str, needs: str | None = "", checkout: str | None = "") -> Command:
        """A script of this folder; left out where what it `needs`, or its checkout, is None."""
        if needs is None or checkout is None:
            return Command(None)
        path = {"PYTHONPATH": checkout} if checkout else {}
        return Command((sys.executable, str(ROOT / "benchmarks" / script), *flags), QUIET | path)

    def peer(self, python: str | None, script: str, *flags: str, needs: str | None = "") -> Command:
        """A peer's script in its environment; left out where either, or what it `needs`, is None."""
        if python is None or self.peers is None or needs is None:
            return Command(None, ours=False)
        return Command((python, str(pathlib.Path(self.peers) / script), *flags), ours=False)


def _input(places: Places, base: int, crop: int) -> Group:
    size = (f"--base_size={base}", f"--crop_size={crop}", "--batch=4")
    folders = _folders(places.camvid)
    commands = {
        "kseg": places.ours("input.py", *size, f"--data={places.data}", needs=places.data),
        "torch": places.peer(places.torch_python, "torch_input.py", *size, *folders, needs=places.camvid),
        "gluoncv": places.peer(places.mxnet_python, "gluoncv_input.py", *size, *folders, needs=places.camvid),
    }
    return Group(
        f"input {base} {crop}",
        commands,
        (
            Row(f"input, base {base}, crop {crop} / torch", ("kseg", INPUT), ("torch", INPUT), 1.5),
            Row(f"input, base {base}, crop {crop} / gluoncv", ("kseg", INPUT), ("gluoncv", INPUT), 5.0),
        ),
    )


def _folders(root: str | None) -> tuple[str, ...]:
    """The peers' flags for the pictures and masks under `root`."""
    return (f"--images={root}/train", f"--masks={root}/train_annotation")


def _large(places: Places, crop: int) -> Group:
    size = ("--base_size=2048", f"--crop_size={crop}", "--batch=4")
    torch = places.peer(places.torch_python, "torch_input.py", *size, *_folders(places.large), needs=places.large)
    ours = places.ours("input.py", *size, f"--data={places.large}/records", needs=places.large)
    row = Row(f"input, 2048 x 1024, crop {crop} / torch", ("kseg", INPUT), ("torch", INPUT), 2.5)
    return Group(f"large {crop}", {"kseg": ours, "torch": torch}, (row,))


def _step(places: Places, crop: int, batch: int, precision: str, steps: int) -> Group:
    """FCN's training step, and the export's forward pass, which the peers' same run gives."""
    size, kind = (f"--crop_size={crop}", f"--batch={batch}", f"--steps={steps}"), f"--precision={precision}"
    commands = {
        "kseg": places.ours("train_step.py", *size, kind),
        "export": places.ours("forward.py", f"--crop_size={crop}", kind),
        "torch": places.peer(places.torch_python, "torch_train.py", *size, kind),
    }
    step, forward = f"step, fcn, {crop} x {batch}, {precision}", f"forward, {crop}, {precision}"
    rows = [
        Row(f"{step} / torch", ("kseg", SPEED), ("torch", SPEED), 1.0),
        Row(f"{forward} / torch", ("export", FORWARD), ("torch", FORWARD), 1.1 if precision == "float32" else 1.0),
    ]
    if precision == "float32":
        commands["gluoncv"] = places.peer(places.mxnet_python, "gluoncv_train.py", *size)
        rows.append(Row(f"{step} / gluoncv", ("kseg", SPEED), ("gluoncv", SPEED), 1.7))
        rows.append(Row(f"{forward} / gluoncv", ("export", FORWARD), ("gluoncv", FORWARD), 1.8))
    return Group(f"step fcn {crop}x{batch} {precision}", commands, tuple(rows))


def _head(places: Places, algorithm: str) -> Group:
    flags = (f"--algorithm={algorithm}", "--crop_size=240", "--batch=4", f"--steps={STEPS}")
    commands = {
        "kseg": places.ours("train_step.py", *flags),
        "gluoncv": places.peer(places.mxnet_python, "gluoncv_train.py", *flags),
    }
    row = Row(f"step, {algorithm}, 240 x 4, float32 / gluoncv", ("kseg", SPEED), ("gluoncv", SPEED), 1.7)
    return Group(f"step {algorithm} 240x4", commands, (row,))


def _whole(places: Places) -> list[Group]:
    """The program as a whole: its speed, its start, its memory, its validation."""
    data = f"--data={places.data}"
    speed = Row("program / bare step", ("kseg", "program_images_per_second"), ("kseg", "bare_images_per_second"), 0.97)
    program = Group("program", {"kseg": places.ours("program.py", data, needs=places.data)}, (speed,), rounds=1)
    memory = Group(
        "memory",
        {
            "kseg": places.ours("start.py", data, "--steps=3", needs=places.data),
            "torch": places.peer(places.torch_python, "torch_train.py", "--crop_size=240", "--batch=4", "--steps=2"),
        },
        (Row("peak memory, fcn, 240 x 4 / torch", ("kseg", MEMORY), ("torch", MEMORY), 1.2, True, "GB"),),
    )
    ways = {name: places.ours("validation_sizes.py", f"--way={name}") for name in ("one", "each")}
    grown = Row(
        "its memory growth / a trace a size", ("one", "rss_growth_gb"), ("each", "rss_growth_gb"), None, True, "GB"
    )
    fast = Row("validation, 60 sizes / a trace a size", ("one", "seconds"), ("each", "seconds"), 0.5, True, "s")
    return [program, _start(places), memory, Group("validation", ways, (fast, grown))]


def _start(places: Places) -> Group:
    """From the command to the end of the first step, with what earlier starts kept and without."""
    data, seconds = f"--data={places.data}", "seconds_to_first_step"
    kept = {"kseg": "all", "nothing kept": "nothing"}
    commands = {
        name: places.ours("start.py", data, f"--kept={value}", needs=places.data) for name, value in kept.items()
    }
    commands["before"] = places.ours("start.py", data, needs=places.data, checkout=places.before)
    rows = (
        Row(f"start{which} / before", (command, seconds), ("before", seconds), 0.6, True, "s")
        for command, which in zip(kept, (" to the first step", ", nothing kept"), strict=True)
    )
    return Group("start", commands, tuple(rows))


def groups(places: Places, *, emulated: bool) -> list[Group]:
    """Everything that `make bench` runs, in order.

    Args:
        places: where things are.
        emulated: whether the processor emulates bfloat16, which is then measured on fewer pictures.
    """
    sizes, count = (EMULATED_SIZES, EMULATED_STEPS) if emulated else (SIZES, STEPS)
    steps = [_step(places, *size, "float32", STEPS) for size in SIZES]
    steps += [_step(places, *size, "bfloat16", count) for size in sizes]
    return [
        *(_input(places, 520, crop) for crop in (480, 240)),
        *(_large(places, crop) for crop in (480, 768)),
        *steps,
        *(_head(places, algorithm) for algorithm in ("psp", "deeplab")),
        *_whole(places),
    ]


def select(offered: list[Group], words: list[str]) -> list[Group]:
    """The groups that `words` name: by name, by its first word, or by the first word of one of their rows; [] = all.

    Raises:
        ValueError: for a word that names none.
    """
    names = {
        id(group): {group.name, group.name.split()[0], *(row.name.split()[0].rstrip(",") for row in group.rows)}
        for group in offered
    }
    for word in words:
        if not any(word in each for each in names.values()):
            known = ", ".join(dict.fromkeys(group.name for group in offered))
            raise ValueError(f"--rows={word}: no such row; allowed: {known}, or the first words of them, or forward")
    return [group for group in offered if not words or names[id(group)] & set(words)]
