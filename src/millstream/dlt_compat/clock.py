"""dlt's clock, which never goes back within a process, and names loads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def clock_ahead(at: float) -> Iterator[None]:
    """Within this block, dlt's clock has come as far as `at`, seconds since 1970.

    Where a release has it elsewhere nothing changes: whoever asks looks at the clock.
    """
    from dlt.common import time

    clock: Any = getattr(time, "increasing_precise_time", None)
    before = getattr(clock, "_last", None)
    if before is not None:
        clock._last = at
    try:
        yield
    finally:
        if before is not None:
            clock._last = before
