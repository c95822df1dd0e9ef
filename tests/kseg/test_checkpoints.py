"""The run directory: what is recognised, what is refused, what a damaged file leads to."""

import json

import numpy as np
import pytest

from kseg import checkpoints
from kseg.config import TrainConfig
from kseg.errors import RunError
from kseg.labels import LabelMap
from kseg.models.segmenter import without_aux
from kseg.optimizers import build_optimizer

pytestmark = pytest.mark.usefixtures("small_resnet")
LABELS = LabelMap.from_names(["dark", "bright"])


def config(folder) -> TrainConfig:
    return TrainConfig(
        data="d", output_dir=str(folder), backbone="resnet-18", use_pretrained_model=False, output_stride=32
    )


@pytest.fixture(scope="module")
def model(small_resnet):
    """An untrained network, with an auxiliary head."""
    return checkpoints.build_network(config("unused"), 2, "float32")


@pytest.fixture(scope="module")
def state(model):
    """Its variables and those of an optimizer."""
    optimizer = build_optimizer("sgd", learning_rate=0.1)
    optimizer.build(model.trainable_variables)
    return [variable.value for variable in model.variables + optimizer.variables]


@pytest.fixture
def run(tmp_path, model):
    folder = tmp_path / "run"
    checkpoints.make_run(config(folder), LABELS)
    checkpoints.save_model(model, str(folder), "best")
    return folder


def test_a_kept_model_comes_back_with_its_weights_classes_and_flags(run, model):
    loaded, labels, flags = checkpoints.load_segmenter(str(run), "best")
    assert (labels, flags) == (LABELS, config(run))
    for one, two in zip(loaded.weights, without_aux(model).weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)
    assert [weight.path for weight in model.weights if weight.path.startswith("aux")]
    whole = checkpoints.load_network(str(run), "best", flags, 2, advice="")
    for one, two in zip(whole.weights, model.weights, strict=True):
        np.testing.assert_array_equal(one, two, err_msg=one.path)


@pytest.mark.parametrize("damage", ["empty", "half", "flipped"])
def test_a_damaged_model_is_named(run, damage):
    path = run / "best" / "model.keras"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "flipped": content}[damage])
    with pytest.raises(RunError, match=r"best/model\.keras: damaged .*; try --model=last"):
        checkpoints.load_segmenter(str(run), "best")


def test_a_run_from_before_the_auxiliary_head_has_none(tmp_path):
    folder = tmp_path / "old"
    plain = TrainConfig(**json.loads(config(folder).to_json()) | {"aux_loss_weight": 0.0})
    checkpoints.make_run(plain, LABELS)
    network = checkpoints.build_network(plain, 2, "float32")
    checkpoints.save_model(network, str(folder), "best")
    values = json.loads((folder / "config.json").read_text())
    del values["aux_loss_weight"]
    (folder / "config.json").write_text(json.dumps(values))
    loaded, _, flags = checkpoints.load_segmenter(str(folder), "best")
    assert flags == plain
    np.testing.assert_array_equal(loaded.get_layer("head_conv").kernel, network.get_layer("head_conv").kernel)


def test_what_is_missing_is_named(run, tmp_path):
    with pytest.raises(RunError, match=r"last/model\.keras: not there"):
        checkpoints.load_segmenter(str(run), "last")
    with pytest.raises(RunError, match=r"not a run directory of kseg-train \(config\.json is missing\)"):
        checkpoints.load_segmenter(str(tmp_path), "best")
    (run / "config.json").write_text('{"data": "d", "no_such_flag": 1}')
    with pytest.raises(RunError, match=r"config\.json: not a configuration of this kseg"):
        checkpoints.load_segmenter(str(run), "best")


def test_another_configuration_or_other_classes_are_refused(run):
    checkpoints.check_run(config(run), LABELS)
    other = TrainConfig(**json.loads(config(run).to_json()) | {"epochs": 31, "data": "moved", "validation_pictures": 0})
    with pytest.raises(RunError, match=r"another configuration \(epochs=30 there, 31 now\)"):
        checkpoints.check_run(other, LABELS)
    with pytest.raises(RunError, match=r"other classes \(dark, bright; d has dark, light\)"):
        checkpoints.check_run(config(run), LabelMap.from_names(["dark", "light"]))


def test_a_directory_left_by_a_killed_start_is_taken_and_cleared(tmp_path):
    for name in ("labels.json", "config.flags", ".config.0123abcd.part.json"):
        (tmp_path / name).write_text("{}")
    checkpoints.check_run(config(tmp_path), LABELS)
    checkpoints.make_run(config(tmp_path), LABELS)
    assert {child.name for child in tmp_path.iterdir()} == {"labels.json", "config.flags", "config.json"}
    assert checkpoints.read_labels(str(tmp_path)) == LABELS


def test_metrics_are_read_up_to_a_torn_line(tmp_path):
    assert checkpoints.read_metrics(str(tmp_path)) == []
    checkpoints.write_metrics(str(tmp_path), [{"epoch": 1}, {"epoch": 2}])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train')
    assert checkpoints.read_metrics(str(tmp_path)) == [{"epoch": 1}, {"epoch": 2}]
