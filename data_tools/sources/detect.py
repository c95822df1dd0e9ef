"""Which source a path is."""

import importlib

from data_tools.pairs import shown
from data_tools.sources import SOURCES
from kseg import storage
from kseg.errors import RunError


def detect(input: str) -> str:
    """The source, a key of SOURCES, that reads a path: a folder by what it holds, a file by its extension.

    Raises:
        RunError: if nothing is there, or no source or more than one fits; it lists what each reads.
    """
    if not storage.is_dir(input) and not storage.exists(input):
        raise RunError(f"{shown(input)}: no such file or folder")
    modules = {name: importlib.import_module(entry.partition(":")[0]) for name, entry in SOURCES.items()}
    fitting = [name for name, module in modules.items() if module.fits(input)]
    if len(fitting) == 1:
        return fitting[0]
    found = f"looks like {' and '.join(fitting)}" if fitting else "no layout that is known"
    lines = [f"{shown(input)}: {found}; say which by --source:"]
    lines += [f"  {name:<10}  {modules[name].LAYOUT}" for name in SOURCES]
    raise RunError("\n".join(lines))
