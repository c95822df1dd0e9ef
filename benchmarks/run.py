"""Runs kseg beside its peers, in turn, and prints what comes of it: `make bench`, or python -m benchmarks.run --help.

Imports nothing heavy: on Linux a child's peak memory begins with its parent's.
"""

import argparse
import os
import pathlib
import subprocess
import sys

from benchmarks import harness, machine, rows

# flag: (environment variable, what it is)
PLACES = {
    "camvid": (
        "KSEG_CAMVID",
        "folder of train/ (JPEG), train_annotation/ (PNG); converted once if there is no --data",
    ),
    "data": ("KSEG_CAMVID_RECORDS", "the same, converted by convert-dataset"),
    "large": ("KSEG_LARGE", "pictures of 2048 x 1024: train/, train_annotation/ and records/"),
    "peers": ("KSEG_PEERS", "folder of the peers' scripts"),
    "torch_python": ("KSEG_TORCH_PYTHON", "interpreter with PyTorch and OpenCV"),
    "mxnet_python": ("KSEG_MXNET_PYTHON", "interpreter with MXNet and GluonCV"),
    "before": ("KSEG_BEFORE", "checkout of kseg whose start this one's is compared with"),
}
TORCH = ("torch", "numpy", "opencv-python-headless")
MXNET = ("mxnet", "gluoncv", "numpy")


def parse(argv: list[str]) -> argparse.Namespace:
    """The flags; a place that is named but not there ends the program with status 2."""
    parser = argparse.ArgumentParser(prog="benchmarks.run", description="Runs kseg beside its peers, in turn.")
    for name, (variable, text) in PLACES.items():
        parser.add_argument(f"--{name}", default=os.environ.get(variable) or None, help=f"{text} [{variable}]")
    parser.add_argument("--rows", default="", help="comma-separated: groups by name or first word; all if not set")
    parser.add_argument("--rounds", type=int, default=5, help="alternating runs of each program")
    parser.add_argument("--timeout", type=float, default=1800, help="seconds that a run may take")
    parser.add_argument("--output", type=pathlib.Path, default=rows.ROOT / "benchmarks" / "results.json")
    parser.add_argument("--work", type=pathlib.Path, default=rows.ROOT / "build" / "bench", help="for converted data")
    parser.add_argument("--table", action="store_true", help="print the table of --output and stop")
    flags = parser.parse_args(argv)
    if flags.rounds < 1:
        parser.error(f"--rounds={flags.rounds}: allowed: integer, >= 1")
    for name in PLACES:
        place = getattr(flags, name)
        if place is not None and not pathlib.Path(place).exists():
            parser.error(f"--{name}={place}: not there; expected: {PLACES[name][1]}")
    return flags


def converted(camvid: str, work: pathlib.Path) -> str:
    """Records of the folders `camvid`, made on the first call."""
    records = work / "camvid-records"
    if not (records / "dataset.json").exists():
        program = "from data_tools.convert import main; main()"
        classes = rows.ROOT / "configs" / "camvid_classes.txt"
        command = [sys.executable, "-c", program, f"--input={camvid}", f"--output={records}", f"--classes={classes}"]
        subprocess.run(command, check=True, env=os.environ | rows.QUIET)
    return str(records)


def results(groups: list[harness.Group], kept: dict) -> list[harness.Result]:
    """The rows of all groups, from the raw figures in results.json."""
    raw = {name: entry["raw"] for name, entry in kept.get("groups", {}).items()}
    return [harness.result(row, raw.get(group.name, {})) for group in groups for row in group.rows]


def main(argv: list[str]) -> int:
    """Runs, prints, writes; 0, or 1 if a program of kseg's failed."""
    flags = parse(argv)
    if flags.data is None and flags.camvid is not None and not flags.table:
        flags.data = converted(flags.camvid, flags.work)
    places = rows.Places(**{name: getattr(flags, name) for name in PLACES})
    about = (flags.table and harness.read(flags.output)) or machine.describe({})
    offered = rows.groups(places, emulated=machine.emulates_bfloat16(about))
    status = 0
    if not flags.table:
        try:
            chosen = rows.select(offered, [word for word in flags.rows.split(",") if word])
            status = run_all(chosen, flags)
        except ValueError as error:
            print(f"benchmarks.run: {error}", file=sys.stderr)
            return 2
    print(harness.table(results(offered, harness.read(flags.output))))
    return status


def run_all(chosen: list[harness.Group], flags: argparse.Namespace) -> int:
    """Runs groups, each into results.json as it ends; 0, or 1 if a program of kseg's failed."""
    environments = {"kseg": (sys.executable, machine.OURS)}
    for name, packages in (("torch", TORCH), ("mxnet", MXNET)):
        if getattr(flags, f"{name}_python") is not None:
            environments[name] = (getattr(flags, f"{name}_python"), packages)
    status = 0
    for group in chosen:
        raw, failures = harness.run_group(group, flags.rounds, flags.timeout, lambda line: print(line, flush=True))
        missing = [name for name in group.commands if name not in raw]
        if missing:
            print(f"{group.name}: without {', '.join(missing)}: not named (see --help)", flush=True)
        if any(group.commands[name].ours for name in failures):
            status = 1
        about = machine.describe(environments)
        entry = {"date": about["date"], "versions": about["versions"], "raw": raw, "failures": failures}
        harness.write_merged(flags.output, about, group.name, entry)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
