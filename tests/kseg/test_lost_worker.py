"""Two workers train with adam until one is killed, start again together, and end as one device does."""

import processes
import pytest

from kseg import checkpoints, trainer
from kseg.config import TrainConfig

FLAGS = {
    **{"backbone": "resnet-18", "use_pretrained_model": False, "output_stride": 16, "base_size": 96, "crop_size": 64},
    **{"mini_batch_size": 2, "epochs": 2, "validation_mini_batch_size": 2, "mixed_precision": "float32"},
    **{"optimizer": "adam", "learning_rate": 0.0005, "class_weights": "balanced", "validation_pictures": 0},
    **{"syncbn": True, "checkpoint_every_steps": 1, "worker_timeout": 20.0},
}


@pytest.fixture(scope="module")
def trained(tiny_data, small_resnet, tmp_path_factory) -> dict:
    """The folders of one device's run and of two workers', how these ended when the second was killed, and after."""
    folder = tmp_path_factory.mktemp("lost")
    flags = [f"--data={tiny_data}", f"--output_dir={folder / 'workers'}"]
    flags += [f"--{name}={value}" for name, value in FLAGS.items()]
    there = processes.addresses(2)
    running = workers = processes.start_workers("worker_run.py", *flags, there=there)
    try:
        processes.await_line(workers[0], "epoch=1 ")
        workers[1].kill()
        trainer.train(TrainConfig(data=tiny_data, output_dir=str(folder / "one"), **FLAGS))
        first = processes.ended(workers)
        running = processes.start_workers("worker_run.py", *flags, there=there)
        second = processes.ended(running)
    finally:
        processes.stop(running)
    return {"one": folder / "one", "workers": folder / "workers", "first": first, "second": second}


def test_the_other_worker_names_the_lost_one_and_keeps_what_was_written(trained):
    status, _, errors = trained["first"][0]
    assert status == 1
    assert "Traceback" not in errors
    (line,) = [line for line in errors.splitlines() if line.startswith("kseg-train: ")]
    assert line.startswith("kseg-train: worker 1 (localhost:")
    assert "is lost: it ended, or has not answered in time (--worker_timeout=20)" in line
    assert line.endswith("start all workers again to resume from the last checkpoint")


def test_both_started_again_go_on_in_the_second_epoch(trained):
    assert [status for status, _, _ in trained["second"]] == [0, 0], trained["second"]
    said = trained["second"][0][1].splitlines()
    assert any("resuming" in line for line in said)
    assert [line.partition(" ")[0] for line in said if line.startswith("epoch=")] == ["epoch=2"]


def test_with_adam_the_losses_and_scores_are_those_of_one_device(trained):
    """Of both epochs; to 1e-3, as adam divides by gradients that for some weights are rounding alone."""
    several, one = (checkpoints.read_metrics(str(trained[name])) for name in ("workers", "one"))
    assert len(several) == len(one) == 2
    assert {f"{split}:{name}" for split in ("train", "validation") for name in ("loss", "mIOU")} <= set(one[0])
    for found, expected in zip(several, one, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
