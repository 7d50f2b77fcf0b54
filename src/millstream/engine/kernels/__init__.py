"""Loops over bytes that numba compiles, where it is installed and the rows are many enough to pay.

    shake128     the hashes that nested rows get their ids from
    json_rows    lines of JSON to columns, where `MILLSTREAM_KERNELS=on` asks for it

To import numba and load what it compiled before takes 0.5 s of CPU time; to compile, 6 s, once per
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

COST = 500_000_000
"""Nanoseconds of CPU time that loading takes: so much must have been lost, or be foreseen."""
PER_ID = 850
"""Nanoseconds that a nested row's id takes longer without."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kernels:
    """Compiled modules.

    Attributes:
        json_rows: None unless `MILLSTREAM_KERNELS=on` asks for it.
        seconds: how long it took to compile them; 0.0 if they had been.
    """

    shake128: ModuleType
    json_rows: ModuleType | None = None
    seconds: float = 0.0


class Loader:
    """Adds up what kernels would save, and loads them when that pays."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lost = 0
        self._thread: threading.Thread | None = None
        self._kernels: Kernels | None = None
        self._is_over = False

    def ready(self, saved: int) -> Kernels | None:
        """The kernels, for work on which they save so many nanoseconds; None until loaded.

        Once work has been done without that would have paid for loading them, a thread does.
        """
        wanted = setting()
        if wanted == "off":
            return None
        if not self._is_over:
            self._lost += saved
            if wanted == "on":
                self._load()
            else:
                self.expect(self._lost)
        return self._kernels

    def expect(self, saved: int) -> None:
        """Load the kernels, aside, if they will save more than that costs."""
        if saved > COST and self._thread is None and setting() != "off" and is_installed():
            self._thread = threading.Thread(target=self._load, name="millstream kernels")
            self._thread.start()

    def wait(self) -> None:
        """Until a thread that loads them is done."""
        if self._thread is not None:
            self._thread.join()

    def _load(self) -> None:
        with self._lock:
            if self._is_over:
                return
            try:
                self._kernels = load()
                if self._kernels.seconds:
                    logger.info("compiled the kernels in %.1f s, once", self._kernels.seconds)
            except KernelError as error:
                logger.warning("kernels are not used: %s", error)
            self._is_over = True


_loader = Loader()
ready, expect = _loader.ready, _loader.expect


class KernelError(Exception):
    """Kernels can't be used here, and why."""


def setting() -> str:
    """`MILLSTREAM_KERNELS`: `off`, `on` from the first row, or `auto`."""
    return os.environ.get("MILLSTREAM_KERNELS", "").strip().lower() or "auto"


@cache
def is_installed() -> bool:
    """Whether numba is, without importing it."""
    return find_spec("numba") is not None


def load() -> Kernels:
    """Import numba and the kernels, compile them where they have not been, and try them.

    Raises:
        KernelError: they can't be used.
    """
    if not is_installed():
        raise KernelError("numba is not installed")
    name = f"{__name__}.shake128"
    is_loaded = name in sys.modules
    started = time.monotonic()
    try:
        from numba import config

        shake128 = import_module(name)
        json_rows = import_module(f"{__name__}.json_rows") if setting() == "on" else None
        _try(shake128)
    except Exception as error:  # a numba that does not fit, no folder that can be written
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        raise KernelError(text) from None
    if config.DISABLE_JIT:
        # plain Python, a thousand times slower: for tests, which ask for it
        if setting() != "on":
            raise KernelError("NUMBA_DISABLE_JIT is set")
        return Kernels(shake128, json_rows)
    compiled = [shake128.hash_rows, *([json_rows.read_rows] if json_rows else [])]
    is_fresh = not is_loaded and any(each.stats.cache_misses for each in compiled)
    return Kernels(shake128, json_rows, time.monotonic() - started if is_fresh else 0.0)


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
