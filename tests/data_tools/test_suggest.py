import json

import pytest

from data_tools.colors import ColorTable, read_colors
from data_tools.encoding import make_encoding, read_label_map
from data_tools.inspection import suggest
from data_tools.inspection.facts import Finding, SplitFacts
from data_tools.inspection.meaning import OFF_BY_ONE, SCALED, VOID, Meaning
from kseg.errors import UsageError
from kseg.labels import LabelMap
from kseg.losses.build import balanced_weights

FIGURES = {"train": SplitFacts(4, ((20, 30),) * 4, (300, 0, 100), (4, 0, 2), 7)}
INFERRED = Meaning(LabelMap.numbered(3), False)


def test_class_weights_are_those_of_the_training():
    assert suggest.class_weights(FIGURES) == balanced_weights((300, 0, 100))
    assert suggest.class_weights({"validation": FIGURES["train"]}) == balanced_weights((300, 0, 100))
    nothing = SplitFacts(1, (), (0, 0, 0), (0, 0, 0), 9)
    assert suggest.class_weights({"train": nothing}) == ()
    with pytest.raises(UsageError):
        balanced_weights((0, 0, 0))


def test_flags_for_training():
    files = suggest.suggest("there", INFERRED, FIGURES, None)
    assert files == {
        "train.flags": "# kseg-train --flagfile=THIS\n--num_classes=3\n--class_weights=0.666667,0,2\n",
    }


def test_classes_without_names_get_a_list_of_them():
    files = suggest.suggest("there", INFERRED, FIGURES, {"input": "data"})
    assert files["classes.txt"] == "class_0\nclass_1\nclass_2\n"
    assert files["convert.flags"].splitlines()[1:] == ["--input=data", "--classes=there/classes.txt"]


def test_what_the_user_said_is_kept():
    given = {"input": "data", "num_classes": "3", "ignore_values": "7"}
    files = suggest.suggest("there", Meaning(LabelMap.numbered(3), True), FIGURES, given)
    assert files.keys() == {"train.flags", "convert.flags"}
    assert files["convert.flags"].splitlines()[1:] == ["--input=data", "--num_classes=3", "--ignore_values=7"]


def test_label_maps_are_what_convert_dataset_reads(tmp_path):
    meaning = Meaning(LabelMap.numbered(3), False, {"train": {0: 0, 128: 1, 255: 2, 129: 1}}, {"train": SCALED})
    files = suggest.suggest("there", meaning, FIGURES | {"validation": FIGURES["train"]}, {})
    assert "--label_map=there" in files["convert.flags"]
    read = {}
    for split in ("train", "validation"):
        path = tmp_path / f"{split}_label_map.json"
        path.write_text(files[path.name])
        read[split] = make_encoding(3, label_map=read_label_map(str(path))).mapping
    assert read == {
        "train": ((0, (0,)), (1, (128, 129)), (2, (255,))),
        "validation": ((0, (0,)), (1, (1,)), (2, (2,))),
    }


def test_colors_are_what_convert_dataset_reads(tmp_path):
    table = ColorTable(("class_0", "class_1"), ((1, 2, 3), (200, 0, 9)), ((9, 9, 9),))
    meaning = Meaning(LabelMap.numbered(7), True, colors=table, left_out=5)
    files = suggest.suggest("there", meaning, FIGURES, {"num_classes": "7"})
    (tmp_path / "colors.txt").write_text(files["colors.txt"])
    assert read_colors(str(tmp_path / "colors.txt")) == table
    assert "5 colours of less than 0.1%" in files["colors.txt"]
    # 7 classes contradict a table of 2, which names its own
    assert files["convert.flags"].splitlines()[1:] == ["--colors=there/colors.txt"]


