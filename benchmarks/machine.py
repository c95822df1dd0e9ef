"""What the figures of a benchmark depend on: processor, memory, versions."""

import datetime
import json
import os
import subprocess

INSTRUCTIONS = ("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
BFLOAT16 = {"avx512_bf16", "amx_bf16"}  # as kseg.devices has them, which imports TensorFlow
OURS = ("tensorflow", "keras", "numpy", "opencv-python-headless", "isal")
# Run by the interpreter of each environment; a package that is not there is left out.
VERSIONS = """
import importlib.metadata, json, platform, sys
found = {"python": platform.python_version()}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def _fields(path: str) -> dict[str, str]:
    """`name: value` lines of a file under /proc up to its first empty line; {} where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def versions(python: str, packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of an environment's Python and packages; {} if it cannot be asked."""
    try:
        done = subprocess.run([python, "-c", VERSIONS, *packages], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.CalledProcessError, ValueError):
        return {}


def describe(environments: dict[str, tuple[str, tuple[str, ...]]]) -> dict:
    """Hardware, versions and date, for results.json.

    Args:
        environments: by name, the interpreter and the packages to ask it for.
    """
    processor, memory = _fields("/proc/cpuinfo"), _fields("/proc/meminfo")
    flags = set(processor.get("flags", "").split())
    total = memory.get("MemTotal", "0 kB").split()[0]
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "hardware": {
            "processor": processor.get("model name", "unknown"),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "instructions": [name for name in INSTRUCTIONS if name in flags],
            "memory_gb": round(int(total) / 2**20),
        },
        "versions": {name: versions(python, packages) for name, (python, packages) in environments.items()},
    }


def emulates_bfloat16(machine: dict) -> bool:
    """Whether the processor that `describe` describes has no instructions for bfloat16."""
    return not BFLOAT16 & set(machine["hardware"]["instructions"])
