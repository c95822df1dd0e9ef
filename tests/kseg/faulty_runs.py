"""Commands on a disk that becomes full: forked processes, so that each start does without importing TensorFlow.

    unshare -m sh -c 'mount -t tmpfs -o size=SIZE tmpfs FOLDER && exec python faulty_runs.py DATA FOLDER disk'
    python faulty_runs.py DATA FOLDER limit

The first fills the disk that FOLDER is, the second forbids files above a size (RLIMIT_FSIZE), which any user may. Each
of FAULTS hits one start of one training, which goes on from what the start before has left. Prints a JSON line: of each
start the fault, the exit status, both outputs, and what of the run directory is not whole.
"""

import functools
import json
import os
import pathlib
import resource
import sys
import zipfile

import pytest
from small_resnet import shrink

from kseg import checkpoints, fitting, storage
from kseg.cli import train
from kseg.resuming import PLACE, Resumer

FILLER = "filler"


def always(*arguments) -> bool:
    return True


def _is_whole(folder: str, place: str) -> bool:
    return os.path.exists(os.path.join(folder, "checkpoints", place, PLACE))


# What is being written when the disk becomes full: the function that begins with it, for which of its arguments, and
# the bytes that still fit. In this order, as each start goes on from what the start before has kept.
FAULTS = {
    "configuration": (checkpoints, "make_run", always, 0),
    "checkpoint": (Resumer, "save", lambda resumer, place: place.step, 100_000),
    "TensorBoard": (fitting.ValidationPictures, "on_epoch_end", always, 0),
    "metrics": (checkpoints, "write_metrics", always, 0),
    "place of a checkpoint": (storage, "write_text", lambda path, content: path.endswith(PLACE), 0),
    "last model": (
        *(checkpoints, "save_model"),
        *(lambda model, folder, which: which == "last" and _is_whole(folder, "epoch-00001-step-0000000"), 200_000),
    ),
}


def free(folder: str) -> int:
    there = os.statvfs(folder)
    return there.f_bavail * there.f_bsize


def fill(folder: str, way: str, left: int) -> None:
    """From here on no more than some bytes can be written."""
    if way == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))
        return
    if not os.path.ismount(folder):
        raise ValueError(f"{folder}: the disk of this machine, which nobody may fill")
    with open(os.path.join(folder, FILLER), "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(folder) - left)


def arm(fault: str, folder: str, way: str) -> None:
    """Has the disk become full where a fault says."""
    owner, name, due, left = FAULTS[fault]
    function = getattr(owner, name)

    def call(*arguments, **keywords):
        if due(*arguments):
            fill(folder, way, left)
        return function(*arguments, **keywords)

    setattr(owner, name, call)


def started(main, arguments: list[str], before=lambda: None) -> tuple[int, str, str]:
    """(exit status, standard output, standard error) of a command in a forked process, which `before` is called in."""
    out, err = os.pipe(), os.pipe()
    process = os.fork()
    if not process:
        os.dup2(out[1], 1)
        os.dup2(err[1], 2)
        for descriptor in (*out, *err):
            os.close(descriptor)
        sys.argv = ["command", *arguments]
        before()
        main()
    os.close(out[1])
    os.close(err[1])
    texts = [open(reading).read() for reading in (out[0], err[0])]
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), *texts


def not_whole(run: pathlib.Path) -> list[str]:
    """What in a run directory is no whole checkpoint, model or file."""
    found = [str(path) for path in run.rglob("*") if ".part" in path.name or "temp" in path.name]
    places = run / "checkpoints"
    found += [str(place) for place in (places.iterdir() if places.exists() else []) if not (place / PLACE).exists()]
    for model in run.glob("*/model.keras"):
        try:
            found += filter(None, [zipfile.ZipFile(model).testzip()])
        except (OSError, zipfile.BadZipFile) as error:
            found.append(f"{model}: {error}")
    for line in (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []:
        json.loads(line)
    return found


def main(data: str, folder: str, way: str, flags: list[str]) -> None:
    shrink(pytest.MonkeyPatch())
    told = []
    for name, faults in (("whole", []), ("run", FAULTS)):
        run = pathlib.Path(folder, name)
        arguments = [f"--data={data}", f"--output_dir={run}", *flags]
        for fault in (*faults, None):
            before = functools.partial(arm, fault, folder, way) if fault else lambda: None
            status, out, err = started(train.main, arguments, before)
            pathlib.Path(folder, FILLER).unlink(missing_ok=True)
            told.append({"fault": fault, "status": status, "out": out, "err": err, "not whole": not_whole(run)})
    lines = [pathlib.Path(folder, name, "metrics.jsonl").read_text() for name in ("whole", "run")]
    print("TOLD", json.dumps({"starts": told, "metrics": lines}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
