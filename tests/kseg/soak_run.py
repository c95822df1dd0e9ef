"""benchmarks/soak.py with the small network of small_resnet.py; run by test_soak.py, from the repository's root."""

import pytest
from small_resnet import shrink

from benchmarks import soak
from kseg.command import launch

if __name__ == "__main__":
    shrink(pytest.MonkeyPatch())
    launch("soak_run.py", "trains on and on", soak.SoakConfig, soak.run)
