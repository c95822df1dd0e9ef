"""The hyperparameters: names, ranges, defaults, contradictions."""

import dataclasses
import json

import pytest

from data_tools.convert import ConvertConfig
from data_tools.demo import DemoConfig
from data_tools.inspection.command import InspectConfig
from kseg import knobs
from kseg.config import EvalConfig, ExportConfig, PredictConfig, TrainConfig
from kseg.errors import UsageError

# The original's table: name -> (default, accepted values, refused values).
HYPERPARAMETERS = {
    "backbone": ("resnet-50", ["resnet-50", "resnet-101"], ["resnet50"]),
    "use_pretrained_model": (True, [True, False], []),
    "algorithm": ("fcn", ["fcn", "psp", "deeplab"], ["unet"]),
    "num_classes": (None, [2, 254], [1, 255]),
    "num_training_samples": (None, [1, 10**6], [0, -1]),
    "base_size": (520, [17], [16]),
    "crop_size": (480, [24], [16, 12]),
    "early_stopping": (False, [True, False], []),
    "early_stopping_min_epochs": (5, [0, 9], [-1]),
    "early_stopping_patience": (4, [0, 9], [-1]),
    "early_stopping_tolerance": (0.0, [0.0, 1.0], [-0.1, 1.1]),
    "epochs": (30, [1], [0]),
    "gamma1": (0.9, [0.0, 1.0], [-0.1, 1.1]),
    "gamma2": (0.9, [0.0, 1.0], [-0.1, 1.1]),
    "learning_rate": (0.001, [1e-9, 1.0], [0.0, 1.1]),
    "lr_scheduler": ("poly", ["poly", "cosine"], ["linear"]),
    "lr_scheduler_factor": (0.1, [0.0, 1.0], [-0.1, 1.1]),
    "lr_scheduler_step": (None, [], []),
    "mini_batch_size": (4, [1], [0]),
    "momentum": (0.9, [0.1, 1.0], [0.0, 1.1]),
    "optimizer": ("sgd", ["adam", "adagrad", "nag", "rmsprop", "sgd", "adadelta", "adamw"], ["lion"]),
    "syncbn": (False, [True, False], []),
    "validation_mini_batch_size": (4, [1], [0]),
    "weight_decay": (0.0001, [0.0, 0.99], [-0.1, 1.0]),
}
KSEG_FLAGS = {
    **{"data": None, "output_dir": None, "preview_dir": None, "train_split": "train", "validation_split": "validation"},
    **{"on_bad_record": "refuse"},
    **{"class_balanced_crop": False, "random_vertical_flip": False, "random_blur": False},
    **{"random_rotation": False, "random_rotation_degrees": 10.0, "color_jitter": False, "color_jitter_strength": 0.4},
    **{"output_stride": 8, "aux_loss_weight": 0.4, "pretrained_weights": None, "init_from": None},
    **{"freeze_backbone_bn": False, "freeze_stages": 0},
    **{"loss": "cross_entropy", "class_weights": "none", "label_smoothing": 0.0, "head_learning_rate_multiplier": 10.0},
    **{"no_decay_norm_bias": False, "clip_norm": 0.0, "gradient_accumulation_steps": 1, "ema_decay": 0.0},
    **{"warmup_epochs": 0, "mixed_precision": "auto", "jit_compile": "auto", "deterministic": False},
    **{"distribution": "auto", "logical_devices": 1, "worker_timeout": 60.0},
    **{"checkpoint_every_steps": 0, "keep_checkpoints": 2, "on_nan": "stop"},
    **{"absent_class_iou": "leave_out", "validation_pictures": 4, "seed": 0},
}
# The flags and defaults of every command. Scripts depend on them: change them knowingly, and say so in the CHANGELOG.
MODEL_FLAGS = {"run": None, "saved_model": None, "model": "best"}
PICTURE_FLAGS = {
    **{"source": "auto", "input": None, "images": None, "masks": None, "mask_suffix": None, "split": None},
    **{"split_ratio": None, "classes": None, "num_classes": None, "label_map": None, "colors": None},
    **{"palette": "index", "ignore_values": None, "reduce_zero_label": None, "unmapped": "refuse"},
}
FROZEN = {
    TrainConfig: {name: row[0] for name, row in HYPERPARAMETERS.items()} | KSEG_FLAGS,
    EvalConfig: {
        **MODEL_FLAGS,
        **{"data": None, "split": "validation", "validation_mini_batch_size": 1, "crop_size": None},
        **{"on_bad_record": "refuse"},
        **{"absent_class_iou": "leave_out", "json": None, "confusion_png": None},
    },
    PredictConfig: {**MODEL_FLAGS, "images": None, "output": None, "overlay_alpha": 0.5, "original_labels": False},
    ExportConfig: {
        **{"run": None, "model": "best", "export_dir": None, "version": None},
        **{"precision": "float32", "winograd": True},
    },
    ConvertConfig: {
        **PICTURE_FLAGS,
        **{"output": None, "max_side": None, "jpeg_quality": None, "on_error": "refuse", "num_shards": None},
        **{"workers": None, "runner": "local", "beam_args": None},
    },
    InspectConfig: {**PICTURE_FLAGS, "output": None, "html": None, "workers": None},
    DemoConfig: {"output": None, "seed": 0, "train_images": 160, "validation_images": 40, "size": 160},
}


