"""What `dlt` and `millstream` log while a step runs, in Dagster's log of that step."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NAMES = ("dlt", "millstream")


@contextmanager
def forwarded(log: logging.Logger) -> Iterator[None]:
    """While this is open, what both loggers say is also said in `log`, without secrets.

    Steps may nest or run side by side in one process: each record goes to one of them, to the
    innermost of the thread that logged it or, from a worker thread, to the one opened last.
    """
    with _lock:
        if not _open:
            _attach()
        entry = (threading.get_ident(), log)
        _open.append(entry)
    try:
        yield
    finally:
        with _lock:
            # by identity and from the end: the same log may be there twice
            del _open[max(i for i, each in enumerate(_open) if each is entry)]
            if not _open:
                _detach()


class _Forward(logging.Handler):
    """Its format is Dagster's business: dlt sets a formatter on whatever handler it finds here."""

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(_busy, "now", False):  # writing Dagster's log must not log into itself
            return
        with _lock:
            mine = [log for thread, log in _open if thread == record.thread]
            target = mine[-1] if mine else _open[-1][1] if _open else None
        if target is None or any(h is not self and _is_dagsters(h) for h in _handlers(record.name)):
            return
        _busy.now = True
        try:
            from millstream.common.redact import redact_foreign

            message = record.getMessage()
            if record.exc_info and record.exc_info[0] is not None:
                message += "\n" + logging.Formatter().formatException(record.exc_info)
            target.log(record.levelno, "%s", redact_foreign(message))
        except Exception:
            self.handleError(record)
        finally:
            _busy.now = False


_lock = threading.RLock()
_busy = threading.local()
_open: list[tuple[int, logging.Logger]] = []
_handler = _Forward()
_levels: dict[str, int] = {}


def _attach() -> None:
    for name in _NAMES:
        logger = logging.getLogger(name)
        _levels[name] = logger.level
        if logger.getEffectiveLevel() > logging.INFO and name == "millstream":
            logger.setLevel(logging.INFO)  # else the root's WARNING swallows the progress
        logger.addHandler(_handler)


def _detach() -> None:
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.removeHandler(_handler)
        if name == "millstream":  # dlt sets its own level, from its configuration
            logger.setLevel(_levels[name])


def _handlers(name: str) -> Iterator[logging.Handler]:
    """The handlers that a record reaches, as `logging` finds them."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from logger.handlers
        logger = logger.parent if logger.propagate else None


def _is_dagsters(handler: logging.Handler) -> bool:
    """True for the handler that `managed_python_loggers` of a `dagster.yaml` puts here."""
    return type(handler).__name__ == "DagsterLogHandler"
