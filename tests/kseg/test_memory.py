"""One heap for all threads, in a process of its own; and hands off where the user has settled it."""

import os
import subprocess
import sys

import pytest

SCRIPT = """if True:
    import os, re, sys, threading
    from kseg.memory import use_one_arena
    print(use_one_arena())

    def held():  # too small for a mapping of its own, too large for a thread's cache
        kept.append([bytearray(100_000) for _ in range(20)])

    kept = []
    threads = [threading.Thread(target=held) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A heap of a thread's own is a mapping of 64 MB, of which the most is not accessible yet.
    maps = [line.split() for line in open("/proc/self/maps")]
    ends = [line[0].split("-") for line in maps if line[1][:3] == "---"]
    sizes = [int(end, 16) - int(begin, 16) for begin, end in ends]
    print(sum(2**25 < size < 2**26 for size in sizes) > 0)
"""


@pytest.mark.parametrize(("setting", "said"), [({}, ["True", "False"]), ({"MALLOC_ARENA_MAX": "8"}, ["False", "True"])])
def test_threads_share_a_heap_unless_the_user_says_otherwise(setting, said):
    environment = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "LD_PRELOAD")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment | setting, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == said
