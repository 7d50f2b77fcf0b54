"""Ctrl-C and SIGTERM while dlt works."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def raising_signals() -> Iterator[None]:
    """Let dlt finish what it is doing on Ctrl-C or SIGTERM, then stop, done or not.

    dlt forgets a signal that arrives while its step ends.
    """
    from dlt.common.runtime import signals

    with signals.intercepted_signals():
        yield
        signals.raise_if_signalled()
