import pytest
from trees import make_tree

from data_tools.pairs import Place
from data_tools.sources.places import input_folder, input_of, split_folders, suffix_of
from kseg.errors import RunError, UsageError

KNOWN, ON_DEMAND = {"train": "training", "validation": "val"}, {"test": "test"}


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Place(), "--input is required with --source=voc"),
        (Place("x", images="y"), "--images=y: --source=voc does not use it; allowed: with --source=folders"),
        (Place("x", masks="y"), "--masks=y: --source=voc does not use it"),
        (Place("x", mask_suffix="_L"), "--mask_suffix=_L: --source=voc does not use it"),
    ],
)
def test_flags_that_a_source_lacks_or_does_not_use(place, message):
    with pytest.raises(UsageError, match=message):
        input_of(place, "voc")


def test_input(tmp_path):
    assert input_of(Place("x", mask_suffix="_L"), "sagemaker", suffix_used=True) == "x"
    assert input_folder(Place(str(tmp_path)), "voc") == str(tmp_path)
    with pytest.raises(RunError, match="nowhere: no such folder; expected the root of the layout --source=voc"):
        input_folder(Place(str(tmp_path / "nowhere")), "voc")


def test_suffix():
    assert suffix_of(Place(mask_suffix="_gt.v2")) == "_gt.v2"
    for bad in ("_L.png", "_L.PNG", ".png", "x/y"):
        with pytest.raises(UsageError, match=f"--mask_suffix={bad}: allowed"):
            suffix_of(Place(mask_suffix=bad))


def test_folders_of_the_splits(tmp_path):
    root = make_tree(tmp_path, "i/training/a", "m/training/a", "m/val/a", "i/test/a")
    train, validation, test = ((f"{root}/i/{name}", f"{root}/m/{name}") for name in ("training", "val", "test"))

    def found(split=None):
        return split_folders(Place(split=split), f"{root}/i", f"{root}/m", KNOWN, ON_DEMAND)

    assert found() == {"train": train, "validation": validation}  # one of two is enough: the other is then missed
    assert found("validation") == {"validation": validation}
    assert found("val") == {"validation": validation}
    assert found("test") == {"test": test}
    with pytest.raises(UsageError, match="--split=dev: allowed: train, validation, test"):
        found("dev")
    with pytest.raises(RunError, match="no folder training or val there"):
        split_folders(Place(), f"{root}/x", f"{root}/y", KNOWN, ON_DEMAND)
