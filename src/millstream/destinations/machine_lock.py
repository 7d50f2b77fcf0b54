"""One run at a time on this machine."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from millstream.common import file_lock
from millstream.config import data_dir, make_private_folder

logger = logging.getLogger(__name__)


@contextmanager
def machine_lock(name: str, *, what: str, folder: Path | None = None) -> Iterator[None]:
    """Wait until no other run on this machine holds `name`, then hold it.

    For destinations that take one writer at a time, such as a DuckDB file: runs queue, none fails.

    Args:
        what: what people call it.
        folder: holds the lock files; `DATA_DIR/locks` by default.
    """
    folder = folder or data_dir() / "locks"
    make_private_folder(folder)
    with ExitStack() as kept:
        try:
            kept.enter_context(file_lock.locked(folder / name, wait=False))
        except BlockingIOError:
            logger.info("waiting for another run that writes to %s", what)
            kept.enter_context(file_lock.locked(folder / name))
        yield
