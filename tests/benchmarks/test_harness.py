"""Pairs, medians, the table and results.json, on programs of one line."""

import json
import sys

import pytest

from benchmarks import harness
from benchmarks.harness import Command, Group, Row

HERE = {"hardware": {"processor": "P", "cores": 2}, "date": "D", "versions": {}}


def program(text: str, **arguments) -> Command:
    return Command((sys.executable, "-c", text), **arguments)


def counting(path, step: int) -> Command:
    """Prints step, 2 step, 3 step, …, and notes in `path` that it ran."""
    text = f"""
import json, pathlib
path = pathlib.Path({str(path)!r})
runs = path.read_text().split() if path.exists() else []
path.write_text(" ".join([*runs, "{step}"]))
print("chatter")
print(json.dumps({{"speed": {step} * (runs.count("{step}") + 1), "all": [1, 2]}}))
"""
    return program(text)


ROW = Row("kseg / peer", ("kseg", "speed"), ("peer", "speed"), 1.5)


def test_programs_run_in_turn_and_their_figures_are_kept(tmp_path):
    group = Group("g", {"kseg": counting(tmp_path / "log", 10), "peer": counting(tmp_path / "log", 7)}, (ROW,))
    raw, failures = harness.run_group(group, 3, 60, lambda line: None)
    assert (tmp_path / "log").read_text() == "10 7 10 7 10 7"
    assert failures == {}
    assert harness.figures(raw, ("kseg", "speed")) == [10, 20, 30]
    assert harness.figures(raw, ("kseg", "all")) == [1, 2] * 3
    assert harness.figures(raw, ("kseg", "none")) == harness.figures(raw, ("none", "speed")) == []


def test_a_group_may_hold_its_pairs_in_one_run(tmp_path):
    group = Group("g", {"kseg": counting(tmp_path / "log", 10)}, (), rounds=1)
    assert harness.run_group(group, 5, 60, lambda line: None)[0] == {"kseg": [{"speed": 10, "all": [1, 2]}]}


def test_the_ratio_is_the_median_of_the_pairs_not_of_the_medians():
    raw = {"kseg": [{"speed": value} for value in (10, 40, 30)], "peer": [{"speed": value} for value in (10, 10, 20)]}
    row = harness.result(ROW, raw)
    assert (row.ours, row.peer, row.ratio, row.ratios) == (30, 10, 1.5, (1.0, 4.0, 1.5))
    assert row.met is True and row.target == ">= 1.5"


def test_a_run_more_on_one_side_has_no_pair():
    raw = {"kseg": [{"speed": 4}, {"speed": 100}], "peer": [{"speed": 2}]}
    assert harness.result(ROW, raw).ratios == (2.0,)


def test_seconds_and_memory_stay_below_their_target():
    row = Row("start / before", ("kseg", "s"), ("peer", "s"), 0.6, True, "s")
    for ours, met in ((6, True), (7, False)):
        found = harness.result(row, {"kseg": [{"s": ours}], "peer": [{"s": 10}]})
        assert (found.met, found.target) == (met, "<= 0.6")


def test_the_table_shows_misses_and_leaves_missing_peers_empty():
    raw = {"kseg": [{"speed": 1.23456}], "peer": [{"speed": 1.0}]}
    rows = [harness.result(ROW, raw), harness.result(ROW, {"kseg": raw["kseg"]}), harness.result(ROW, {})]
    assert harness.table(rows).splitlines()[2:] == [
        "| kseg / peer | images/s | 1.235 | 1 | 1.23 (1.23 to 1.23) | >= 1.5 (not met) |",
        "| kseg / peer | images/s | 1.235 |  |  | >= 1.5 |",
        "| kseg / peer | images/s |  |  |  | >= 1.5 |",
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("import sys; sys.exit('no such data set')", "status 1, last line []\nno such data set"),
        ("print('{}'); raise SystemExit(3)", "status 3, last line ['{}']"),
        ("print('not JSON')", "status 0, last line ['not JSON']"),
        ("print('[1]')", "status 0, last line ['[1]']"),
        ("", "status 0, last line []"),
    ],
)
def test_a_failure_is_shown_and_the_others_go_on(text, shown, tmp_path):
    said = []
    group = Group("g", {"bad": program(text), "good": counting(tmp_path / "log", 1)}, ())
    raw, failures = harness.run_group(group, 2, 60, said.append)
    assert raw["bad"] == [] and len(raw["good"]) == 2
    assert failures["bad"].startswith(shown)
    assert len([line for line in said if line.startswith("g: bad failed: ")]) == 1  # not run a second time


def test_a_program_that_is_not_there_or_hangs_is_a_failure():
    assert "No such file" in harness.run_once(Command(("/no/such/python",)), 60)[1]
    assert "timed out" in harness.run_once(program("import signal; signal.pause()"), 0.1)[1]


def test_what_is_not_installed_does_not_run():
    group = Group("g", {"peer": Command(None, ours=False)}, ())
    assert harness.run_group(group, 2, 60, lambda line: None) == ({}, {})


def test_groups_are_merged_into_the_file(tmp_path):
    path = tmp_path / "new" / "results.json"
    for group, value in (("a", 1), ("b", 2), ("a", 3)):
        harness.write_merged(path, HERE, group, {"raw": value})
    assert json.loads(path.read_text()) == HERE | {"groups": {"a": {"raw": 3}, "b": {"raw": 2}}}
    assert [child.name for child in path.parent.iterdir()] == ["results.json"]
    with pytest.raises(ValueError, match=r"results\.json: holds figures of another machine .*give another --output"):
        harness.write_merged(path, HERE | {"hardware": {}}, "a", {})
