"""A run that starts from another: what comes along, what does not, what is refused."""

import dataclasses
import shutil

import numpy as np
import pytest

from kseg import checkpoints, incremental, storage
from kseg.config import TrainConfig
from kseg.errors import RunError, UsageError
from kseg.labels import LabelMap

pytestmark = pytest.mark.usefixtures("small_resnet")
TWO, THREE = LabelMap.from_names(["dark", "bright"]), LabelMap.from_names(["dark", "bright", "red"])
FLAGS = {"backbone": "resnet-18", "algorithm": "deeplab", "use_pretrained_model": False, "data": "d"}


def config(folder, **flags) -> TrainConfig:
    return TrainConfig(output_dir=str(folder), **FLAGS | {"output_stride": 32} | flags)


@pytest.fixture(scope="module")
def run(small_resnet, tmp_path_factory) -> str:
    """A run of two classes with random weights and, as training leaves them, statistics that are not 0 and 1."""
    folder = tmp_path_factory.mktemp("earlier") / "run"
    checkpoints.make_run(config(folder), TWO)
    network = checkpoints.build_network(config(folder), 2, "float32")
    random = np.random.default_rng(0)
    network.set_weights([random.normal(size=weight.shape).astype(np.float32) for weight in network.weights])
    checkpoints.save_model(network, str(folder), "best")
    return str(folder)


def started(run, labels, **flags):
    """A new network before and after --init_from, and the line for the log."""
    new = config("new", init_from=run, seed=5, **flags)
    incremental.check_run(new)
    network = checkpoints.build_network(new, labels.num_classes, "float32")
    before = {weight.path: np.array(weight) for weight in network.weights}
    line = incremental.load_run(network, labels, new)
    return before, {weight.path: np.array(weight) for weight in network.weights}, line


def kept_weights(run) -> dict:
    network = checkpoints.load_network(run, "best", checkpoints.read_config(run), 2, advice="")
    return {weight.path: np.array(weight) for weight in network.weights}


def test_the_whole_network_comes_along_whatever_its_stride(run):
    """Statistics and the auxiliary head included; another output stride changes no shape."""
    _, after, line = started(run, TWO, output_stride=16)
    kept = kept_weights(run)
    assert set(after) == set(kept)
    for path, value in kept.items():
        np.testing.assert_array_equal(after[path], value, err_msg=path)
    path = f"{run}/best/model.keras"
    assert line == f"weights of {path} (sha256 {storage.sha256(path)}, {len(kept)} arrays)"


def test_another_number_of_classes_starts_the_classifiers_anew(run):
    before, after, line = started(run, THREE)
    kept = kept_weights(run)
    anew = {path for path in after if path.split("/")[0] in ("head_logits", "aux_logits")}
    assert len(anew) == 4
    for path in after:
        np.testing.assert_array_equal(after[path], (before if path in anew else kept)[path], err_msg=path)
    assert line.endswith("; 2 classes there, 3 now: aux_logits, head_logits re-initialised")


def test_a_new_auxiliary_head_and_one_left_behind(run, tmp_path):
    _, after, line = started(run, TWO, aux_loss_weight=0.0)
    assert not [path for path in after if path.startswith("aux")]
    assert "auxiliary" not in line
    folder = tmp_path / "plain"
    checkpoints.make_run(config(folder, aux_loss_weight=0.0), TWO)
    plain = checkpoints.build_network(config(folder, aux_loss_weight=0.0), 2, "float32")
    checkpoints.save_model(plain, str(folder), "best")
    before, after, line = started(str(folder), TWO)
    np.testing.assert_array_equal(before["aux_conv/kernel"], after["aux_conv/kernel"])
    assert line.endswith("; it had no auxiliary head: that starts from random weights")


def test_other_names_for_the_classes_are_said(run):
    *_, line = started(run, LabelMap.from_names(["night", "day"]))
    assert "warning: its classes are called dark, bright; the classifier is kept all the same" in line


def test_another_algorithm_or_backbone_is_refused(run):
    for name, value in (("algorithm", "fcn"), ("backbone", "resnet-34")):
        new = dataclasses.replace(config("new", init_from=run), **{name: value})
        message = (
            f"--init_from={run}: a run of --{name}={FLAGS[name]}, this one has --{name}={value}; allowed: a run of"
        )
        with pytest.raises(UsageError, match=message):
            incremental.check_run(new)


def test_what_is_no_run_or_has_no_model_or_a_damaged_one_is_named(run, tmp_path):
    with pytest.raises(
        RunError, match=rf"--init_from={tmp_path}: {tmp_path}/config.json is not there; allowed: the --out"
    ):
        incremental.check_run(config("new", init_from=str(tmp_path)))
    copied = shutil.copytree(run, tmp_path / "run")
    new = config("new", init_from=str(copied))
    path = copied / "best" / "model.keras"
    path.write_bytes(path.read_bytes()[:5000])
    incremental.check_run(new)
    network = checkpoints.build_network(new, 2, "float32")
    with pytest.raises(RunError, match=rf"{path}: damaged or of another network: .*; give another --init_from$"):
        incremental.load_run(network, TWO, new)
    path.unlink()
    with pytest.raises(RunError, match=rf"{path} is not there; allowed: the --output_dir"):
        incremental.check_run(new)
