"""One run at a time, on whichever machine.

`machine_lock` keeps the runs of one machine apart, and those that share a DuckDB file: its
locks lie beside it. PostgreSQL has locks that a session holds and that end with it, however it
ends; they keep machines apart too. Other destinations have none: there, runs of one stream on two
machines are told apart by load ids alone (see `runs.scope`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from time import sleep
from typing import Any

from millstream.common.retry import pauses
from millstream.config import TargetConfig
from millstream.destinations import driver_errors
from millstream.destinations.duckdb_file import duckdb_file, lock_folder
from millstream.destinations.machine_lock import machine_lock
from millstream.destinations.preflight_checks import resolved_credentials
from millstream.errors import DestinationUnavailableError

logger = logging.getLogger(__name__)


@contextmanager
def turn(
    config: TargetConfig, name: str, *, what: str, credentials: str | None = None
) -> Iterator[Callable[[], None]]:
    """Wait until no other run holds `name`, then hold it; across machines on PostgreSQL.

    Args:
        name: of a lock; also a file's name.
        what: what people call it.

    Yields:
        A function that raises where the turn was lost meanwhile, with the connection it hung on.

    Raises:
        DestinationError: PostgreSQL can't be asked.
    """
    folder = None
    if config.destination.type == "duckdb":
        folder = lock_folder(duckdb_file(config, credentials))
    with machine_lock(name, what=what, folder=folder):
        if config.destination.type != "postgres":
            yield _nothing_to_lose
            return
        connection = _connect(config, credentials)
        try:
            lock = _number(f"{config.dataset}/{name}")
            _acquire(connection, lock, what)

            def check() -> None:
                if not _holds(connection, lock):
                    raise DestinationUnavailableError(
                        f"the connection that kept other machines from {what} is gone",
                        hint="nothing was sent: run again; what was extracted waits",
                    )

            yield check
        finally:
            connection.close()  # the session's locks end with it


def excludes_others(config: TargetConfig) -> bool:
    """Whether who has a turn has it alone, on all machines that load into the destination."""
    return config.destination.type in ("duckdb", "postgres")


def _acquire(connection: Any, lock: int, what: str) -> None:
    for look, pause in enumerate(pauses()):
        # not pg_advisory_lock, which a signal could not interrupt
        if _ask(connection, "SELECT pg_try_advisory_lock(%s)", lock):
            return
        if not look:
            logger.info("waiting for another machine that loads %s", what)
        sleep(pause)


def _holds(connection: Any, lock: int) -> bool:
    import psycopg2

    high, low = (lock >> 32) & 0xFFFFFFFF, lock & 0xFFFFFFFF
    try:
        return bool(
            _ask(
                connection,
                "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND granted "
                "AND pid = pg_backend_pid() AND classid::bigint = %s AND objid::bigint = %s",
                high,
                low,
            )
        )
    except psycopg2.Error:
        return False


def _ask(connection: Any, query: str, *values: int) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchone()[0]


def _connect(config: TargetConfig, credentials: str | None) -> Any:
    import psycopg2

    found = resolved_credentials(config, credentials)
    try:
        connection = psycopg2.connect(
            found.to_native_representation(), application_name="millstream"
        )
    except psycopg2.Error as error:
        problem = driver_errors.explain(
            error, config, where="postgres", secrets=driver_errors.secrets_of(found)
        )
    else:
        connection.autocommit = True
        return connection
    raise problem  # outside of `except`, so that no traceback carries what the driver said


def _number(name: str) -> int:
    """PostgreSQL's locks are 64-bit numbers; names are spread over them."""
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big", signed=True)


def _nothing_to_lose() -> None:
    pass
