"""The commands as a shell sees them: --help, exit statuses, one-line errors, no TensorFlow before it is needed."""

import subprocess
import sys

import pytest

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
    assert list(tmp_path.iterdir()) == []
