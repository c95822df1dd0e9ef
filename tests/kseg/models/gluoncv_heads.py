"""Prints gluoncv_heads_reference.py: logits of GluonCV's heads on the weights of head_formula.py, parameter counts.

It has an environment of its own, since MXNet needs Python 3.8 and NumPy below 1.24 (np.bool):

    python3.8 -m venv peer-mx && peer-mx/bin/pip install "mxnet==1.9.1" "gluoncv==0.10.5.post0" "numpy<1.24"
    peer-mx/bin/python gluoncv_heads.py > gluoncv_heads_reference.py

Nothing else is needed: no weights are downloaded. It takes about 10 s.
"""

import contextlib
import sys
from importlib.metadata import version

import head_formula as formula
import mxnet as mx
import numpy as np
from gluoncv.model_zoo import FCN, DeepLabV3, PSPNet
from gluoncv.model_zoo.deeplabv3 import _DeepLabHead
from gluoncv.model_zoo.fcn import _FCNHead
from gluoncv.model_zoo.pspnet import _PSPHead


def make_fcn(channels: int, name: str) -> tuple:
    """GluonCV's head, and its blocks as ((name of kseg's layers, convolution, batch normalisation or None), ...)."""
    head = _FCNHead(channels, formula.CLASSES)
    return head, ((name, head.block[0], head.block[1]), (name + "_logits", head.block[4], None))


def make_psp() -> tuple:
    """As `make_fcn`."""
    head = _PSPHead(formula.CLASSES, feature_map_height=formula.HEIGHT, feature_map_width=formula.WIDTH)
    pyramid = (("1", head.psp.conv1), ("2", head.psp.conv2), ("3", head.psp.conv3), ("6", head.psp.conv4))
    pooled = tuple(("head_pool" + bins, block[0], block[1]) for bins, block in pyramid)
    return head, (*pooled, ("head", head.block[0], head.block[1]), ("head_logits", head.block[4], None))


def make_deeplab() -> tuple:
    """As `make_fcn`."""
    head = _DeepLabHead(formula.CLASSES, height=formula.HEIGHT, width=formula.WIDTH)
    branches = head.aspp.concurent
    atrous = tuple((f"head_aspp{index + 1}", branches[index][0], branches[index][1]) for index in range(4))
    mean = ("head_mean", branches[4].gap[1], branches[4].gap[2])
    project = ("head_project", head.aspp.project[0], head.aspp.project[1])
    last = (("head", head.block[0], head.block[1]), ("head_logits", head.block[4], None))
    return head, (*atrous, mean, project, *last)


def logits(head, blocks: tuple, channels: int) -> list:
    """The head's outputs in inference at formula.POSITIONS."""
    head.initialize()
    for name, conv, norm in blocks:
        if norm is None:
            conv.weight.set_data(mx.nd.array(formula.kernel(name, conv.weight.shape)))
            conv.bias.set_data(mx.nd.array(formula.bias(name, formula.CLASSES)))
            continue
        conv.weight.set_data(mx.nd.array(formula.kernel(name + "_conv", conv.weight.shape)))
        values = formula.norm(name + "_bn", conv.weight.shape[0])
        for index, parameter in enumerate((norm.gamma, norm.beta, norm.running_mean, norm.running_var)):
            parameter.set_data(mx.nd.array(values[index]))
    assert len(list(head.collect_params())) == 5 * len(blocks) - 3  # the classifier has 2 arrays, the others 5
    outputs = head(mx.nd.array(formula.features(channels)[None])).asnumpy()[0]
    return [float(outputs[k, row, column]) for row, column, k in formula.POSITIONS]


def count(network, backbone: str, aux: bool) -> int:
    """Parameters and batch normalisation statistics of GluonCV's whole network for 21 classes."""
    net = network(21, backbone=backbone, aux=aux, pretrained_base=False)
    net.infer_shape(mx.nd.zeros((1, 3, 480, 480)))
    return sum(int(np.prod(parameter.shape)) for parameter in net.collect_params().values())


def main() -> None:
    # Not gluoncv.__version__, which says 0.11.0 in 0.10.5.post0.
    print(f'"""GluonCV {version("gluoncv")} on MXNet {version("mxnet")}, printed by gluoncv_heads.py."""')
    print("\n# Logits at head_formula.POSITIONS.")
    print("LOGITS = {")
    made = {"fcn": make_fcn(2048, "head"), "psp": make_psp(), "deeplab": make_deeplab(), "aux": make_fcn(1024, "aux")}
    for name, (head, blocks) in made.items():
        print(f'    "{name}": [')
        for value in logits(head, blocks, 1024 if name == "aux" else 2048):
            print(f"        {value:.9g},")
        print("    ],")
    print("}")
    print("\n# Parameters and batch normalisation statistics for 21 classes: (algorithm, backbone, auxiliary head).")
    print("COUNTS = {")
    for name, network in (("fcn", FCN), ("psp", PSPNet), ("deeplab", DeepLabV3)):
        for depth in ("50", "101"):
            for aux in (False, True):
                with contextlib.redirect_stdout(sys.stderr):  # PSPNet prints its crop size
                    total = count(network, "resnet" + depth, aux)
                print(f'    ("{name}", "resnet-{depth}", {aux}): {total},')
    print("}")


if __name__ == "__main__":
    main()
