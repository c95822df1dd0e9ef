"""Memory that is free, given back to the system."""

import ctypes


def give_back() -> bool:
    """Gives back what malloc keeps of freed memory; whether there is a way (glibc has one).

    Tensors of many sizes from many threads leave holes in each thread's arena, of which glibc by itself gives back only
    what lies at an arena's end. A training in which nothing leaks grew by 6 % in 100 epochs so (benchmarks/README.md).
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return False
    trim(0)
    return True
