"""benchmarks/soak.py, shorter: a few epochs more than the ten that are allowed to add something."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from benchmarks import soak
from benchmarks.soak import Figures

SCRIPT = pathlib.Path(__file__).with_name("soak_run.py")
ROOT = SCRIPT.parent.parent.parent


def test_memory_handles_and_functions_stay(tmp_path):
    """In a process of its own: what other tests leave behind goes at times of its own."""
    command = [sys.executable, SCRIPT, "--epochs=14", f"--each={tmp_path}/each.csv"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["epochs"] == len((tmp_path / "each.csv").read_text().splitlines()) == 14
    assert found["handles"][0] == found["handles"][1] > 3
    assert found["functions"][0] == found["functions"][1] > 10
    assert found["highest_growth_percent"] < 5
    assert found["python_blocks_an_epoch"] < 1000


STEADY = [Figures(900.0, 9, 100, 20_000)] * 9 + [Figures(1000.0, 9, 108, 50_000)] * 10


@pytest.mark.parametrize(
    ("last", "stays"),
    [
        ((1049.0, 9, 108, 59_000), True),
        ((1050.0, 9, 108, 50_000), False),
        ((1000.0, 10, 108, 50_000), False),
        ((1000.0, 9, 109, 50_000), False),
        ((1000.0, 9, 108, 60_000), False),
    ],
)
def test_growth_is_counted_from_the_tenth_epoch(last, stays):
    found = soak.line([*STEADY, Figures(*last)], 60.0)
    assert found["rss_mb"] == {"first": 900.0, "tenth": 1000.0, "last": last[0]}
    assert found["growth_percent"] == pytest.approx(last[0] / 10 - 100)
    assert found["python_blocks_an_epoch"] == (last[3] - 50_000) / 10
    assert soak.stays(found) is stays
