"""How a run shows where it is: a bar in a terminal, or a log line every few seconds."""

from __future__ import annotations

import logging
from time import monotonic

from dlt.common.runtime.collector_base import Collector

logger = logging.getLogger("millstream")


def collector(progress: str, stream: str) -> Collector | None:
    """The dlt collector that shows one run's progress; None for `none`."""
    if progress == "bar":
        from dlt.common.runtime.collector import TqdmCollector

        return TqdmCollector(single_bar=True, desc=stream, leave=False)
    return LogLines(stream) if progress == "log" else None


class LogLines(Collector):
    """One line at the end of each step, and every `period` seconds while it lasts."""

    def __init__(self, stream: str, period: float = 10.0) -> None:
        self.stream = stream
        self.period = period
        self.step = ""
        self._counts: dict[str, int] = {}
        self._said_at = monotonic()

    def update(
        self,
        name: str,
        inc: int = 1,
        total: int | None = None,
        inc_total: int | None = None,
        message: str | None = None,
        label: str | None = None,
    ) -> None:
        if not name.startswith("_dlt") and name != "Resources":  # dlt's own bookkeeping
            self._counts[name] = self._counts.get(name, 0) + inc
        if monotonic() - self._said_at >= self.period:
            self._say()

    def _start(self, step: str) -> None:
        self.step = step.partition(" ")[0].lower()  # of `Extract SCHEMA` and `Load SCHEMA in ID`
        self._counts = {}
        self._said_at = monotonic()

    def _stop(self) -> None:
        if self._counts:
            self._say()
            self._counts = {}

    def _say(self) -> None:
        self._said_at = monotonic()
        # rows by table, and dlt's `Files` and `Jobs`
        counts = ", ".join(
            f"{name} {count:,}"
            if name.islower()
            else f"{count:,} {name.lower() if count != 1 else name.lower().removesuffix('s')}"
            for name, count in self._counts.items()
        )
        logger.info("%s: %s: %s", self.stream, self.step, counts)
