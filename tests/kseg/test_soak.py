"""benchmarks/soak.py, shorter: a dozen epochs, of which those after the third must not add anything."""

import pytest

from benchmarks import soak
from benchmarks.soak import Figures
from kseg.config import TrainConfig
from kseg.knobs import parse

pytestmark = pytest.mark.usefixtures("small_resnet")


def test_handles_and_functions_stay_and_memory_nearly(tiny_data, tmp_path):
    flags = [f"--flagfile={soak.RECIPE}", *soak.FLAGS, "--epochs=12", f"--data={tiny_data}"]
    config = parse(TrainConfig, ["soak", *flags, f"--output_dir={tmp_path}/run"])
    with open(tmp_path / "each.csv", "w+") as file:
        noted = soak.soaked(config, file)
        file.seek(0)
        assert len(file.readlines()) == len(noted) == 12
    after = noted[2:]
    assert len({each.handles for each in after}) == 1
    assert len({each.functions for each in after}) == 1
    assert max(each.rss_mb for each in after) < 1.15 * after[0].rss_mb  # of a process that other tests ran in


STEADY = [Figures(900.0, 9, 100)] * 9 + [Figures(1000.0, 9, 108)] * 11


@pytest.mark.parametrize(
    ("last", "stays"),
    [((1049.0, 9, 108), True), ((1050.0, 9, 108), False), ((1000.0, 10, 108), False), ((1000.0, 9, 109), False)],
)
def test_growth_is_counted_from_the_tenth_epoch(last, stays):
    found = soak.line([*STEADY, Figures(*last)], 60.0)
    assert found["rss_mb"] == {"first": 900.0, "tenth": 1000.0, "last": last[0]}
    assert found["growth_percent"] == pytest.approx(last[0] / 10 - 100)
    assert soak.stays(found) is stays
