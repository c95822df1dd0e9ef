"""How long kseg-train takes from the command to the end of its first training step, and how much memory.

    python benchmarks/start.py --data=camvid-records [--steps=10] [--kept=nothing]

Starts the real command (configs/camvid_fcn.flags, float32, a new output directory) in a process of its own, ends it
after `--steps` training steps and prints one JSON line: the wall-clock seconds from before the process was started to
the end of the first step, its processor seconds, what each part of them took, and the most memory that the process
held. What it times it wraps from outside, as modules are imported; kseg has no hook for it. The program to start is
`python -c "from kseg.cli.train import main; main()"` of the same environment: `PYTHONPATH=CHECKOUT` measures another
checkout. What it finds of earlier starts is `--kept`: all that there is, or, in a cache of its own, nothing, as the
first of all does, and the first after a change of kseg's code or of a flag.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from kseg.config.values import POSITIVE
from kseg.errors import UsageError
from kseg.knobs import REQUIRED, OneOf, check, knob, parse

RECIPE = pathlib.Path(__file__).parent.parent / "configs" / "camvid_fcn.flags"
# Runs in the child, before kseg: notes when modules have been imported and when functions end, and ends the process.
WATCHER = """
import importlib.machinery, json, os, sys, time
steps, report = int(os.environ["START_STEPS"]), int(os.environ["START_REPORT"])
stamps = [("python", time.monotonic())]
stamp = lambda name: stamps.append((name, time.monotonic()))
seen, processor = 0, []

def step_ended(function):
    def wrapped(*arguments, **keywords):
        global seen
        result = function(*arguments, **keywords)
        seen += 1
        if seen == 1:
            stamp("first step")
            processor.append(time.process_time())
        if seen == steps:
            status = open("/proc/self/status").read()
            peak = int(status.split("VmHWM:")[1].split()[0])
            os.write(report, json.dumps({"stamps": stamps, "processor": processor[0], "peak_kb": peak}).encode())
            os._exit(0)
        return result
    return wrapped

def noted(name, function):
    def wrapped(*arguments, **keywords):
        result = function(*arguments, **keywords)
        stamp(name)
        return result
    return wrapped

def began(name, function):
    def wrapped(*arguments, **keywords):
        stamp(name)
        return function(*arguments, **keywords)
    return wrapped

def patch(module):
    stamp("imports")
    module.make_plan = noted("data set read", module.make_plan)
    module.assemble = noted("network built", module.assemble)
    import keras
    keras.Model.fit = began("fit begins", keras.Model.fit)
    keras.callbacks.CallbackList.on_train_batch_end = step_ended(keras.callbacks.CallbackList.on_train_batch_end)

class Finder:
    names = {"tensorflow": lambda module: stamp("tensorflow"), "kseg.trainer": patch}

    def find_spec(self, name, path=None, target=None):
        if name not in self.names:
            return None
        action = self.names.pop(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            action(module)

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder())
from kseg.cli.train import main
stamp("command")
main()
"""


@dataclasses.dataclass(frozen=True)
class StartConfig:
    """Flags of the benchmark."""

    data: str = knob(REQUIRED, "Folder of TFRecord shards and dataset.json.")
    steps: int = knob(1, "Training steps until the process is ended; the memory is theirs.", allowed=POSITIVE)
    kept: str = knob("all", "What the process finds of earlier starts.", allowed=OneOf(("all", "nothing")))

    def __post_init__(self):
        check(self)


def watched(config: StartConfig) -> tuple[float, dict]:
    """Starts the command and waits: (when, its watcher's report)."""
    reads, writes = os.pipe()
    with tempfile.TemporaryDirectory() as folder, open(f"{folder}/log", "w+b") as log:
        command = [sys.executable, "-c", WATCHER, f"--flagfile={RECIPE}", "--mixed_precision=float32"]
        command += [f"--data={os.path.abspath(config.data)}", f"--output_dir={folder}/run"]
        environment = os.environ | {"START_STEPS": str(config.steps), "START_REPORT": str(writes)}
        if config.kept == "nothing":
            environment["KSEG_CACHE"] = f"{folder}/cache"  # kseg.cache.SWITCH, which an earlier checkout may lack
        began = time.monotonic()
        # In a folder without kseg: Python looks there before it looks in PYTHONPATH.
        process = subprocess.Popen(command, cwd=folder, env=environment, pass_fds=[writes], stdout=log, stderr=log)
        os.close(writes)
        with open(reads) as pipe:
            report = pipe.read()
        process.wait()
        log.seek(0)
        if not report:
            raise SystemExit(f"kseg-train ended with status {process.returncode}: {log.read().decode()}")
    return began, json.loads(report)


def measured(config: StartConfig) -> dict:
    """The benchmark's line; seconds, and gigabytes of 2^30 bytes."""
    began, report = watched(config)
    parts, before = {}, began
    for name, moment in report["stamps"]:
        parts[name], before = round(moment - before, 2), moment
    return {
        "peer": "kseg",
        "what": "start",
        "seconds_to_first_step": round(before - began, 2),
        "processor_seconds": round(report["processor"], 2),
        "parts": parts,
        "steps": config.steps,
        "kept": config.kept,
        "peak_rss_gb": round(report["peak_kb"] / 2**20, 3),
    }


if __name__ == "__main__":
    try:
        print(json.dumps(measured(parse(StartConfig, sys.argv))))
    except UsageError as error:
        raise SystemExit(f"start.py: {error}") from None
