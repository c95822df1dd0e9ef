"""`make bench` from flags to exit status, with scripts of one line in the place of trainings."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import rows, run

SCRIPT = "import json; print(json.dumps({'images_per_second': 20, 'peak_rss_gb': 1}))"


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A project whose scripts print constants, peers, and flags that name them and a file for the results."""
    for folder in ("benchmarks", "peers", "camvid"):
        (tmp_path / folder).mkdir()
    (tmp_path / "benchmarks" / "input.py").write_text(SCRIPT)
    (tmp_path / "peers" / "torch_input.py").write_text(SCRIPT.replace("20", "10"))
    (tmp_path / "peers" / "gluoncv_input.py").write_text("raise SystemExit('MXNet is gone')")
    monkeypatch.setattr(rows, "ROOT", tmp_path)
    for variable, _ in run.PLACES.values():
        monkeypatch.delenv(variable, raising=False)
    flags = {"data": tmp_path / "camvid", "camvid": tmp_path / "camvid", "output": tmp_path / "results.json"}
    return tmp_path, [f"--{name}={value}" for name, value in flags.items()] + ["--rounds=2"]


def test_figures_are_printed_and_written_and_a_broken_peer_is_shown(fake, capsys):
    folder, flags = fake
    peers = [f"--peers={folder / 'peers'}", f"--torch_python={sys.executable}", f"--mxnet_python={sys.executable}"]
    assert run.main([*flags, *peers, "--rows=input 520 240"]) == 0
    out = capsys.readouterr().out
    assert "| input, base 520, crop 240 / torch | images/s | 20 | 10 | 2.00 (2.00 to 2.00) | >= 1.5 |" in out
    assert "| input, base 520, crop 240 / gluoncv | images/s | 20 |  |  | >= 5 |" in out
    assert "MXNet is gone" in out
    kept = json.loads((folder / "results.json").read_text())
    assert kept["hardware"]["cores"] >= 1
    assert kept["versions"]["kseg"]["python"] == kept["versions"]["torch"]["python"]
    assert "tensorflow" in kept["versions"]["kseg"]
    assert [line["images_per_second"] for line in kept["groups"]["input 520 240"]["raw"]["torch"]] == [10, 10]
    assert "MXNet is gone" in kept["groups"]["input 520 240"]["failures"]["gluoncv"]


def test_without_peers_their_columns_are_empty_and_other_rows_stay(fake, capsys):
    _, flags = fake
    assert run.main([*flags, "--rows=input 520 480"]) == 0
    assert "input 520 480: without torch, gluoncv: not named" in capsys.readouterr().out
    assert run.main([*flags, "--rows=input 520 240"]) == 0
    out = capsys.readouterr().out
    for crop in (480, 240):
        assert f"| input, base 520, crop {crop} / torch | images/s | 20 |  |  | >= 1.5 |" in out


def test_a_broken_program_of_ours_is_status_1(fake, capsys):
    folder, flags = fake
    (folder / "benchmarks" / "input.py").write_text("raise SystemExit('no shards')")
    assert run.main([*flags, "--rows=input"]) == 1
    assert "input 520 240: kseg failed" in capsys.readouterr().out
    assert run.main([*flags, "--table"]) == 0  # runs nothing


@pytest.mark.parametrize(("instructions", "row"), [([], "240 x 1"), (["amx_bf16"], "480 x 2")])
def test_the_table_has_the_rows_of_the_machine_that_measured(fake, instructions, row, capsys):
    folder, flags = fake
    (folder / "results.json").write_text(json.dumps({"hardware": {"instructions": instructions}}))
    assert run.main([*flags, "--table"]) == 0
    assert f"step, fcn, {row}, bfloat16" in capsys.readouterr().out


@pytest.mark.parametrize("flag", ["--rows=nothing", "--peers=/not/there", "--rounds=0"])
def test_wrong_flags_are_status_2(fake, flag, capsys):
    try:
        status = run.main([*fake[1], flag])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert flag in capsys.readouterr().err


def test_it_imports_nothing_heavy():
    """A child's peak memory begins with its parent's."""
    text = "import sys, benchmarks.run; print({'numpy', 'tensorflow', 'keras', 'absl'} & set(sys.modules))"
    root = os.path.dirname(os.path.dirname(run.__file__))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd=root)
    assert done.stdout.strip() == "set()"
