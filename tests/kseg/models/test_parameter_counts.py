"""How many weights the networks have: a table, the arithmetic behind it, and two other implementations."""

import gluoncv_heads_reference as gluoncv
import keras
import pytest

from kseg.models.segmenter import build_segmenter

CLASSES = 21
# For 21 classes: (algorithm, backbone, with the auxiliary head). Moving statistics count as weights, as in Keras.
TABLE = {
    ("fcn", "resnet-50", False): 33_011_157,
    ("fcn", "resnet-50", True): 35_376_874,
    ("fcn", "resnet-101", False): 52_055_509,
    ("fcn", "resnet-101", True): 54_421_226,
    ("psp", "resnet-50", False): 46_650_837,
    ("psp", "resnet-50", True): 49_016_554,
    ("psp", "resnet-101", False): 65_695_189,
    ("psp", "resnet-101", True): 68_060_906,
    ("deeplab", "resnet-50", False): 39_695_573,
    ("deeplab", "resnet-50", True): 42_061_290,
    ("deeplab", "resnet-101", False): 58_739_925,
    ("deeplab", "resnet-101", True): 61_105_642,
}
BLOCKS = {"resnet-50": (3, 4, 6, 3), "resnet-101": (3, 4, 23, 3)}  # He et al. 2015, table 1
HEADS = {"fcn": 9_450_005, "psp": 23_089_685, "deeplab": 16_134_421}
AUX_HEAD = 2_365_717
# `weights="imagenet", include_top=False` of keras.applications: its convolutions have biases, kseg's have none.
APPLICATIONS = {"resnet-50": 23_587_712, "resnet-101": 42_658_176}


def conv(inputs: int, outputs: int, size: int = 1) -> int:
    """Weights of a convolution without bias and its batch normalisation: gamma, beta, mean and variance a channel."""
    return size * size * inputs * outputs + 4 * outputs


def classifier(inputs: int) -> int:
    return inputs * CLASSES + CLASSES


def convolutions(backbone: str) -> list[tuple[int, int, int]]:
    """(inputs, outputs, kernel size) of each convolution of a bottleneck ResNet by table 1 of He et al. 2015."""
    found, inputs = [(3, 64, 7)], 64
    for width, blocks in zip((64, 128, 256, 512), BLOCKS[backbone], strict=True):
        found.append((inputs, 4 * width, 1))  # the first block's shortcut
        for _ in range(blocks):
            found += [(inputs, width, 1), (width, width, 3), (width, 4 * width, 1)]
            inputs = 4 * width
    return found


def head(algorithm: str) -> int:
    if algorithm == "fcn":
        return conv(2048, 512, 3) + classifier(512)
    if algorithm == "psp":
        return 4 * conv(2048, 512) + conv(2048 + 4 * 512, 512, 3) + classifier(512)
    assert algorithm == "deeplab"
    branches = conv(2048, 256) + 3 * conv(2048, 256, 3) + conv(2048, 256)
    return branches + conv(5 * 256, 256) + conv(256, 256, 3) + classifier(256)


@pytest.fixture
def shapes_only():
    """Variables of shape alone, never filled: 0.7 s a network instead of 3 s."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    keras.utils.clear_session()  # Keras lists them, and fills the list whenever another such scope ends


@pytest.mark.parametrize(("algorithm", "backbone", "aux"), TABLE)
def test_networks_have_the_weights_of_the_table(algorithm, backbone, aux, shapes_only):
    network = build_segmenter(algorithm=algorithm, backbone=backbone, num_classes=CLASSES, aux=aux)
    assert network.count_params() == TABLE[algorithm, backbone, aux]


@pytest.mark.parametrize(("algorithm", "backbone", "aux"), TABLE)
def test_the_table_adds_up(algorithm, backbone, aux):
    aux_head = conv(1024, 256, 3) + classifier(256)
    assert head(algorithm) == HEADS[algorithm]
    assert aux_head == AUX_HEAD
    total = sum(conv(*each) for each in convolutions(backbone)) + HEADS[algorithm] + aux * AUX_HEAD
    assert total == TABLE[algorithm, backbone, aux]


@pytest.mark.parametrize("backbone", BLOCKS)
def test_backbones_have_keras_applications_weights_less_its_biases(backbone):
    biases = sum(outputs for _, outputs, _ in convolutions(backbone))
    assert biases == {"resnet-50": 26_560, "resnet-101": 52_672}[backbone]
    assert sum(conv(*each) for each in convolutions(backbone)) == APPLICATIONS[backbone] - biases


def test_gluoncv_differs_by_its_stem_alone():
    """Its ResNets "v1s" begin with three 3x3 of 64, 64 and 128 channels, so the first block has 128 inputs, not 64."""
    own = conv(3, 64, 7) + conv(64, 64) + conv(64, 256)
    deep = conv(3, 64, 3) + conv(64, 64, 3) + conv(64, 128, 3) + conv(128, 64) + conv(128, 256)
    assert deep - own == 124_160
    assert gluoncv.COUNTS == {key: TABLE[key] + 124_160 for key in gluoncv.COUNTS}
    assert len(gluoncv.COUNTS) == 12
