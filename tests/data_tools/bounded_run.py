"""Prepares and scans pairs within limits of memory and time, which the kernel keeps: bounded_run.py RESULTS < PAIRS.

PAIRS is a JSON list of [stem, image, mask]. RESULTS is a pickled {stem: (what `prepare` returned, what `scan_pair`
returned)}, a traceback in place of either that raised. Before each pair its stem goes to standard output, so that a
process that was killed tells at which.
"""

import json
import pickle
import resource
import sys
import traceback

from data_tools.encoding import make_encoding
from data_tools.inspection.scan import scan_pair
from data_tools.pairs import Pair
from data_tools.preparation import Recipe, prepare
from data_tools.reading import read_file

ENCODING = make_encoding(3)
MEMORY, SECONDS = 2 * 2**30, 60  # bytes of address space beyond what is loaded; of processor time for all pairs


def limit() -> None:
    """From here on more memory is a MemoryError, and more time the end (SIGXCPU)."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY, mapped + MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))


def told(function, *arguments):
    """What it returns, or the traceback of what it raises."""
    try:
        return function(*arguments)
    except BaseException:
        return traceback.format_exc()


if __name__ == "__main__":
    limit()
    results = {}
    for stem, image, mask in json.load(sys.stdin):
        print(json.dumps(stem), flush=True)
        pair = Pair(stem, image.rpartition("/")[2], image, mask)
        prepared = told(prepare, pair, Recipe(ENCODING))
        results[stem] = prepared, told(scan_pair, (("train", pair), read_file), {"train": ENCODING})
    with open(sys.argv[1], "wb") as file:
        pickle.dump(results, file)