SWITCHES = {"random_rotation": True, "color_jitter": True}  # without which their amounts are refused
# kseg's own flags that have a range: name -> (accepted values, refused values).
RANGES = {
    "on_bad_record": (["refuse", "skip"], ["ignore"]),
    "random_rotation_degrees": ([0.1, 180], [0, 181]),
    "color_jitter_strength": ([0.1, 1], [0, 1.1]),
    "aux_loss_weight": ([0, 2.0], [-0.1]),
    "freeze_stages": ([0, 5], [-1, 6]),
    "label_smoothing": ([0, 0.9], [-0.1, 1]),
    "clip_norm": ([0, 35.0], [-1]),
    "gradient_accumulation_steps": ([1, 8], [0]),
    "ema_decay": ([0, 0.9999], [-0.1, 1]),
    "warmup_epochs": ([0, 29], [-1]),
    "mixed_precision": (["auto", "float32", "bfloat16", "float16"], ["fp16"]),
    "jit_compile": (["auto", "True", "False"], ["yes"]),
    "distribution": (["auto", "one_device", "mirrored", "multi_worker"], ["parameter_server"]),
    "logical_devices": ([1, 64], [0, 65]),
    "worker_timeout": ([5, 3600.0], [4.9, 3601.0]),
    "checkpoint_every_steps": ([0, 500], [-1]),
    "keep_checkpoints": ([1, 9], [0]),
    "on_nan": (["stop", "rollback"], ["skip"]),
    "loss": (["ohem", "cross_entropy+dice", "focal+lovasz+dice"], ["hinge", "dice+dice", "", "dice+"]),
    "class_weights": (["none", "balanced", "1,0.5", "0, 3e2"], ["even", "1,", "1,-1", "0,0", "nan,1", "inf,1"]),
}


def make(**values):
    return TrainConfig(data="d", output_dir="o", **values)


@pytest.mark.parametrize("config_class", FROZEN, ids=lambda config_class: config_class.__name__)
def test_flag_list_is_frozen(config_class):
    assert {field.name: field.default for field in dataclasses.fields(config_class)} == FROZEN[config_class]


@pytest.mark.parametrize("name", HYPERPARAMETERS)
def test_hyperparameter(name):
    default, accepted, refused = HYPERPARAMETERS[name]
    assert getattr(make(), name) == default
    for value in accepted:
        assert getattr(make(**{name: value}), name) == value
    for value in refused:
        with pytest.raises(UsageError, match=f"--{name}={value}: allowed: "):
            make(**{name: value})


@pytest.mark.parametrize("name", RANGES)
def test_range(name):
    accepted, refused = RANGES[name]
    for value in accepted:
        assert getattr(make(**SWITCHES, **{name: value}), name) == value
    for value in refused:
        with pytest.raises(UsageError, match=rf"--{name}=.*: allowed: "):
            make(**{name: value})


