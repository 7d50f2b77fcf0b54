"""What a source reports beside its rows: warnings, parts that it skipped, rows to correct.

A source calls `warn`, `skip` and `update_rows` while it is read. A run collects the findings and
keeps them beside the package: a later run that finishes an interrupted one reports them too.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from millstream.common import atomic_write
from millstream.errors import MillstreamError
from millstream.model import RowUpdate, Skipped

log = logging.getLogger(__name__)

_FILE = "findings.json"


@dataclass
class Findings:
    """The findings of one run, in the order in which the source reported them.

    Attributes:
        may_stop: whether a part of the rows may be loaded, where the cursor says what follows.
        stop: where the source was not read to its end. Of the run alone: a later one reads on.
    """

    warnings: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    updates: list[RowUpdate] = field(default_factory=list)
    may_stop: bool = False
    stop: Stop | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """A source was not read to its end, and the cursor says where to go on.

    Attributes:
        error: why; None where it is only that rows be loaded before more are read.
    """

    error: MillstreamError | None = None


_current: ContextVar[tuple[Findings, Path] | None] = ContextVar("findings", default=None)


@contextmanager
def collecting(run: Path, *, may_stop: bool = False) -> Iterator[Findings]:
    """Collect what a source reports, in memory and in the run's working folder."""
    found = Findings(may_stop=may_stop)
    token = _current.set((found, run / _FILE))
    try:
        yield found
    finally:
        _current.reset(token)


def stored(run: Path) -> Findings:
    """What an earlier run left in its working folder."""
    try:
        content: Mapping[str, Any] = json.loads((run / _FILE).read_bytes())
    except FileNotFoundError:
        return Findings()
    return Findings(
        list(content["warnings"]),
        [Skipped(**each) for each in content["skipped"]],
        [RowUpdate(**each) for each in content["updates"]],
    )


def warn(text: str) -> None:
    """Report something that people should know; the rows are loaded all the same."""
    log.warning("%s", text)
    _add(lambda found: found.warnings.append(text))


def skip(name: str, reason: str, detail: str) -> None:
    """Report a part of the source that was not read, or not to its end."""
    log.warning("%s: skipped: %s", name, detail)
    _add(lambda found: found.skipped.append(Skipped(name, reason, detail)))


def may_stop() -> bool:
    """Whether a source that knows where to go on may `stop_early`."""
    current = _current.get()
    return current is not None and current[0].may_stop


def stop_early(error: MillstreamError | None = None) -> None:
    """Report that the rows so far are to be loaded, and that a read from their cursor follows.

    Args:
        error: what kept the source from being read on: the run fails once they are loaded.
    """
    current = _current.get()
    assert current is not None, "ask may_stop() first"
    current[0].stop = Stop(error)


def update_rows(update: RowUpdate) -> None:
    """Have rows of earlier loads corrected before the rows of this run are loaded."""
    _add(lambda found: found.updates.append(update))


def _add(change: Any) -> None:
    current = _current.get()
    if current is None:  # a source that plain dlt reads
        return
    found, path = current
    change(found)
    # at once: a package that is complete must never be without them
    kept = {name: getattr(found, name) for name in ("warnings", "skipped", "updates")}
    atomic_write.write(path, json.dumps(kept, default=asdict))
