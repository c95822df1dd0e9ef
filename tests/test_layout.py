"""Who may import whom (README, "Map"), and the sizes that keep files readable."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# A module imports only from rows above its own; modules of one package (kseg.data, kseg.models) may use each other.
ROWS = [
    ["kseg", "kseg.cache", "kseg.errors", "kseg.progress", "kseg.photos", "kseg.memory"],
    ["kseg.knobs", "kseg.registry", "kseg.cluster"],
    ["kseg.config"],
    ["kseg.labels", "kseg.retries"],
    ["kseg.s3"],
    ["kseg.faults"],
    ["kseg.storage"],
    ["kseg.pieces"],
    [
        *("kseg.records", "kseg.command", "kseg.frames", "kseg.kernels", "kseg.workers"),
        *("kseg.transfer", "kseg.stopping", "kseg.hold", "kseg.events"),
    ],
    ["kseg.pictures", "kseg.record_checks"],
    [
        *("kseg.data", "kseg.models", "kseg.losses", "kseg.metrics", "kseg.schedules", "kseg.optimizers"),
        *("kseg.averaging", "kseg.drawing", "kseg.devices", "kseg.input_wait"),
    ],
    ["kseg.checkpoints", "kseg.plan", "kseg.replicated", "kseg.resuming"],
    [
        "kseg.callbacks",
        "kseg.assembly",
        "kseg.incremental",
        "kseg.evaluator",
        "kseg.predictor",
        "kseg.export",
        "kseg.step_cache",
        "kseg.safekeeping",
    ],
    ["kseg.fitting"],
    ["kseg.trainer"],
    ["kseg.cli"],
]
ROW_OF = {name: index for index, row in enumerate(ROWS) for name in row}
DATA_TOOLS_SEES = {
    "kseg",
    *("kseg.errors", "kseg.progress", "kseg.photos", "kseg.registry", "kseg.knobs", "kseg.config", "kseg.labels"),
    *("kseg.faults", "kseg.storage", "kseg.transfer", "kseg.records", "kseg.record_checks", "kseg.command"),
}
SOURCES = sorted([*ROOT.glob("kseg/**/*.py"), *ROOT.glob("data_tools/**/*.py")])


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import hides from this test"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def unit(name: str) -> str | None:
    """The longest prefix of a dotted name that has a row: kseg.data.pipeline.train_dataset -> kseg.data."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in ROW_OF:
            return ".".join(parts[:length])
    return None


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_imports_go_downwards(path):
    own = module_name(path)
    names = imported(path)
    if own.startswith("data_tools"):
        seen = {unit(name) for name in names if name.startswith("kseg")}
        assert seen <= DATA_TOOLS_SEES
        return
    assert not [name for name in names if name.startswith("data_tools")]
    assert unit(own) is not None
    used = {unit(name) for name in names if name.split(".")[0] == "kseg"} - {unit(own)}
    assert [name for name in used if ROW_OF[name] >= ROW_OF[unit(own)]] == []


def test_every_module_has_a_row():
    assert {unit(module_name(path)) for path in ROOT.glob("kseg/**/*.py")} == set(ROW_OF)


@pytest.mark.parametrize("path", sorted(ROOT.glob("kseg/models/*.py")), ids=module_name)
def test_models_import_no_tensorflow(path):
    assert not [name for name in imported(path) if name.split(".")[0] == "tensorflow"]


def test_only_presets_knows_keras_cv():
    users = {module_name(path) for path in SOURCES if any("keras_cv" in name for name in imported(path))}
    assert users == {"kseg.models.presets"}


def test_flags_are_read_in_the_command_layer_only():
    readers = {module_name(path) for path in SOURCES if any(name.startswith("absl") for name in imported(path))}
    assert readers == {"kseg.knobs"}


# Modules whose tests stand under another name: commands are tested as processes, a few pieces with their only user.
TESTED_ELSEWHERE = {
    **dict.fromkeys(
        ("kseg.cli.evaluate", "kseg.cli.export", "kseg.cli.predict", "kseg.cli.train"), "tests/e2e/test_spine"
    ),
    **dict.fromkeys(("kseg.models.fcn", "kseg.models.psp", "kseg.models.deeplab"), "tests/kseg/models/test_heads"),
    **dict.fromkeys(
        (
            f"kseg.config.{name}"
            for name in ("commands", "data", "distribution", "network", "optimization", "safety", "train", "values")
        ),
        "tests/kseg/test_config",
    ),
    "kseg.errors": "tests/kseg/test_command",
    "kseg.replicated": "tests/kseg/test_replicas",
    "kseg.workers": "tests/kseg/test_together",  # data_tools has a test_workers
    "data_tools.pairs": "tests/data_tools/test_writer",
    "data_tools.preparation": "tests/data_tools/test_writer",
    "data_tools.outcome": "tests/data_tools/test_convert",
    "data_tools.flags": "tests/data_tools/test_jobs",
    "data_tools.inspection.command": "tests/data_tools/test_inspect_command",
}


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__init__.py"], ids=module_name)
def test_every_module_has_its_test(path):
    folder = path.relative_to(ROOT).parent
    folder = "data_tools" if folder.parts[0] == "data_tools" else folder
    mirrored = f"tests/{folder}/test_{path.stem}"
    assert (ROOT / f"{TESTED_ELSEWHERE.get(module_name(path), mirrored)}.py").exists()


@pytest.mark.parametrize("path", sorted(ROOT.glob("kseg/cli/*.py")), ids=module_name)
def test_commands_are_thin(path):
    assert len(path.read_text().splitlines()) <= 60


@pytest.mark.parametrize("path", sorted([*SOURCES, *ROOT.glob("tests/**/*.py")]), ids=lambda path: path.name)
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    longest = 100 if path.name == "trainer.py" else 40
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < longest, f"{node.name} has {node.end_lineno - node.lineno + 1} lines"
