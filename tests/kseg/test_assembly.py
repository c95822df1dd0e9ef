"""Flags to a network that is ready to fit; what a training with them does is tested in test_trainer_options."""

import numpy as np
import pytest

from kseg import checkpoints, workers
from kseg.assembly import assemble
from kseg.config import TrainConfig
from kseg.plan import make_plan

SMALL = {"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 32}


def assembled(data: str, precision: str = "float32", **flags):
    return assemble(make_plan(TrainConfig(data=data, output_dir="unused", **SMALL | flags)), precision, replicas=1)


def test_every_option_reaches_its_part(tiny_data):
    built = assembled(
        tiny_data,
        precision="float16",
        optimizer="adamw",
        learning_rate=0.5,
        weight_decay=0.25,
        clip_norm=3.0,
        gradient_accumulation_steps=2,
        head_learning_rate_multiplier=7.0,
        no_decay_norm_bias=True,
        warmup_epochs=1,
        loss="focal+dice",
        class_weights="1,2",
        label_smoothing=0.1,
        freeze_stages=1,
        ema_decay=0.9,
        jit_compile="True",
        aux_loss_weight=0.3,
    )
    rule = built.model.optimizer
    assert (rule.name, rule.global_clipnorm, rule.gradient_accumulation_steps) == ("adamw", 3.0, 2)
    assert (rule.loss_scaled, rule.decoupled_decay) == (True, 0.25)
    assert float(rule.learning_rate) == 0.0  # the warm-up's first batch
    rates = dict(zip((v.path for v in built.network.trainable_variables), rule.rate_multipliers, strict=True))
    assert {rate for path, rate in rates.items() if path.startswith(("head", "aux"))} == {7.0}
    assert {rate for path, rate in rates.items() if path.startswith("conv")} == {1.0}
    assert not [path for path in rates if path.startswith("conv1_")]
    config = built.model.loss.get_config()
    assert [part["class_name"].split(">")[-1] for part in config["parts"]] == ["Focal", "Dice"]
    assert config["parts"][0]["config"] == {"name": "focal", "class_weights": (1.0, 2.0), "label_smoothing": 0.1}
    assert (built.model.jit_compile, built.model.aux_loss_weight) == (True, 0.3)
    assert built.network.get_layer("head_conv").compute_dtype == "float16"
    assert len(built.state) == len(built.network.variables) + len(rule.variables) + len(built.average.variables)


@pytest.mark.parametrize("machines", [1, 2])
def test_kernels_are_drawn_later_on_one_machine_alone(machines, tiny_data, monkeypatch):
    """TensorFlow sends the values that variables begin with from one machine to the others."""
    given, build = [], checkpoints.build_network
    monkeypatch.setattr(workers, "joined", lambda: machines > 1)
    monkeypatch.setattr(
        checkpoints, "build_network", lambda *arguments: given.append(arguments[3]) or build(*arguments)
    )
    kernel = assembled(tiny_data).network.get_layer("head_conv").kernel
    assert [later is None for later in given] == [machines > 1]
    assert 0.5 < np.std(kernel) / np.sqrt(2 / np.prod(kernel.shape[:3])) < 2  # He's


def test_the_original_s_defaults_need_none_of_it(tiny_data):
    built = assembled(tiny_data)
    rule = built.model.optimizer
    assert (type(rule).__name__, rule.coupled_decay, rule.loss_scaled, built.average) == ("SGD", 0.0001, False, None)
    assert rule.global_clipnorm is None
    assert rule.gradient_accumulation_steps is None
    assert built.model.loss.name == "cross_entropy"
    assert float(rule.learning_rate) == pytest.approx(0.001)
    assert len(built.network.trainable_variables) == 20 * 3 + 2 * 5
