"""Try again after an error that may pass, or look again, each time after a longer wait."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

Sleep = Callable[[float], None]
Delay = Callable[[Exception, float], float | None]
"""From an error, and the planned seconds, to the seconds to wait; None raises the error."""

_Result = TypeVar("_Result")


@dataclass
class Retries:
    """How often something may fail in a row, and how long to wait between the attempts.

    Attributes:
        attempts: the first one included.
        first: seconds before the second attempt; twice as many before each further one.
        jitter: waits are cut to between half and all, so that many do not come back at once.
        chance: a number from 0 to 1, for that.
        failures: since the last success.
    """

    attempts: int
    first: float = 0.0
    jitter: bool = False
    sleep: Sleep = time.sleep
    chance: Callable[[], float] = random.random
    failures: int = 0

    def succeeded(self) -> None:
        """Count from the beginning again: for what goes on from where it failed."""
        self.failures = 0

    def failed(self) -> float | None:
        """Count a failure: the seconds until the next attempt, or None where there were enough.

        >>> retries = Retries(3, first=0.5)
        >>> retries.failed(), retries.failed(), retries.failed()
        (0.5, 1.0, None)
        """
        self.failures += 1
        if self.failures >= self.attempts:
            return None
        wait = self.first * 2.0 ** (self.failures - 1)
        return wait * (0.5 + self.chance() / 2) if self.jitter else wait


def call(function: Callable[[], _Result], retries: Retries, delay: Delay | None = None) -> _Result:
    """What a function returns, called again while it fails.

    Args:
        delay: whether to call again after an error, and after how many seconds; after any where
            left out, and after those that are planned.

    Raises:
        Exception: the function's, where another call won't help, or there were enough.
    """
    while True:
        try:
            return function()
        except Exception as error:
            planned = retries.failed()
            wait = planned if planned is None or delay is None else delay(error, planned)
            if wait is None:
                raise
        retries.sleep(wait)


def pauses(first: float = 0.2, longest: float = 2.0) -> Iterator[float]:
    """Seconds between looks at something that another program holds, without an end.

    >>> [round(pause, 2) for pause, _ in zip(pauses(), range(4))]
    [0.2, 0.3, 0.45, 0.68]
    """
    pause = first
    while True:
        yield pause
        pause = min(pause * 1.5, longest)
