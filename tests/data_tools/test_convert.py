import subprocess
import sys

import numpy as np
import pytest
from drawn import class_mask, encoded, flags, photo, png, rows, write_pairs

from data_tools import convert
from kseg import records


def status_of(argv, capfd) -> tuple[int, str, str]:
    """Exit status, standard output and the command's own lines on standard error (the progress bar left out)."""
    with pytest.raises(SystemExit) as end:
        convert.main([str(word) for word in argv])
    out, err = capfd.readouterr()
    start = err.find("convert-dataset: ")
    return end.value.code, out, err[start:] if start >= 0 else ""


@pytest.fixture
def root(tmp_path):
    write_pairs(tmp_path, ["a", "b", "c"])
    return tmp_path


def refused(root, capfd, **more) -> str:
    """The message of a run that must end with status 1 and leave nothing."""
    status, _, message = status_of(flags(root, root / "out", **more), capfd)
    assert status == 1
    assert not (root / "out").exists()
    return message


def test_no_mask_for_an_image(root, capfd):
    (root / "masks" / "b.png").unlink()
    assert f"{root}/images/b.jpg: no mask of that name" in refused(root, capfd)


def test_no_image_for_a_mask(root, capfd):
    (root / "images" / "b.jpg").unlink()
    assert f"{root}/masks/b.png: no image of that name" in refused(root, capfd)


def test_two_files_with_one_stem(root, capfd):
    (root / "images" / "b.png").write_bytes(encoded(photo(24, 32)))
    assert f"{root}/images/b.png: has the stem of b.jpg" in refused(root, capfd)


def test_sizes_that_differ(root, capfd):
    (root / "masks" / "b.png").write_bytes(encoded(class_mask(24, 31)))
    assert f"{root}/masks/b.png: 31 x 24 pixels, but its image {root}/images/b.jpg has 32 x 24" in refused(root, capfd)


@pytest.mark.parametrize("part", ["images/b.jpg", "masks/b.png"])
def test_truncated_and_unreadable_pictures(root, capfd, part):
    whole = (root / part).read_bytes()
    (root / part).write_bytes(whole[:-9])
    assert f"{root}/{part}: truncated or damaged" in refused(root, capfd)
    (root / part).write_bytes(b"a text, not a picture")
    assert f"{root}/{part}: not a readable picture" in refused(root, capfd)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(photo(24, 32)), "an 8-bit RGB PNG"),
        (encoded(photo(24, 32), mode="RGBA"), "an 8-bit RGBA PNG"),
        (png(32, 24, 16, 2, rows(photo(24, 32).astype(np.uint16))), "a 16-bit RGB PNG"),
    ],
)
def test_masks_in_colours(root, capfd, data, kind):
    (root / "masks" / "b.png").write_bytes(data)
    message = refused(root, capfd)
    assert f"{root}/masks/b.png: {kind}; expected an 8-bit single-channel PNG (palette or grey)" in message


def test_mask_values_that_are_no_class(root, capfd):
    mask = class_mask(24, 32)
    mask[0, :5] = 3
    (root / "masks" / "b.png").write_bytes(encoded(mask))
    expected = f"{root}/masks/b.png: values that are no class: 3 (5 pixels); allowed: 0 to 2, 255 = ignore"
    assert expected in refused(root, capfd)


def test_missing_and_empty_folders(root, capfd):
    message = refused(root, capfd, images=root / "nowhere")
    assert message == f"convert-dataset: {root}/nowhere: no such folder; expected one of pictures\n"
    (root / "empty").mkdir()
    (root / "void").mkdir()
    assert f"{root}/empty: no image there" in refused(root, capfd, images=root / "empty", masks=root / "void")


