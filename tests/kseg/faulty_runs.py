"""Commands on a disk that becomes full or may not be written, forked: each start does without importing TensorFlow.

    unshare -m sh -c 'mount -t tmpfs -o size=SIZE tmpfs FOLDER && exec python faulty_runs.py DATA FOLDER disk FLAGS'
    python faulty_runs.py DATA FOLDER limit FLAGS

The first fills the disk that FOLDER is, and in the end makes it read-only; the second forbids files above a size
(RLIMIT_FSIZE), which any user may, and in the end writes where nobody can. Each of TRAINING hits one start of one
training, which goes on from what the start before has left; export and conversion follow. Prints a JSON line: of each
start its fault, the exit status, both outputs, and what is there that should not.
"""

import contextlib
import functools
import json
import os
import pathlib
import resource
import subprocess
import sys
import zipfile

import pytest
from small_resnet import shrink

from data_tools import convert, demo, shards, writer
from kseg import checkpoints, export, fitting, storage
from kseg.cli import evaluate, predict, train
from kseg.cli import export as cli_export
from kseg.resuming import PLACE, Resumer

FILLER = "filler"


def always(*arguments) -> bool:
    return True


def _is_whole(folder: str, place: str) -> bool:
    return os.path.exists(os.path.join(folder, "checkpoints", place, PLACE))


# What is being written when the disk becomes full: the function that begins with it, for which of its arguments, and
# the bytes that still fit. In this order, as each start goes on from what the start before has kept.
TRAINING = {
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
EXPORT = {
    "variables": (export, "_save", always, 100_000),
    "warm-up": (export, "_write_warmup", always, 0),
}
CONVERSION = {
    "shard": (shards, "_record_writer", always, 4096),
    "dataset.json": (writer, "_publish", always, 0),
}
FAULTS = TRAINING | EXPORT | CONVERSION


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


def names(folder: pathlib.Path) -> list[str]:
    """Of all files and folders, hidden ones too."""
    return sorted(path.name for path in folder.rglob("*")) + [folder.name] * folder.exists()


class Session:
    """Starts of commands, and what they told.

    Args:
        folder: that the disk is.
        way: how it becomes full.
    """

    def __init__(self, folder: str, way: str):
        self.folder, self.way, self.told = folder, way, []

    def start(self, main, arguments: list, fault: str | None, look) -> None:
        """A command, hit by a fault; then there is room again, and `look` says what is there."""
        before = functools.partial(arm, fault, self.folder, self.way) if fault in FAULTS else lambda: None
        status, out, err = started(main, list(map(str, arguments)), before)
        with contextlib.suppress(OSError):
            os.remove(os.path.join(self.folder, FILLER))
        self.told.append({"fault": fault, "status": status, "out": out, "err": err, "there": look()})

    def take(self) -> list[dict]:
        """What was told since the last time."""
        taken, self.told = self.told, []
        return taken


def train_all(session: Session, flags: list[str]) -> None:
    """One training without faults, and one with all."""
    for name, faults in (("whole", ()), ("run", TRAINING)):
        run = pathlib.Path(session.folder, name)
        for fault in (*faults, None):
            session.start(train.main, [f"--output_dir={run}", *flags], fault, lambda: not_whole(run))  # noqa: B023


def write_all(session: Session, pictures: str) -> None:
    """Exports and conversions."""
    target = pathlib.Path(session.folder, "export")
    for fault in (*EXPORT, None):
        session.start(
            cli_export.main, [f"--run={session.folder}/run", f"--export_dir={target}"], fault, lambda: names(target)
        )
    target = pathlib.Path(session.folder, "records")
    flags = [f"--input={pictures}", f"--classes={pictures}/classes.txt", "--workers=1", f"--output={target}"]
    for fault in (*CONVERSION, None):
        session.start(convert.main, flags, fault, lambda: names(target))


def refuse_all(session: Session, pictures: str, flags: list[str]) -> None:
    """Every command that writes, where it cannot."""
    folder, run = session.folder, f"--run={session.folder}/run"
    if session.way == "limit":
        folder = "/proc/self"
    else:
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    split = [next(flag for flag in flags if flag.startswith("--data=")), "--split=validation"]
    commands = {
        "kseg-train": (train.main, [f"--output_dir={folder}/new", *flags]),
        "kseg-export": (cli_export.main, [run, f"--export_dir={folder}/new"]),
        "convert-dataset": (convert.main, [f"--input={pictures}", f"--output={folder}/new", "--num_classes=4"]),
        "kseg-predict": (predict.main, [run, f"--images={pictures}/validation", f"--output={folder}/new"]),
        "kseg-eval": (evaluate.main, [run, *split, f"--json={folder}/new.json"]),
    }
    for name, (main, arguments) in commands.items():
        session.start(main, arguments, name, lambda: [])


def main(data: str, folder: str, way: str, flags: list[str]) -> None:
    shrink(pytest.MonkeyPatch())
    session, pictures, told = Session(folder, way), f"{folder}/pictures", {}
    flags = [f"--data={data}", *flags]
    started(demo.main, [f"--output={pictures}", "--train_images=20", "--validation_images=2", "--size=48"])
    train_all(session, flags)
    told["training"] = session.take()
    told["metrics"] = [pathlib.Path(folder, name, "metrics.jsonl").read_text() for name in ("whole", "run")]
    write_all(session, pictures)
    told["writing"] = session.take()
    refuse_all(session, pictures, flags)
    print("TOLD", json.dumps(told | {"read-only": session.take()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
