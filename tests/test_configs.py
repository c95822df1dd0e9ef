"""Every recipe in configs/ is a valid command line and says what it is for."""

import dataclasses
import pathlib

import pytest

from kseg import knobs
from kseg.config import TrainConfig

RECIPES = sorted((pathlib.Path(__file__).parent.parent / "configs").glob("*.flags"))


def test_there_are_recipes():
    ours = {"camvid_fcn", "camvid_psp", "camvid_deeplab", "demo_fcn"}
    assert {path.stem for path in RECIPES} == ours | {"sagemaker_2020_11", "voc_deeplab_resnet101", "ade20k_psp"}


def test_the_heads_are_compared_with_one_budget():
    """As the README has it, fcn with the two flags that it names."""
    parsed = {}
    for name, more in (("fcn", ["--epochs=4", "--aux_loss_weight=0.4"]), ("psp", []), ("deeplab", [])):
        path = next(path for path in RECIPES if path.stem == f"camvid_{name}")
        arguments = ["kseg-train", f"--flagfile={path}", "--data=d", "--output_dir=o", *more]
        parsed[name] = dataclasses.asdict(knobs.parse(TrainConfig, arguments))
        assert parsed[name].pop("algorithm") == name
    assert parsed["fcn"] == parsed["psp"] == parsed["deeplab"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_recipe_parses(path):
    arguments = ["kseg-train", f"--flagfile={path}", "--data=d", "--output_dir=o"]
    assert knobs.parse(TrainConfig, arguments).data == "d"
    lines = path.read_text().splitlines()
    flags = [line.split("=")[0] for line in lines if line.startswith("--")]
    assert len(flags) == len(set(flags))
    header = [line for line in lines if line.startswith("# ")]
    assert any("kseg-train" in line or "make demo" in line for line in header)
    unrun = [line for line in header if "not yet run by us" in line]
    assert len(unrun) in (0, 3)  # hardware, time and score
    for told in ("# hardware: ", "# time: ", "# score: mIOU "):
        assert any(line.startswith(told) for line in header), told
