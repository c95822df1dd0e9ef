import os
import pathlib

from benchmarks import start

# A kseg-train of the same parts that takes no time: two steps, of which the watcher ends the second.
PROGRAM = {
    "kseg/__init__.py": "",
    "kseg/cli/__init__.py": "",
    "kseg/cli/train.py": "def main():\n    from kseg import trainer\n    trainer.train()",
    "kseg/trainer.py": "import keras, tensorflow\n"
    "def make_plan(): pass\n"
    "def assemble(): pass\n"
    "def train(): make_plan(), assemble(), keras.Model().fit(), print('too far')",
    "tensorflow.py": "",
    "keras/__init__.py": "from keras import callbacks\n"
    "class Model:\n"
    "    def fit(self):\n"
    "        for _ in range(3): callbacks.CallbackList().on_train_batch_end()",
    "keras/callbacks.py": "class CallbackList:\n    def on_train_batch_end(self): print('a step')",
}


def write_program(folder: pathlib.Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_parts_add_up_to_the_whole(monkeypatch):
    stamps = [["python", 10.5], ["tensorflow", 13.0], ["first step", 30.0]]
    report = {"stamps": stamps, "processor": 40.0, "peak_kb": 2**20}
    monkeypatch.setattr(start, "watched", lambda config: (10.0, report))
    line = start.measured(start.StartConfig(data="records"))
    assert line["parts"] == {"python": 0.5, "tensorflow": 2.5, "first step": 17.0}
    assert (line["seconds_to_first_step"], line["processor_seconds"], line["peak_rss_gb"]) == (20.0, 40.0, 1.0)


def test_the_watcher_notes_every_part_in_its_order(monkeypatch, tmp_path):
    write_program(tmp_path, PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began, report = start.watched(start.StartConfig(data="records", steps=2))
    names, moments = zip(*report["stamps"], strict=True)
    assert ", ".join(names) == (
        "python, command, tensorflow, imports, data set read, network built, fit begins, first step"
    )
    assert [began, *moments] == sorted([began, *moments])
    assert 0 < report["processor"] < 10
    assert 2**10 < report["peak_kb"] < 2**20


def test_the_process_finds_what_is_kept_for_it(monkeypatch, tmp_path):
    """It leaves behind which folder it was given."""
    monkeypatch.setenv("KSEG_CACHE", "everything")
    found, program = tmp_path / "found", tmp_path / "program"
    note = f"import os\nopen({str(found)!r}, 'w').write(os.environ['KSEG_CACHE'])\n"
    write_program(program, {**PROGRAM, "kseg/__init__.py": note})
    monkeypatch.setenv("PYTHONPATH", str(program))
    start.watched(start.StartConfig(data="records"))
    assert found.read_text() == "everything"
    start.watched(start.StartConfig(data="records", kept="nothing"))
    assert pathlib.Path(found.read_text()).name == "cache"
    assert not os.path.exists(found.read_text())
