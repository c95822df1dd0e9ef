"""How long kseg-train takes from the command to the end of its first training step, and how much memory.

    python benchmarks/start.py --data=camvid-records [--steps=10] [-- FLAGS of kseg-train]

Starts the real command (configs/camvid_fcn.flags, float32, a new output directory) in a process of its own, ends it
after `--steps` training steps and prints one JSON line: the wall-clock seconds from before the process was started to
the end of the first step, its processor seconds, when each part of the start ended, and the most memory that the process
held. What it times it wraps from outside, as modules are imported; kseg itself has no hook for it.

`PYTHONPATH=CHECKOUT python benchmarks/start.py …` measures another checkout.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

# Runs in the child, before kseg: notes when modules have been imported and when functions end, and ends the process.
WATCHER = """
import importlib.machinery, json, os, resource, sys, time
steps, report = int(os.environ["START_STEPS"]), int(os.environ["START_REPORT"])
stamps = [("python", time.monotonic())]
stamp = lambda name: stamps.append((name, time.monotonic()))
seen = 0

def step_ended(function):
    def wrapped(*arguments, **keywords):
        global seen
        result = function(*arguments, **keywords)
        seen += 1
        if seen == 1:
            stamp("first step")
            usage = resource.getrusage(resource.RUSAGE_SELF)
            stamps.append(("processor", usage.ru_utime + usage.ru_stime))
        if seen == steps:
            status = open("/proc/self/status").read()
            peak = int(status.split("VmHWM:")[1].split()[0])
            os.write(report, json.dumps({"stamps": stamps, "peak_kb": peak}).encode())
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
    keras.callbacks.CallbackList.on_train_begin = noted("fit set up", keras.callbacks.CallbackList.on_train_begin)
    keras.callbacks.CallbackList.on_train_batch_end = step_ended(keras.callbacks.CallbackList.on_train_batch_end)

class Finder:
    names = {"tensorflow": lambda module: stamp("tensorflow"), "keras": lambda module: stamp("keras"),
             "kseg.trainer": patch}

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


def start(data: str, steps: int, flags: list[str]) -> dict:
    """The report of one start; `seconds_to_first_step` and the parts in seconds."""
    import time

    recipe = pathlib.Path(__file__).parent.parent / "configs" / "camvid_fcn.flags"
    reads, writes = os.pipe()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", WATCHER, f"--flagfile={recipe}", f"--data={data}", f"--output_dir={folder}/run"]
        command += ["--mixed_precision=float32", *flags]
        environment = os.environ | {"START_STEPS": str(steps), "START_REPORT": str(writes)}
        with open(f"{folder}/log", "w+b") as log:
            began = time.monotonic()
            process = subprocess.Popen(command, env=environment, pass_fds=[writes], stdout=log, stderr=log)
            os.close(writes)
            with open(reads) as pipe:
                text = pipe.read()
            process.wait()
            if not text:
                log.seek(0)
                raise SystemExit(log.read().decode())
    report = json.loads(text)
    times, processor = dict(report["stamps"]), dict(report["stamps"]).pop("processor")
    del times["processor"]
    parts, before = {}, began
    for name, moment in times.items():
        parts[name], before = round(moment - before, 2), moment
    return {
        "peer": "kseg",
        "what": "start",
        "seconds_to_first_step": round(times["first step"] - began, 2),
        "processor_seconds": round(processor, 2),
        "parts": parts,
        "peak_rss_gb": round(report["peak_kb"] / 2**20, 3),
    }


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--data")
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("flags", nargs="*")
    a = parser.parse_args()
    print(json.dumps(start(a.data, a.steps, a.flags)))
