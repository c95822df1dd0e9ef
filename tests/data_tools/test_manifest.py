import json

import pytest
from trees import lines, make_tree

from data_tools.pairs import Pair, Place
from data_tools.sources.manifest import find_manifest, fits
from kseg.errors import RunError

METADATA = {"internal-color-map": {"0": {"class-name": "ground"}}, "type": "groundtruth/semantic-segmentation"}


@pytest.fixture
def write(tmp_path):
    """Writes lines (objects or text) and gives the manifest's path."""
    make_tree(tmp_path, "a.jpg", "b.jpg", "a.png", "b.png")

    def manifest(*entries):
        path = tmp_path / "train.manifest"
        path.write_text("".join((e if isinstance(e, str) else json.dumps(e)) + "\n" for e in entries), encoding="utf-8")
        return str(path)

    return manifest


def found(path):
    return find_manifest(Place(path)).splits[""]


def test_any_other_ref_key_is_the_mask(write, tmp_path):
    path = write(
        {"source-ref": "b.jpg", "annotation-ref": "b.png", "annotation-ref-metadata": METADATA, "weight": 3},
        {"city-streets-ref": f"file://{tmp_path}/a.png", "city-streets-ref-metadata": METADATA, "source-ref": "a.jpg"},
        {"source-ref": "s3://bucket/c.jpg", "mask-ref": "s3://bucket/c.png"},
    )
    assert found(path).problems == ()
    assert found(path).pairs == (
        Pair("a", "a.jpg", f"{tmp_path}/a.jpg", f"{tmp_path}/a.png"),
        Pair("b", "b.jpg", f"{tmp_path}/b.jpg", f"{tmp_path}/b.png"),
        Pair("bucket/c", "bucket/c.jpg", "s3://bucket/c.jpg", "s3://bucket/c.png"),
    )
    assert list(find_manifest(Place(path, split="validation")).splits) == ["validation"]


def test_a_line_ends_at_a_line_feed_only(write):
    path = write('\ufeff{"source-ref": "a.jpg", "note": "one\u2028line", "m-ref": "a.png"}\r')
    assert [pair.stem for pair in found(path).pairs] == ["a"]


def test_bad_lines_are_named(write):
    good = {"source-ref": "a.jpg", "m-ref": "a.png"}
    path = write(
        *(good, "", '{"source-ref": "b.jpg", ', "17", "[" * 100_000, {"m-ref": "b.png"}, {"source-ref": "b.jpg"}),
        *({**good, "n-ref": "b.png"}, {"source-ref": 3, "m-ref": "b.png"}, {"source-ref": "b.jpg", "m-ref": ""}, good),
    )
    assert [pair.stem for pair in found(path).pairs] == []
    problems = lines(found(path).problems)
    assert [problem.removeprefix(f"{path}:").split(":")[0] for problem in problems] == [
        str(number) for number in range(2, 12)
    ]
    what = [problem.removeprefix(f"{path}:").partition(": ")[2] for problem in problems]
    assert what[0] == "an empty line; remove it"
    assert what[1].startswith("not JSON (Expecting property name")
    assert what[2] == "17 is no JSON object; expected an object a line"
    assert what[3].startswith("not JSON (")
    assert what[4] == 'no key "source-ref"; expected it with the image'
    mend = "expected one, with the mask; rename or remove the others"
    assert what[5] == f'0 keys that end in "-ref" besides "source-ref"; {mend}'
    assert what[6] == f'2 keys that end in "-ref" besides "source-ref" (m-ref, n-ref); {mend}'
    assert what[7] == 'the value of "source-ref" is 3; expected a path'
    assert what[8] == 'the value of "m-ref" is ""; expected a path'
    assert what[9] == "a.jpg has the stem of a.jpg in line 1; expected one line a stem"


def test_refuses_an_array(write):
    with pytest.raises(RunError, match="a JSON array; expected JSON Lines"):
        found(write('[{"source-ref": "a.jpg", "m-ref": "a.png"}]'))


def test_fits(tmp_path):
    assert all(fits(f"x{extension}") for extension in (".manifest", ".jsonl", ".json", ".JSONL"))
    assert not fits("x.csv")
    assert not fits(make_tree(tmp_path / "folder.json"))
