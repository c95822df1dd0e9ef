"""Trainings in forked processes that are killed with SIGKILL; run by test_killed_trainings.py with DATA FOLDER FLAGS.

Forked, so that each start does without the seconds of importing TensorFlow: nothing here runs it before the fork.
FOLDER/killed is the run that is killed, FOLDER/whole one with the same flags that is not. Prints one JSON line: in what
each process was killed, and after how many kills a checkpoint lay there unfinished.
"""

import json
import os
import random
import select
import signal
import sys
import time
import traceback

import pytest
from small_resnet import shrink

from kseg import fitting, resuming, storage, trainer
from kseg.config import TrainConfig
from kseg.models.trainee import Trainee
from kseg.resuming import Resumer

RUNS = ("whole", "killed")
KILLS = 20
# What the process is killed in, how many of the kind it is let through at most, and the most seconds after it began
# (a checkpoint: after the first of its files is there; "place": while all but its last is).
MOMENTS = (
    *(("step", 1, 0.05), ("place", 1, 0.0), ("restore", 0, 0.1), ("step", 1, 0.2)),
    *(("validation", 0, 0.03), ("checkpoint", 0, 0.02), ("end", 0, 0.1)),
)


def tell_moments(pipe: int, answers: int) -> None:
    """From here on each of MOMENTS waits for an answer before it begins."""

    def telling(function, byte, when=lambda *arguments: True):
        def call(*arguments, **keywords):
            if when(*arguments):
                os.write(pipe, byte)
                os.read(answers, 1)
            return function(*arguments, **keywords)

        return call

    writes = storage.write_text
    storage.write_text = telling(writes, b"p", lambda path, content: path.endswith(resuming.PLACE))

    Resumer.save = telling(Resumer.save, b"c")
    Resumer.restore = telling(Resumer.restore, b"r")
    Trainee.evaluate = telling(Trainee.evaluate, b"v")
    fitting.Checkpoints.on_train_batch_end = telling(fitting.Checkpoints.on_train_batch_end, b"s")
    fitting.EpochEnd.on_epoch_end = telling(fitting.EpochEnd.on_epoch_end, b"e")


def unfinished(folder: str) -> bool:
    """Whether a checkpoint of a run is not whole."""
    checkpoints = os.path.join(folder, resuming.FOLDER)
    places = os.listdir(checkpoints) if os.path.isdir(checkpoints) else []
    return any(not os.path.exists(os.path.join(checkpoints, place, resuming.PLACE)) for place in places)


def run(config: TrainConfig, at) -> bool:
    """Trains in a process of its own, killed so many seconds after a moment as `at(byte)` says; False if it ended."""
    reading, telling = os.pipe()
    answering, answer = os.pipe()
    process = os.fork()
    if not process:
        _train(config, telling, answering)
    os.close(telling)
    os.close(answering)
    while byte := os.read(reading, 1):
        delay = at(byte)
        if delay != 0:  # else it is killed before it goes on
            os.write(answer, b"g")
        if delay is not None:
            while byte == b"c" and not unfinished(config.output_dir) and not select.select([reading], [], [], 0.001)[0]:
                pass
            select.select([], [], [], delay)
            os.kill(process, signal.SIGKILL)
            break
    os.close(reading)
    os.close(answer)
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, status
    return os.WIFSIGNALED(status)


def _train(config: TrainConfig, telling: int, answering: int) -> None:
    """The forked process; it never returns."""
    os.dup2(2, 1)
    status = 1
    try:
        tell_moments(telling, answering)
        trainer.train(config)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def main(data: str, folder: str, flags: dict) -> None:
    shrink(pytest.MonkeyPatch())
    drawn = random.Random(time.time_ns())
    whole, killed = (TrainConfig(data=data, output_dir=os.path.join(folder, name), **flags) for name in RUNS)
    assert not run(whole, lambda byte: None)
    kills, left = [], 0
    while len(kills) < KILLS:
        moment, most, delay = MOMENTS[len(kills) % len(MOMENTS)]
        awaited = iter([None] * drawn.randint(0, most) + [drawn.uniform(0, delay)])
        assert run(killed, lambda byte: next(awaited) if byte == moment[0].encode() else None), "not killed"  # noqa: B023
        kills.append(moment)
        left += unfinished(killed.output_dir)
    assert not run(killed, lambda byte: None)
    print("KILLS", json.dumps({"kills": kills, "unfinished": left}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
