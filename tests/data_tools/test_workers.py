import functools
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
from converted import found_in
from drawn import write_pairs

from data_tools.encoding import make_encoding
from data_tools.preparation import Recipe, prepare
from data_tools.workers import mapped
from kseg.errors import RunError


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """60 pairs, more than two workers have in hand at once; every seventh image is broken."""
    root = tmp_path_factory.mktemp("pairs")
    write_pairs(root, [f"{index:02d}" for index in range(60)], height=8, width=8)
    for index in range(0, 60, 7):
        (root / "images" / f"{index:02d}.jpg").write_bytes(b"broken")
    return found_in(root).pairs


PREPARE = functools.partial(prepare, recipe=Recipe(make_encoding(3)))


def test_results_come_in_order_whatever_the_number_of_processes(pairs):
    results = {}
    for workers in (1, 2):
        with mapped(PREPARE, pairs, workers) as made:
            results[workers] = list(made)
    assert results[1] == results[2]
    for index, result in enumerate(results[1]):
        if index % 7 == 0:
            assert result[0].file == pairs[index].image
        else:
            assert result.filename == pairs[index].filename
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_ends_the_run_with_advice(pairs):
    with (
        pytest.raises(RunError, match=r"one of the 2 worker processes died.*fewer --workers"),
        mapped(PREPARE, pairs, workers=2) as results,
    ):
        next(results)
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)
        list(results)


def test_workers_do_not_load_tensorflow():
    code = "import sys, data_tools.workers, data_tools.preparation; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
