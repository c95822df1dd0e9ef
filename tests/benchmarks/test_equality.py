import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parent.parent.parent
# A process of its own: what float64 needs is set for good.
SCRIPT = """
import keras, numpy as np
from benchmarks import equality_run
equality_run.widen()
equality_run.move(1e-3)
from kseg import checkpoints
from kseg.config import TrainConfig
from kseg.losses.cross_entropy import CrossEntropy
config = TrainConfig(data="d", output_dir="o", algorithm="fcn", backbone="resnet-18", use_pretrained_model=False,
                     base_size=64, crop_size=32, mixed_precision="float32")
network = checkpoints.build_network(config, 3, "float32")
outputs = network(np.zeros([1, 32, 32, 3], np.uint8), training=True)
loss = CrossEntropy()(np.zeros([1, 32, 32], np.uint8), outputs["logits"])
kinds = {str(each.dtype) for each in network.trainable_variables}
print(kinds, *(each.dtype.name for each in outputs.values()), loss.dtype.name)
scale = next(each for each in network.trainable_variables if each.path.endswith("gamma")).numpy()
print(0 < np.abs(scale - 1).max() < 1e-2)
"""


def test_float64_is_that_of_weights_logits_and_loss_and_weights_are_moved():
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["{'float64'} float64 float64 float64", "True"], done.stderr
