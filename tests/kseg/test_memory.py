import ctypes
import pathlib
import platform

import pytest

from kseg import memory


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's malloc")
def test_holes_are_given_back():
    """Half of 200 MB, every other of blocks too small for a mapping of their own: malloc keeps them."""

    def resident() -> int:
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * 4096

    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    blocks = [libc.malloc(65536) for _ in range(3200)]
    for block in blocks:
        ctypes.memset(block, 1, 65536)
    for block in blocks[::2]:
        libc.free(block)
    before = resident()
    assert memory.give_back()
    assert resident() < before - 50 * 2**20
    for block in blocks[1::2]:
        libc.free(block)


def test_without_glibc_nothing_is_done(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not memory.give_back()
