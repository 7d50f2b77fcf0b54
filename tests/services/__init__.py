"""The real servers and programs that tests run against: on free ports, stopped by the tests.

A part that this machine lacks skips the tests that need it and says why; with `CI` set it fails
them.
`tests/services/install` installs what Python's package index does not have.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

CACHE = Path(__file__).parents[2] / ".cache"


def missing(reason: str) -> NoReturn:
    """End the test: what it needs is not on this machine."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set: run tests/services/install)", pytrace=False)
    return pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_for(ready: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Return once `ready()`; what takes longer than `seconds` is broken."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not ready after {seconds:.0f} s")
        time.sleep(0.05)


def accepts(port: int) -> bool:
    """True where something listens on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
