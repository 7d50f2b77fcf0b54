"""Time, waits and chance, in one place that tests can replace."""

from __future__ import annotations

import random
import threading
import time
from typing import Protocol


class Clock(Protocol):
    """What rate limits and retries need to know of time."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""

    def wait(self, seconds: float, cancelled: threading.Event) -> None:
        """Return after so many seconds, or as soon as `cancelled` is set."""

    def chance(self) -> float:
        """A number from 0 to 1, for jitter."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float, cancelled: threading.Event) -> None:
        cancelled.wait(seconds)

    def chance(self) -> float:
        return random.random()  # noqa: S311 - spreads retries, guards nothing
