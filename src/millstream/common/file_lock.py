"""Locks between the processes of one machine: the kernel drops them when their holder dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold an exclusive lock (flock(2)) on a file, which is created if needed, or on a folder.

    Threads of one process exclude each other, too.

    Args:
        wait: until the holder releases it.

    Raises:
        BlockingIOError: it is held, and `wait` is false.
    """
    import fcntl  # not on Windows, where `--help` works nevertheless

    flags = os.O_RDONLY | os.O_DIRECTORY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)  # also unlocks
