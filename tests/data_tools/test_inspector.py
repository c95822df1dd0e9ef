import shutil

import pytest
from drawn import png, write_pairs

from data_tools.inspection import inspector
from data_tools.inspection.command import InspectConfig
from kseg.errors import RunError, UsageError


def test_records(tiny_data):
    inspection = inspector.inspect(InspectConfig(input=tiny_data))
    assert list(inspection.splits) == ["train", "validation"]
    assert inspection.splits["train"].pictures == 6
    assert len(inspection.samples["train"]) == 6
    assert inspection.suggestions.keys() == {"train.flags", "summary.json"}
    assert inspection.labels.names == ("dark", "bright")
    only = inspector.inspect(InspectConfig(input=tiny_data, split="validation"))
    assert list(only.splits) == ["validation"]


def test_records_with_a_shard_missing(tiny_data, tmp_path):
    shutil.copytree(tiny_data, tmp_path / "data")
    (tmp_path / "data" / "train-00001-of-00002.tfrecord").unlink()
    findings = inspector.inspect(InspectConfig(input=str(tmp_path / "data"))).findings
    assert (findings[0].level, findings[0].kind) == ("error", "missing_shard")


def test_flags_that_records_answer_themselves(tiny_data):
    with pytest.raises(UsageError, match=r"--num_classes=2: .* is converted already"):
        inspector.inspect(InspectConfig(input=tiny_data, num_classes=2))


def test_two_folders_without_a_split(tmp_path):
    write_pairs(tmp_path, [f"p{number}" for number in range(4)])
    inspection = inspector.inspect(
        InspectConfig(images=str(tmp_path / "images"), masks=str(tmp_path / "masks"), split_ratio="0.5,0.5")
    )
    assert sum(split.pictures for split in inspection.splits.values()) == 4
    assert inspection.labels.num_classes == 3
    one = inspector.inspect(InspectConfig(images=str(tmp_path / "images"), masks=str(tmp_path / "masks")))
    assert list(one.splits) == ["train"]
    assert f"--images={tmp_path}/images" in one.suggestions["convert.flags"]
    assert "--split=train" in one.suggestions["convert.flags"]


def test_a_mask_of_unclear_values_is_a_finding_and_counts_nowhere(tmp_path):
    write_pairs(tmp_path, [f"p{number}" for number in range(3)], height=4, width=4)
    two_bits = png(4, 4, 2, 0, (b"\0" + bytes([0b00011011])) * 4)  # 2-bit grey, 0 to 3
    (tmp_path / "masks" / "p1.png").write_bytes(two_bits)
    folders = {"images": str(tmp_path / "images"), "masks": str(tmp_path / "masks")}
    inspection = inspector.inspect(InspectConfig(**folders, num_classes=4))
    (finding,) = [finding for finding in inspection.findings if finding.kind == "unusable_mask"]
    assert [file[-6:] for file in finding.files] == ["p1.png"]
    figures = inspection.splits["train"]
    assert sum(figures.pixels_per_class) + figures.ignored_pixels == 2 * 4 * 4
    assert [sample.name for sample in inspection.samples["train"]] == ["p0", "p2"]


def test_nothing_to_inspect(tmp_path):
    with pytest.raises(RunError):
        inspector.inspect(InspectConfig(images=str(tmp_path), masks=str(tmp_path / "masks")))
