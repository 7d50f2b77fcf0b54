"""How a run shows progress: one line that a terminal redraws, or a log line every few seconds."""

from __future__ import annotations

import logging
import sys
from abc import abstractmethod
from time import monotonic

from dlt.common.runtime.collector_base import Collector

from millstream.common.status_line import StatusLine

logger = logging.getLogger(__name__)

SHOWN = 12
"""Counts that a line names; the rest is counted."""


def collector(progress: str, stream: str) -> Collector | None:
    """The dlt collector that shows one run's progress; None for `none`."""
    if progress == "bar":
        return ProgressLine(stream)
    return LogLines(stream) if progress == "log" else None


class Counts(Collector):
    """The rows by table, files and jobs that one step has processed so far."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.step = ""
        self._counts: dict[str, int] = {}

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
        self._show()

    def _start(self, step: str) -> None:
        self.step = step.partition(" ")[0].lower()  # of `Extract SCHEMA` and `Load SCHEMA in ID`
        self._counts = {}

    def _text(self) -> str:
        # rows by table, and dlt's `Files` and `Jobs`
        counts = ", ".join(
            f"{name} {count:,}"
            if name.islower()
            else f"{count:,} {name.lower() if count != 1 else name.lower().removesuffix('s')}"
            for name, count in list(self._counts.items())[:SHOWN]
        )
        if len(self._counts) > SHOWN:
            counts += f" and {len(self._counts) - SHOWN:,} more"
        return ": ".join(filter(None, (self.stream, self.step, counts)))

    @abstractmethod
    def _show(self) -> None:
        """The counts have changed."""


class ProgressLine(Counts):
    """The counts in one line of the terminal, erased when the step ends."""

    def _start(self, step: str) -> None:
        super()._start(step)
        self._line = StatusLine(f"  {self._text()}", sys.stderr)
        self._line.start()

    def _stop(self) -> None:
        self._line.stop()

    def _show(self) -> None:
        self._line.text = f"  {self._text()}"


class LogLines(Counts):
    """One line at the end of each step, and every `period` seconds while it lasts."""

    def __init__(self, stream: str, period: float = 10.0) -> None:
        super().__init__(stream)
        self.period = period
        self._logged_at = monotonic()

    def _start(self, step: str) -> None:
        super()._start(step)
        self._logged_at = monotonic()

    def _stop(self) -> None:
        if self._counts:
            self._log()
            self._counts = {}

    def _show(self) -> None:
        if monotonic() - self._logged_at >= self.period:
            self._log()

    def _log(self) -> None:
        self._logged_at = monotonic()
        logger.info("%s", self._text())
