"""Loops over bytes that numba compiles, where it is installed and the rows are many enough to pay.

    shake128    the hashes that nested rows get their ids from

To import numba and load what it compiled before takes 0.4 s of CPU time; to compile, 5 s, once per
installation and kind of processor. numba keeps the result beside the module, or in the user's cache
folder where that can't be written. Both happen in a thread, while rows go on without.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import numpy as np

PAYS_AFTER = 450_000
"""Nested rows that a process hashes without: 0.85 µs is saved on each one that follows."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kernels:
    """What became of loading them.

    Attributes:
        shake128: the module; None where it can't be used, for `problem`.
        seconds: how long it took to compile it; 0.0 if it had been.
    """

    shake128: ModuleType | None = None
    problem: str = ""
    seconds: float = 0.0


class Loader:
    """Counts rows, and loads the kernels when they pay."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0
        self._thread: threading.Thread | None = None
        self._kernels: Kernels | None = None

    def for_rows(self, rows: int) -> ModuleType | None:
        """What hashes these `rows`, once so many have come before them that loading it pays."""
        wanted = setting()
        if wanted == "off":
            return None
        if self._kernels is None:
            self._rows += rows
            if wanted == "on":
                self._load()
            elif self._rows > PAYS_AFTER and self._thread is None and is_installed():
                self._thread = threading.Thread(target=self._load, name="millstream kernels")
                self._thread.start()
        return self._kernels.shake128 if self._kernels else None

    def wait(self) -> None:
        """Until a thread that loads them is done."""
        if self._thread is not None:
            self._thread.join()

    def _load(self) -> None:
        with self._lock:
            if self._kernels is None:
                kernels = load()
                if kernels.problem:
                    logger.warning("kernels are not used: %s", kernels.problem)
                elif kernels.seconds:
                    logger.info("compiled the kernels in %.1f s, once", kernels.seconds)
                self._kernels = kernels


for_rows = Loader().for_rows


def setting() -> str:
    """`MILLSTREAM_KERNELS`: `off`, `on` from the first row, or `auto`."""
    return os.environ.get("MILLSTREAM_KERNELS", "").strip().lower() or "auto"


@cache
def is_installed() -> bool:
    """Whether numba is, without importing it."""
    return find_spec("numba") is not None


def load() -> Kernels:
    """Import numba and the kernels, compile them where they have not been, and try them."""
    if not is_installed():
        return Kernels(problem="numba is not installed")
    name = f"{__name__}.shake128"
    is_loaded = name in sys.modules
    started = time.monotonic()
    try:
        from numba import config

        module = import_module(name)
        _try(module)
    except Exception as error:  # a numba that does not fit, no folder that can be written
        return Kernels(problem=f"{type(error).__name__}: {error}".splitlines()[0])
    if config.DISABLE_JIT:
        # plain Python, a thousand times slower: for tests, which ask for it
        problem = "" if setting() == "on" else "NUMBA_DISABLE_JIT is set"
        return Kernels(None if problem else module, problem)
    is_fresh = module.hash_rows.stats.cache_misses and not is_loaded
    return Kernels(module, seconds=time.monotonic() - started if is_fresh else 0.0)


def _try(module: ModuleType) -> None:
    """Compare a few hashes with hashlib's: compiled code is this machine's own."""
    count = 2 * module.LANES + 1 if hasattr(module.hash_rows, "stats") else 2
    starts = np.arange(3 * count, dtype=np.uint8).reshape(count, 3)
    numbers = np.arange(count) ** 7
    digests = np.empty((count, 24), np.uint8)
    module.hash_rows(starts, np.frombuffer(b"_try_", np.uint8), numbers, digests)
    for start, number, digest in zip(starts, numbers, digests):
        message = start.tobytes() + b"_try_%d" % number
        if digest.tobytes() != hashlib.shake_128(message, usedforsecurity=False).digest(24):
            raise ValueError("they hash otherwise than hashlib does")
