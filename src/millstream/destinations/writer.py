"""Who may write or read now, and what was written last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from millstream import workdir
from millstream.config import TargetConfig
from millstream.destinations.duckdb_file import duckdb_file
from millstream.destinations.factory import build, settings
from millstream.destinations.readiness import ensure_reachable
from millstream.errors import MillstreamError
from millstream.queryable import sql_client

if TYPE_CHECKING:
    import dlt
    from dlt.common.destination.reference import AnyDestination


@contextmanager
def writer(config: TargetConfig, credentials: str | None = None) -> Iterator[None]:
    """Hold the destination for as long as it is written to, if it takes one writer at a time.

    A DuckDB file is opened by one process at a time; other runs on this machine wait their turn.
    It stays open throughout: the first connection to a file reads it, the last one writes it back,
    and dlt makes dozens that are each the first and the last.
    """
    if config.destination.type != "duckdb":
        yield
        return
    file = duckdb_file(config, credentials)
    name = sha256(str(file.resolve()).encode()).hexdigest()[:16]
    with workdir.exclusive(name, what=f"the database {file.name}"), ExitStack() as kept:
        if file.exists():  # connecting would make it
            # whoever needs the connection says better why there is none
            with suppress(Exception):
                kept.enter_context(_client(config, credentials))
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
