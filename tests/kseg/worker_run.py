"""kseg-train with the small network of small_resnet.py, for tests that need processes of their own; takes its flags."""

import pytest
from small_resnet import shrink

from kseg.cli.train import main

if __name__ == "__main__":
    shrink(pytest.MonkeyPatch())
    main()
