"""Who may write or read now, and what was written last."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any

from millstream.common.retry import pauses
from millstream.common.sql_client import sql_client
from millstream.config import TargetConfig
from millstream.destinations import driver_errors
from millstream.destinations.duckdb_file import duckdb_file, lock_folder
from millstream.destinations.factory import build, make_folder, settings
from millstream.destinations.machine_lock import machine_lock
from millstream.destinations.preflight_checks import ensure_reachable
from millstream.errors import MillstreamError

if TYPE_CHECKING:
    import dlt
    from dlt.common.destination.reference import AnyDestination

logger = logging.getLogger(__name__)

PATIENCE = 60.0
"""Seconds to wait for a program that has a DuckDB file open and is not Millstream."""


@contextmanager
def writer(config: TargetConfig, credentials: str | None = None) -> Iterator[None]:
    """Hold the destination for as long as it is written to, if it takes one writer at a time.

    A DuckDB file is opened by one process at a time; other runs wait their turn, for as long as it
    takes, and any other program is waited for `PATIENCE` seconds.
    It stays open throughout: the first connection to a file reads it, the last one writes it back,
    and dlt makes dozens that are each the first and the last.

    Raises:
        DestinationUnavailableError: another program keeps the file open; names its process.
    """
    if config.destination.type != "duckdb":
        yield
        return
    file = duckdb_file(config, credentials)
    make_folder(file, config.project)
    what, folder = f"the database {file.name}", lock_folder(file)
    with machine_lock("write", what=what, folder=folder, is_shared=True), ExitStack() as kept:
        if file.exists():  # connecting would make it
            _open(config, credentials, kept)
        yield


@contextmanager
def reader(config: TargetConfig, credentials: str | None = None) -> Iterator[AnyDestination]:
    """The destination, held while its tables are read.

    A DuckDB file is held as for writing: it is open to one process at a time.

    Raises:
        ConfigError, DestinationError: it can't be used, or can't be reached.
    """
    with writer(config, credentials):
        failure: Exception | None = None
        try:
            yield build(config, credentials)
        except MillstreamError:
            raise
        except Exception as error:
            failure = error
        if failure is not None:
            ensure_reachable(config, credentials)  # says better than dlt why nothing could be read
            raise failure


def _open(config: TargetConfig, credentials: str | None, kept: ExitStack) -> None:
    """Open a DuckDB file once no other program has it open."""
    waited = 0.0
    for pause in pauses():
        try:
            kept.enter_context(_client(config, credentials))
        except Exception as error:
            problem = driver_errors.in_use(error)
        else:
            return
        if problem is None:  # whoever needs the connection says better why there is none
            return
        if waited >= PATIENCE:
            raise problem
        if not waited:
            logger.warning("%s: waiting up to %.0f seconds", problem.message, PATIENCE)
        sleep(pause)
        waited += pause


def _client(config: TargetConfig, credentials: str | None) -> AbstractContextManager[Any]:
    import dlt

    destination = build(config, credentials)
    client: Any = destination.client(dlt.Schema(config.name), settings(destination, config))
    found: AbstractContextManager[Any] = client  # dlt's own type forgets the exit's arguments
    return found


@dataclass(frozen=True, slots=True)
class Loads:
    """The loads of one schema that a destination has; equal while none came or went.

    Attributes:
        count: how many there are.
        newest: the highest load id, which is the last one's (see `load_ids`).
        schema_hash: of the schema that the newest load left.
    """

    count: int
    newest: str
    schema_hash: str | None


def loads(pipeline: dlt.Pipeline, schema_name: str) -> Loads | None:
    """The loads of a schema in the destination; None if there are none or none can tell."""
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    opened = sql_client(pipeline)
    if opened is None:
        return None
    with opened as client:
        table = client.make_qualified_table_name("_dlt_loads")
        load_id, schema, version = map(
            client.escape_column_name, ("load_id", "schema_name", "schema_version_hash")
        )
        newest = f"SELECT MAX({load_id}) FROM {table} WHERE {schema} = %s"  # noqa: S608 (escaped)
        try:
            rows = client.execute_sql(
                f"SELECT COUNT(*), MAX({load_id}), "  # noqa: S608 (escaped by dlt)
                f"MAX(CASE WHEN {load_id} = ({newest}) THEN {version} END) "
                f"FROM {table} WHERE {schema} = %s",
                schema_name,
                schema_name,
            )
        except DestinationUndefinedEntity:
            return None
    count, found, schema_hash = rows[0] if rows else (0, None, None)
    return None if found is None else Loads(int(count), str(found), schema_hash)
