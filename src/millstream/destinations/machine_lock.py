"""One run at a time on this machine."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Lock

from millstream.common import file_lock
from millstream.config import data_dir, make_private_folder

logger = logging.getLogger(__name__)


_users: Counter[Path] = Counter()
"""Threads of this process that hold a lock, or wait for it."""
_counting = Lock()


@contextmanager
def machine_lock(
    name: str, *, what: str, folder: Path | None = None, is_shared: bool = False
) -> Iterator[None]:
    """Wait until no other run on this machine holds `name`, then hold it.

    For destinations that take one writer at a time, such as a DuckDB file: runs queue, none fails.

    Args:
        what: what people call it.
        folder: holds the lock files; `DATA_DIR/locks` by default.
        is_shared: the streams of one command take turns: only the first of them that waits says so,
            and none says that it waits for another.
    """
    folder = folder or data_dir() / "locks"
    make_private_folder(folder)
    file = folder / name
    with ExitStack() as kept:
        others = kept.enter_context(_counted(file))
        try:
            kept.enter_context(file_lock.locked(file, wait=False))
        except BlockingIOError:
            if not (is_shared and others):
                logger.info("waiting for another run that writes to %s", what)
            kept.enter_context(file_lock.locked(file))
        yield


@contextmanager
def _counted(file: Path) -> Iterator[int]:
    """Count a thread that uses a lock; how many others do."""
    with _counting:
        others = _users[file]
        _users[file] += 1
    try:
        yield others
    finally:
        with _counting:
            _users[file] -= 1
