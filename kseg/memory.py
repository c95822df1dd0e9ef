"""What this process uses of its machine."""

import contextlib
import ctypes
import os

M_ARENA_MAX = -8  # of glibc's malloc.h
SETTINGS = ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES", "LD_PRELOAD")  # of a user who has settled it, or another allocator


def use_one_arena() -> bool:
    """Makes glibc's malloc serve all threads from one heap; returns whether it does. To be called before any starts.

    By itself each of TensorFlow's threads gets one of up to 8 heaps a core, and what is freed in one is of no use to
    the others: a training on 2 cores held 35 MB more. 16 threads that decode pictures on 16 cores are no slower with
    one. (benchmarks/README.md, "Soak")
    """
    if any(name in os.environ for name in SETTINGS):
        return False
    with contextlib.suppress(OSError, AttributeError):  # no glibc
        return ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1) == 1
    return False


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
