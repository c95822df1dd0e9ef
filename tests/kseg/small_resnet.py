"""resnet-18 made smaller, for tests of what stands around a network: a training of it takes half the seconds.

They go by the number of layers, most of which say the same again. Left are the same stem, the same kinds of block,
strides, taps and names of layers; tests of the networks themselves, and tests/e2e, have the whole of it.
"""

import pytest

from kseg.models import backbones


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Takes a block of each stage's two away and most of the channels; a script of its own need not undo it."""
    patch.setitem(backbones.VARIANTS, "resnet-18", ((1, 1, 1, 1), backbones.BASIC))
    patch.setattr(backbones, "STAGE_FILTERS", (64, 64, 96, 128))
