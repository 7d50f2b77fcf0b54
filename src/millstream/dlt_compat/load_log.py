"""What dlt logs of load jobs, in a line instead of a traceback.

dlt logs a job that failed with its traceback, each time that it tries again, and then raises what
happened. A database's text may hold whole rows of data, which should be said once, if at all.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

_TRIED_AGAIN = "Transient exception in job "
_ENDED = ("Terminal exception in job ", "Job for ", "Shutdown of dlt thread pool ")
"""How the messages begin; what else a version of dlt says is logged as it is."""


@contextmanager
def brief(what: str, describe: Callable[[BaseException], str]) -> Iterator[None]:
    """While this is open, a job that is tried again is a line, and one that failed none.

    Args:
        what: the stream.
        describe: an error of a job, in words that hold no row.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and message.startswith(_TRIED_AGAIN):
            logger.warning("%s: trying again: %s", what, describe(error))
            return False
        return not message.startswith(_ENDED)

    target = logging.getLogger("dlt")
    target.addFilter(is_shown)
    try:
        yield
    finally:
        target.removeFilter(is_shown)
