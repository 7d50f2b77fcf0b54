"""What psycopg2 would print of a connection that is lost in mid-copy: the error, with a row.

It prints by `sys.excepthook`, and then raises only that the connection is closed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from types import TracebackType
from typing import Any

_Hook = Callable[[type[BaseException], BaseException, TracebackType | None], Any]

_lock = Lock()
_listening: dict[int, list[BaseException]] = {}
"""By thread, what was not printed."""
_before: list[_Hook] = []


@contextmanager
def heard() -> Iterator[list[BaseException]]:
    """Keep errors of this thread that would be printed; those of others are, as before."""
    found: list[BaseException] = []
    with _lock:
        if not _listening:
            _before[:] = [sys.excepthook]
            sys.excepthook = _hear
        _listening[get_ident()] = found
    try:
        yield found
    finally:
        with _lock:
            del _listening[get_ident()]
            if not _listening and sys.excepthook is _hear:
                sys.excepthook = _before[0]


def _hear(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    found = _listening.get(get_ident())
    if found is None:
        _before[0](kind, error, trace)
    else:
        found.append(error.__cause__ or error)
