"""Who may write now, and what was written last."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING

from millstream import workdir
from millstream.config import TargetConfig
from millstream.destinations.factory import duckdb_file

if TYPE_CHECKING:
    import dlt


@contextmanager
def writer(config: TargetConfig, credentials: str | None = None) -> Iterator[None]:
    """Hold the destination for as long as it is written to, if it takes one writer at a time.

    A DuckDB file is opened by one process at a time; other runs on this machine wait their turn.
    """
    if config.destination.type != "duckdb":
        yield
        return
    file = duckdb_file(config, credentials)
    name = sha256(str(file.resolve()).encode()).hexdigest()[:16]
    with workdir.exclusive(name, what=f"the database {file.name}"):
        yield


def latest_load_id(pipeline: dlt.Pipeline, schema_name: str) -> str | None:
    """The newest load id of a schema in the destination; None if there is none or none can tell."""
    from dlt.common.destination.exceptions import (
        DestinationUndefinedEntity,
        SqlClientNotAvailable,
    )

    try:
        opened = pipeline.sql_client()
    except (SqlClientNotAvailable, NotImplementedError):
        return None
    with opened as client:
        table = client.make_qualified_table_name("_dlt_loads")
        column = client.escape_column_name
        try:
            rows = client.execute_sql(
                f"SELECT MAX({column('load_id')}) FROM {table} "  # noqa: S608 (escaped by dlt)
                f"WHERE {column('schema_name')} = %s",
                schema_name,
            )
        except DestinationUndefinedEntity:
            return None
    return rows[0][0] if rows else None
