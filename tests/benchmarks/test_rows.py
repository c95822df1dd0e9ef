"""The rows of `make bench`: every one has its programs, and what is not named runs nothing."""

import pathlib
import subprocess
import sys

import pytest

from benchmarks import rows, start
from kseg.knobs import parse

EVERYWHERE = rows.Places(
    **{"data": "records", "camvid": "camvid", "large": "large", "peers": "peers", "before": "checkout"},
    **{"torch_python": "torch/python", "mxnet_python": "mxnet/python"},
)


@pytest.fixture(params=[True, False], ids=["emulated", "bfloat16"])
def groups(request):
    """All groups, of a processor without and of one with instructions for bfloat16."""
    return rows.groups(EVERYWHERE, emulated=request.param)


def test_every_row_reads_a_command_of_its_group(groups):
    for group in groups:
        assert all(command.argv is not None for command in group.commands.values())
        for row in group.rows:
            assert {row.ours[0], row.peer[0]} <= set(group.commands)
            assert group.commands[row.ours[0]].ours


def test_names_are_unique(groups):
    assert len({group.name for group in groups}) == len(groups)
    assert len({row.name for group in groups for row in group.rows}) == sum(len(group.rows) for group in groups)


def test_without_any_place_only_what_needs_none_runs():
    there = [
        (group.name, name)
        for group in rows.groups(rows.Places(), emulated=True)
        for name, command in group.commands.items()
        if command.argv is not None
    ]
    assert {name for _, name in there} == {"kseg", "export", "one", "each"}
    assert not [group for group, _ in there if group.split()[0] in ("input", "large", "program", "start", "memory")]


@pytest.mark.parametrize(
    ("emulated", "sizes", "steps"), [(True, ["240 x 1"], "1"), (False, ["240 x 4", "480 x 2"], "2")]
)
def test_bfloat16_is_measured_in_small_where_it_is_emulated(emulated, sizes, steps):
    found = [group for group in rows.groups(EVERYWHERE, emulated=emulated) if "bfloat16" in group.name]
    assert [group.rows[0].name for group in found] == [f"step, fcn, {size}, bfloat16 / torch" for size in sizes]
    for group in found:
        assert f"--steps={steps}" in group.commands["kseg"].argv
        assert f"--steps={steps}" in group.commands["torch"].argv


def test_both_kinds_of_start_are_compared_with_the_checkout_before():
    (group,) = rows.select(rows.groups(EVERYWHERE, emulated=True), ["start"])
    kept = {row.name: parse(start.StartConfig, group.commands[row.ours[0]].argv[1:]).kept for row in group.rows}
    assert kept == {
        "start to the first step / before": "all",
        "start, nothing kept / before": "nothing",
    }
    assert {row.peer[0] for row in group.rows} == {"before"}


def test_the_checkout_before_runs_its_own_code():
    (group,) = rows.select(rows.groups(EVERYWHERE, emulated=True), ["start"])
    assert group.commands["before"].env["PYTHONPATH"] == "checkout"
    assert group.commands["kseg"].env["PYTHONPATH"] == str(rows.ROOT)


def test_rows_are_chosen_by_name_or_first_word():
    groups = rows.groups(EVERYWHERE, emulated=False)
    assert rows.select(groups, []) == groups
    assert [group.name for group in rows.select(groups, ["large", "input 520 240"])] == [
        *("input 520 240", "large 480", "large 768")
    ]
    assert len(rows.select(groups, ["forward"])) == 4
    with pytest.raises(ValueError, match=r"--rows=nothing: no such row; allowed: input 520 480, "):
        rows.select(groups, ["step", "nothing"])


@pytest.mark.parametrize("script", ["train_step", "program", "validation_sizes"])
def test_the_scripts_know_the_flags_that_they_are_given(script):
    """Without the minutes that a run takes: --help lists every flag of every command."""
    path = pathlib.Path(rows.ROOT) / "benchmarks" / f"{script}.py"
    text = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, check=True).stdout
    used = {
        flag.partition("=")[0]
        for group in rows.groups(EVERYWHERE, emulated=True)
        for command in group.commands.values()
        if str(path) in command.argv
        for flag in command.argv[2:]
    }
    assert used
    assert all(flag in text for flag in used)