def test_summary_holds_figures_and_findings():
    finding = Finding("error", "size_mismatch", "1 mask …", ("a.png",))
    value = json.loads(suggest.summary("data", INFERRED, FIGURES, [finding]))
    assert value["splits"]["train"]["pixels_per_class"] == [300, 0, 100]
    assert value["splits"]["train"]["height_range"] == [20, 20]
    assert value["findings"] == [{"level": "error", "kind": "size_mismatch", "message": "1 mask …", "files": ["a.png"]}]
    assert [entry["name"] for entry in value["classes"]] == ["class_0", "class_1", "class_2"]


def lines_of(meaning, given=None, findings=()) -> list[str]:
    figures = FIGURES | {"validation": FIGURES["train"]}
    return suggest.suggest("there", meaning, figures, given or {}, findings)["convert.flags"].splitlines()[1:]


def test_names_of_classes_never_join_a_table_in_the_order_of_pixels():
    table = ColorTable(("class_0", "class_1", "class_2"), ((1, 2, 3), (200, 0, 9), (7, 7, 7)))
    meaning = Meaning(LabelMap.from_names(["sky", "road", "car"]), True, colors=table)
    assert lines_of(meaning, {"classes": "c.txt"}) == ["--colors=there/colors.txt"]
    voc = read_colors("voc")
    known = Meaning(LabelMap.from_names(voc.names), True, colors=voc, built_in="voc")
    assert lines_of(known, {"classes": "c.txt"}) == ["--classes=c.txt", "--colors=voc"]


def test_another_ignored_value_joins_those_given():
    row = {0: 0, 1: 1, 2: 2, 254: 255}
    meaning = Meaning(
        LabelMap.numbered(3), True, dict.fromkeys(["train", "validation"], row), {"train": VOID}, ignored=(254,)
    )
    assert lines_of(meaning, {"num_classes": "3"}) == ["--num_classes=3", "--ignore_values=254"]
    assert lines_of(meaning, {"ignore_values": "7"}) == ["--ignore_values=7,254"]


def test_classes_counted_from_one_in_all_splits_or_in_one():
    row = {0: 255, 1: 0, 2: 1, 3: 2}
    both = dict.fromkeys(["train", "validation"])
    meaning = Meaning(LabelMap.numbered(3), True, dict.fromkeys(both, row), dict.fromkeys(both, OFF_BY_ONE))
    assert lines_of(meaning) == ["--reduce_zero_label=True"]
    assert lines_of(Meaning(LabelMap.numbered(3), True, {"train": row}, {"train": OFF_BY_ONE})) == ["--label_map=there"]


def test_a_numbering_in_doubt_leaves_the_choice():
    one = Meaning(LabelMap.numbered(3), True, doubts={"validation": 3})
    lines = lines_of(one)
    assert {"#--label_map=there", "#--ignore_values=3"} < set(lines)
    assert all(line.startswith("#") for line in lines)
    files = suggest.suggest("there", one, FIGURES | {"validation": FIGURES["train"]}, {})
    assert json.loads(files["validation_label_map.json"]) == {"map": {"0": 1, "1": 2, "2": 3, "255": 0}}
    assert json.loads(files["train_label_map.json"]) == {"map": {"0": 0, "1": 1, "2": 2}}
    every = Meaning(LabelMap.numbered(3), True, doubts={"train": 3, "validation": 3})
    assert {"#--reduce_zero_label", "#--ignore_values=3"} < set(lines_of(every))


@pytest.mark.parametrize(("level", "kind"), [("error", "unknown_values"), ("warning", "unknown_values"),
                                             ("error", "size_mismatch")])  # fmt: skip
def test_no_weights_from_masks_that_were_misread(level, kind):
    findings = [Finding(level, kind, "")]
    misread = (level, kind) == ("error", "unknown_values")
    flags = suggest.suggest("there", INFERRED, FIGURES, None, findings)["train.flags"]
    assert ("--class_weights" in flags) is not misread
    summary = json.loads(suggest.summary("data", INFERRED, FIGURES, findings))
    assert bool(summary["class_weights"]) is not misread
