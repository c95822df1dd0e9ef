"""Runs of several programs in turn, and what follows from their figures: pairs, medians, a table, results.json."""

import dataclasses
import json
import math
import os
import pathlib
import statistics
import subprocess
from collections.abc import Callable, Mapping

FAILED_LINES = 15  # of a failed program's standard error that are shown


@dataclasses.dataclass(frozen=True)
class Command:
    """A program that prints a JSON object as its last line.

    Attributes:
        argv: None where it is not installed; what it would give is then left empty.
        env: variables on top of this process's own.
        ours: whether its failure fails the whole benchmark.
    """

    argv: tuple[str, ...] | None
    env: Mapping[str, str] = dataclasses.field(default_factory=dict)
    ours: bool = True


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table: a figure of ours beside one of another program of the same group.

    Attributes:
        name: what is measured.
        ours, peer: (name of the command, key of the figure in its JSON object). A figure may be a list, of a program
            that runs pairs itself.
        target: what the median of ours / peer should reach, or None for no claim.
        at_most: whether it should not exceed the target instead: of seconds and of memory.
        unit: of the figures.
    """

    name: str
    ours: tuple[str, str]
    peer: tuple[str, str]
    target: float | None = None
    at_most: bool = False
    unit: str = "images/s"


@dataclasses.dataclass(frozen=True)
class Group:
    """Programs that run in turn, so that whatever else happens on the machine meets all of them alike.

    Attributes:
        name: for --rows, which takes the part before the first blank too.
        commands: by name, in the order of a round.
        rows: what to read off.
        rounds: fewer than asked for where one run holds pairs already; None = as asked.
    """

    name: str
    commands: Mapping[str, Command]
    rows: tuple[Row, ...]
    rounds: int | None = None


def run_once(command: Command, timeout: float) -> tuple[dict | None, str]:
    """The JSON object of a run and "", or None and what went wrong."""
    try:
        done = subprocess.run(
            command.argv,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=os.environ | dict(command.env),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    lines = done.stdout.strip().splitlines()
    try:
        line = json.loads(lines[-1]) if lines else None
    except ValueError:
        line = None
    if done.returncode == 0 and isinstance(line, dict):
        return line, ""
    tail = "\n".join(done.stderr.strip().splitlines()[-FAILED_LINES:])
    return None, f"status {done.returncode}, last line {lines[-1:]}\n{tail}"


def run_group(group: Group, rounds: int, timeout: float, say: Callable[[str], None]) -> tuple[dict, dict]:
    """Runs the commands of a group in turn; one that fails is shown and not run again.

    Returns:
        Per command that is there the JSON objects of its rounds, and per command that failed what went wrong.
    """
    raw = {name: [] for name, command in group.commands.items() if command.argv is not None}
    failures: dict[str, str] = {}
    for number in range(group.rounds or rounds):
        for name in raw:
            if name in failures:
                continue
            line, failure = run_once(group.commands[name], timeout)
            if line is None:
                failures[name] = failure
                say(f"{group.name}: {name} failed: {' '.join(group.commands[name].argv)}\n{failure}")
            else:
                raw[name].append(line)
                say(f"{group.name}: round {number + 1}: {name}: {json.dumps(line)}")
    return raw, failures


def figures(raw: Mapping[str, list[dict]], source: tuple[str, str]) -> list[float]:
    """The figures of a command over its rounds, in order; [] where it did not run or does not give that figure."""
    command, key = source
    found = [line[key] for line in raw.get(command, []) if line.get(key) is not None]
    return [value for entry in found for value in (entry if isinstance(entry, list) else [entry])]


@dataclasses.dataclass(frozen=True)
class Result:
    """A row with its figures: medians, None without figures, and the median of the pairs' ratios ours / peer."""

    name: str
    unit: str
    ours: float | None
    peer: float | None
    ratio: float | None
    ratios: tuple[float, ...]
    target: str
    met: bool | None


def result(row: Row, raw: Mapping[str, list[dict]]) -> Result:
    """What a row says; figure k of ours is paired with figure k of the peer's, more on one side have no pair."""
    ours, peer = figures(raw, row.ours), figures(raw, row.peer)
    ratios = tuple(one / other if other else math.inf for one, other in zip(ours, peer, strict=False))
    ratio = statistics.median(ratios) if ratios else None
    target, met = "", None
    if row.target is not None:
        target = f"{'<=' if row.at_most else '>='} {row.target:g}"
        if ratio is not None:
            met = ratio <= row.target if row.at_most else ratio >= row.target
    middle = [statistics.median(values) if values else None for values in (ours, peer)]
    return Result(row.name, row.unit, *middle, ratio, ratios, target, met)


def table(results: list[Result]) -> str:
    """A Markdown table; what is missing is an empty cell, a target that is not met says so."""

    def cell(value: float | None) -> str:
        return "" if value is None else f"{value:.4g}"

    lines = [
        "| row | unit | kseg | peer | kseg / peer (lowest to highest) | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in results:
        spread = f"{each.ratio:.2f} ({min(each.ratios):.2f} to {max(each.ratios):.2f})" if each.ratios else ""
        target = each.target + (" (not met)" if each.met is False else "")
        lines.append(f"| {each.name} | {each.unit} | {cell(each.ours)} | {cell(each.peer)} | {spread} | {target} |")
    return "\n".join(lines)


def write_merged(path: pathlib.Path, machine: dict, group: str, entry: dict) -> None:
    """Puts a group's raw figures into results.json, in the place of older ones of that group; others stay.

    Args:
        path: the file; made if it is not there.
        machine: of `machine.describe`; figures of two machines do not belong in one table.
        group: its name.
        entry: what to keep.

    Raises:
        ValueError: if the file holds figures of another machine.
    """
    there = read(path)
    hardware = there.get("hardware", machine["hardware"])
    if hardware != machine["hardware"]:
        raise ValueError(f"{path}: holds figures of another machine ({hardware}); give another --output")
    groups = there.get("groups", {}) | {group: entry}
    aside = path.with_name(path.name + ".part")
    aside.parent.mkdir(parents=True, exist_ok=True)
    aside.write_text(json.dumps(machine | {"groups": groups}, indent=1) + "\n")
    aside.replace(path)


def read(path: pathlib.Path) -> dict:
    """The content of results.json; {} where there is none."""
    return json.loads(path.read_text()) if path.exists() else {}