def test_losses_and_their_options():
    assert make(class_weights="1, 0.5").listed_class_weights == (1.0, 0.5)
    assert make(class_weights="balanced").listed_class_weights is None
    with pytest.raises(UsageError, match=r"--loss=cross_entrpy: .*did you mean cross_entropy"):
        make(loss="cross_entrpy")
    for option in ({"class_weights": "balanced"}, {"label_smoothing": 0.1}):
        assert make(loss="dice+ohem", **option).loss == "dice+ohem"
        ((name, value),) = option.items()
        with pytest.raises(UsageError, match=rf"--{name}={value}: without effect on --loss=dice.lovasz; allowed: with"):
            make(loss="dice+lovasz", **option)


def test_sparing_weights_from_the_decay_takes_a_decay():
    assert make(no_decay_norm_bias=True, optimizer="adamw").no_decay_norm_bias
    for flags in ({"optimizer": "adam"}, {"weight_decay": 0.0}):
        with pytest.raises(UsageError, match=r"--no_decay_norm_bias=True: --optimizer=.* decays no weight; allowed: "):
            make(no_decay_norm_bias=True, **flags)


def test_amounts_go_with_their_switches():
    for switch, amount in (("random_rotation", "random_rotation_degrees"), ("color_jitter", "color_jitter_strength")):
        with pytest.raises(UsageError, match=f"--{amount}=0.5: without effect; allowed: with --{switch}"):
            make(**{amount: 0.5})
        assert getattr(make(**{switch: True, amount: 0.5}), amount) == 0.5


def test_warm_up_is_shorter_than_the_training():
    with pytest.raises(UsageError, match="--warmup_epochs=3: allowed: integer, 0 <= x < 3, the --epochs"):
        make(epochs=3, warmup_epochs=3)


def test_crop_size_is_rounded_up_to_a_multiple_of_8():
    assert [make(crop_size=size).crop_size for size in (17, 24, 241)] == [24, 24, 248]


def test_scheduler_steps():
    config = make(lr_scheduler="step", lr_scheduler_step="10, 20")
    assert config.scheduler_epochs == (10, 20)
    with pytest.raises(UsageError, match="--lr_scheduler_step is required with --lr_scheduler=step"):
        make(lr_scheduler="step")
    with pytest.raises(UsageError, match="--lr_scheduler_step=10: contradicts --lr_scheduler=poly"):
        make(lr_scheduler_step="10")
    for wrong in ("20,10", "0", "5,5", "ten", ",", "10,,20", "1_0", "10,"):
        with pytest.raises(UsageError, match="rising integers"):
            make(lr_scheduler="step", lr_scheduler_step=wrong)


def test_contradictions_and_missing_flags():
    with pytest.raises(UsageError, match="--pretrained_weights=w: contradicts --use_pretrained_model=False"):
        make(use_pretrained_model=False, pretrained_weights="w")
    with pytest.raises(UsageError, match="--init_from=r: contradicts --pretrained_weights=w"):
        make(init_from="r", pretrained_weights="w")
    with pytest.raises(UsageError, match="--output_dir is required"):
        TrainConfig(data="d")
    with pytest.raises(UsageError, match="--data is required"):
        TrainConfig(output_dir="o")
    with pytest.raises(UsageError, match="--run, --saved_model: both given"):
        EvalConfig(run="r", saved_model="s", data="d")
    with pytest.raises(UsageError, match="--run, --saved_model: neither given"):
        PredictConfig(images="i", output="o")
    with pytest.raises(UsageError, match="--export_dir is required"):
        ExportConfig(run="r")


def test_json_and_flagfile_make_the_same_config(tmp_path):
    config = make(optimizer="adam", crop_size=240, early_stopping=True, lr_scheduler="step", lr_scheduler_step="3, 4")
    assert TrainConfig(**json.loads(config.to_json())) == config
    path = tmp_path / "config.flags"
    path.write_text(knobs.to_flagfile(config))
    assert knobs.parse(TrainConfig, ["kseg-train", f"--flagfile={path}"]) == config
