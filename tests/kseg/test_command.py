"""The commands as a shell sees them: --help, exit statuses, one-line errors, no TensorFlow before it is needed."""

import dataclasses
import gc
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

import pytest

from kseg import command

COMMANDS = {
    "convert-dataset": "data_tools.convert",
    "inspect-dataset": "data_tools.inspection.command",
    "make-demo-dataset": "data_tools.demo",
    "kseg-train": "kseg.cli.train",
    "kseg-eval": "kseg.cli.evaluate",
    "kseg-predict": "kseg.cli.predict",
    "kseg-export": "kseg.cli.export",
}


def shell(module: str, *arguments: str) -> subprocess.CompletedProcess:
    """Runs a command's main and reports on the last line whether TensorFlow was imported."""
    code = (
        f"import sys, atexit; sys.argv = ['{module}', *sys.argv[1:]]\n"
        "atexit.register(lambda: print('heavy:', sorted({'tensorflow', 'keras', 'matplotlib'} & set(sys.modules))))\n"
        f"from {module} import main; main()"
    )
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_complete_and_light(command):
    done = shell(COMMANDS[command], "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"{command}: ")
    assert "--flagfile" in done.stdout
    assert done.stdout.rstrip().endswith("heavy: []")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--crop_size=12"], "kseg-train: --crop_size=12: allowed: integer, 16 < x <= 2^31 - 1 (pixels)\n"),
        (["--num_classes=255"], "kseg-train: --num_classes=255: allowed: integer, 2 <= x <= 254\n"),
        (
            ["--crop_sise=240"],
            "kseg-train: Unknown command line flag 'crop_sise'. Did you mean: crop_size ? (--help lists the flags)\n",
        ),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, message):
    done = shell("kseg.cli.train", *arguments)
    assert (done.returncode, done.stderr) == (2, message)
    assert done.stdout == "heavy: []\n"


def test_a_run_that_cannot_be_done_is_one_line_and_status_1(tmp_path):
    done = shell("kseg.cli.train", f"--data={tmp_path}", f"--output_dir={tmp_path}/run")
    expected = f"kseg-train: {tmp_path}/dataset.json: not there; expected a folder that convert-dataset wrote\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert done.stdout == "heavy: ['keras', 'tensorflow']\n"  # Keras would import matplotlib, in 0.8 s
    assert list(tmp_path.iterdir()) == []


def test_help_ends_quietly_when_its_reader_does():
    """`| head`: the pipe is closed before anything is written to it."""
    read, write = os.pipe()
    os.close(read)
    code = "import sys; sys.argv = ['x', '--helpfull']\nfrom data_tools.demo import main; main()"
    done = subprocess.run([sys.executable, "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@dataclasses.dataclass(frozen=True)
class NoFlags:
    """Of a command that has none."""


def test_sigterm_clears_what_is_temporary_and_ends_with_143(tmp_path, capsys):
    """As clusters end a job; by default Python would leave the folder."""
    there = []

    def run(config):
        with tempfile.TemporaryDirectory(dir=tmp_path) as folder:
            pathlib.Path(folder, "copy").write_bytes(b"1")
            there.extend(tmp_path.iterdir())
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("went on after SIGTERM")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as end:
        command.launch("some", "does nothing", NoFlags, run, ["some"])
    assert (end.value.code, capsys.readouterr().err) == (143, "some: terminated\n")
    assert there and list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("failure", [None, ImportError("no TensorFlow")])
@pytest.mark.parametrize("collecting", [True, False])
def test_the_garbage_collector_leaves_the_import_alone(monkeypatch, failure, collecting):
    made, states, frozen = [], [], gc.get_freeze_count()

    def load():
        states.append(gc.isenabled())
        made.extend([] for _ in range(1000))
        if failure is not None:
            raise failure

    def run(config):
        states.append(gc.isenabled())
        assert gc.get_freeze_count() > frozen + len(made)

    monkeypatch.setattr(command, "_import_tensorflow", load)
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(SystemExit if failure is None else ImportError):
            command.launch("some", "does nothing", NoFlags, run, ["some"])
        assert gc.isenabled() == collecting
    finally:
        gc.enable()
    assert states == ([False, collecting] if failure is None else [False])
