import json
import subprocess
import sys

import pytest

from data_tools import demo
from data_tools.inspection import command
from data_tools.inspection.command import InspectConfig


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("inspected") / "scenes"
    demo.write_demo(str(root), train_images=10, validation_images=6, size=96)
    return root


def status_of(argv, capsys) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        command.main(["inspect-dataset", *map(str, argv)])
    return end.value.code, *capsys.readouterr()


def test_a_sound_data_set_in_two_processes(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    status, out, _ = status_of([data, f"--classes={data}/classes.txt", "--workers=2", "--html=page.html"], capsys)
    assert status == 0, out
    assert "nothing wrong found" in out
    assert "star" in out
    written = {path.name for path in (tmp_path / "scenes-inspection").iterdir()}
    charts = {"class_shares.png", "sizes.png", "contact_sheet_train.png", "contact_sheet_validation.png"}
    assert written == charts | {"convert.flags", "train.flags", "summary.json"}
    assert "<html" in (tmp_path / "page.html").read_text()
    summary = json.loads((tmp_path / "scenes-inspection" / "summary.json").read_text())
    assert (summary["findings"], summary["splits"]["train"]["pictures"]) == ([], 10)


def test_warnings_do_not_make_it_fail_and_errors_do(data, tmp_path, capsys):
    demo.write_demo(str(tmp_path / "copy"), train_images=10, validation_images=6, size=96)
    first, second = sorted((tmp_path / "copy" / "train").iterdir())[:2]
    second.write_bytes(first.read_bytes())
    masks = [tmp_path / "copy" / "train_annotation" / f"{path.stem}.png" for path in (first, second)]
    masks[1].write_bytes(masks[0].read_bytes())
    argv = [tmp_path / "copy", "--num_classes=4", f"--output={tmp_path}/out"]
    status, out, _ = status_of(argv, capsys)
    assert (status, "1 warning" in out) == (0, True)
    masks[1].write_bytes(b"")
    status, out, _ = status_of(argv, capsys)
    assert (status, "an empty file" in out) == (1, True)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--input is required"),
        (["here", "there"], "'there' is not a flag"),
        (["here", "--num_classes=3", "--classes=c.txt"], "both given"),
        (["here", "--workers=0"], "--workers=0: allowed"),
        (["here", "--split=a/b"], "--split=a/b: allowed"),
    ],
)
def test_wrong_flags(argv, message, capsys):
    status, _, error = status_of(argv, capsys)
    assert status == 2
    assert message in error


def test_places_are_looked_at_before_anything_is_read(tmp_path, capsys):
    """There is nothing to inspect, and that would be said if it came first."""
    (tmp_path / "file").write_text("")
    status, out, error = status_of([tmp_path / "none", f"--output={tmp_path}/file"], capsys)
    assert (status, out, "file: is a file; expected a folder" in error) == (1, "", True)
    status, out, error = status_of([tmp_path / "none", f"--output={tmp_path}/o", f"--html={tmp_path}"], capsys)
    assert (status, out, f"{tmp_path}: is a folder" in error) == (1, "", True)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_where_things_are_written():
    assert InspectConfig(input="/data/camvid/").folder == "camvid-inspection"
    assert InspectConfig(input="s3://bucket/camvid/").folder == "camvid-inspection"
    assert InspectConfig(images="a/images", masks="a/masks").folder == "images-inspection"
    assert InspectConfig(input="camvid", output="there").folder == "there"


def test_the_flags_that_convert_dataset_shall_get_too():
    config = InspectConfig(input="a", num_classes=3, palette="index", ignore_values="4", html="x", workers=2)
    assert config.given == {"input": "a", "num_classes": "3", "ignore_values": "4"}


def test_help_loads_no_tensorflow():
    code = (
        "import sys\n"
        "from data_tools.inspection.command import main\n"
        "try: main(['inspect-dataset', '--help'])\n"
        "except SystemExit as end: sys.exit(end.code or 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "inspect-dataset INPUT" in done.stdout
    for name in ("output", "html", "label_map", "colors", "mask_suffix"):
        assert f"--{name} " in done.stdout
