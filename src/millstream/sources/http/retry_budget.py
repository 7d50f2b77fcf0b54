"""How long one run waits, in all, for a server that fails again and again."""

from __future__ import annotations

import threading

from millstream.sources.http.clock import Clock

LONGEST = 4 * 3600.0
"""Seconds: one wait may take two hours, if the server asks for it."""


class RetryBudget:
    """Counts the time that a run spends in waits; what threads wait side by side counts once."""

    def __init__(self, clock: Clock, longest: float = LONGEST) -> None:
        self._clock = clock
        self._longest = longest
        self._lock = threading.Lock()
        self._until = 0.0
        self.spent = 0.0

    def spend(self, seconds: float) -> bool:
        """Whether a wait that begins now is not too much; if so, it is counted."""
        with self._lock:
            begin = self._clock.now()
            end = begin + seconds
            more = max(end - max(begin, self._until), 0.0)
            if self.spent + more > self._longest:
                return False
            self.spent += more
            self._until = max(end, self._until)
            return True


def format_duration(seconds: float) -> str:
    """A span for people.

    >>> format_duration(5400), format_duration(40)
    ('1.5 h', '40 s')
    """
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
