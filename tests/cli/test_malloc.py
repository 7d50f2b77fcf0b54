"""glibc's heaps, counted in processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

_COUNT = """
import ctypes, sys, threading
if sys.argv[1] == "few":
    from millstream.cli import malloc
    malloc.few()
libc = ctypes.CDLL(None)
barrier = threading.Barrier(8)
def work():
    libc.malloc.restype = ctypes.c_void_p
    libc.malloc(100_000)
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
libc.fdopen.restype = ctypes.c_void_p
out = ctypes.c_void_p(libc.fdopen(1, b"w"))
libc.malloc_info(0, out)
libc.fflush(out)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="heaps are glibc's")
def test_threads_share_two_heaps() -> None:
    assert _heaps("as it comes") > 2
    assert _heaps("few") <= 2


def _heaps(how: str) -> int:
    command = [sys.executable, "-c", _COUNT, how]
    env = {key: value for key, value in os.environ.items() if key != "MALLOC_ARENA_MAX"}
    found = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return found.stdout.count("<heap nr=")
