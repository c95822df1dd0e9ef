"""A smaller network for the modules that ask for it."""

import pytest
from small_resnet import shrink


@pytest.fixture(scope="module")
def small_resnet():
    """Until the module's end resnet-18 is the one of small_resnet.py."""
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        yield