def test_the_first_20_problems_and_the_count(root, capfd):
    write_pairs(root, [f"p{index:02d}" for index in range(30)])
    for index in range(25):
        (root / "images" / f"p{index:02d}.jpg").write_bytes(b"broken")
    message = refused(root, capfd).splitlines()
    assert message[0] == "convert-dataset: 25 problems, 33 pairs checked, nothing written; the first 20:"
    assert [line.split(":")[0].strip() for line in message[1:-1]] == [
        f"{root}/images/p{index:02d}.jpg" for index in range(20)
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_classes": 255}, "--num_classes=255: allowed: integer, 2 <= x <= 254"),
        ({"num_classes": 1}, "--num_classes=1: allowed: integer, 2 <= x <= 254"),
        ({"num_classes": 3, "classes": "x.txt"}, "--classes, --num_classes: both given; allowed: one of them"),
        ({"classes": "/nowhere/names.txt"}, "--classes=/nowhere/names.txt: cannot be read"),
        ({"split": "a/b"}, "--split=a/b: allowed: letters, digits, _ and -"),
        ({"split": ""}, "--split=: allowed: letters, digits, _ and -"),
        ({"num_shards": 0}, "--num_shards=0: allowed: integer, 1 <= x <= 2^31 - 1 (files)"),
        ({"num_shards": 4}, "--num_shards=4: allowed: 1 to 3, the number of pictures in train"),
        ({"workers": 0}, "--workers=0: allowed: integer, 1 <= x <= 2^31 - 1 (processes)"),
        ({"colour": 1}, "Unknown command line flag 'colour'"),
    ],
)
def test_wrong_flags_are_one_line_and_status_2(root, capfd, more, message):
    status, _, error = status_of(flags(root, root / "out", **more), capfd)
    assert status == 2
    assert len(error.splitlines()) == 1
    assert message in error
    assert not (root / "out").exists()


def test_missing_flags_are_named(root, capfd):
    argv = flags(root, root / "out")
    for name, asked in (("images", "input"), ("masks", "input"), ("split", "split"), ("output", "output")):
        status, _, error = status_of([word for word in argv if not word.startswith(f"--{name}=")], capfd)
        assert (status, error.split(":")[1][: 14 + len(asked)]) == (2, f" --{asked} is required"[: 14 + len(asked)])
    status, _, error = status_of([word for word in argv if not word.startswith("--classes=")], capfd)
    assert (status, error) == (
        2,
        "convert-dataset: --classes, --num_classes: neither given; allowed: one of them\n",
    )


def test_summary(root, capfd):
    mask = np.zeros((24, 32), np.uint8)
    mask[:6] = 2
    mask[23] = 255
    for stem in "abc":
        (root / "masks" / f"{stem}.png").write_bytes(encoded(mask))
    status, out, error = status_of(flags(root, root / "out", num_shards=2), capfd)
    assert status == 0
    size = sum(path.stat().st_size for path in (root / "out").glob("*.tfrecord"))
    assert out.splitlines() == [
        f"train: 3 images of 32 x 24 pixels in 2 shards, {size / 1e6:.1f} MB",
        "  share of the pixels    train",
        "  ground                70.83%",  # 17 of 24 rows
        "  thing                  0.00%",
        "  other                 25.00%",
        "  (ignored, 255)         4.17%",
        f"written to {root}/out",
    ]
    assert error == (
        "convert-dataset: no pixel in train is of class thing; 255 always means ignore: is it meant as a class?\n"
    )


def test_numbered_classes(root, capfd):
    status, _, _ = status_of(flags(root, root / "out", num_classes=3), capfd)
    assert status == 0
    assert records.read_dataset(str(root / "out")).labels.names == ("class_0", "class_1", "class_2")


def test_the_command_as_installed(root):
    """From a shell, in two worker processes."""
    program = [sys.executable, "-c", "from data_tools.convert import main; main()"]
    arguments = flags(root, root / "out", workers=2)[1:]
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("train: 3 images of 32 x 24 pixels in 1 shard,")
    assert "Traceback" not in done.stderr
    assert records.read_dataset(str(root / "out")).split("train").examples == 3


def test_help_loads_no_tensorflow():
    code = (
        "import sys\n"
        "from data_tools.convert import main\n"
        "try: main(['convert-dataset', '--help'])\n"
        "except SystemExit as end: sys.exit(end.code or 'tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for name in ("images", "masks", "split", "output", "classes", "num_classes", "num_shards", "workers"):
        assert f"--{name} " in done.stdout
