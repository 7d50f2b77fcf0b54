"""The rows that tables hold now: how many, and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from millstream.common.sql_client import sql_client

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase


def row_counts(
    pipeline: dlt.Pipeline, schema: dlt.Schema, tables: Sequence[str]
) -> dict[str, int | None]:
    """Rows in each table of the destination, by one query where all of them are there.

    Returns:
        One entry per name, in the order given: 0 for a table that is not there yet, None for all
        where the destination can't be queried.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    if not tables:
        return {}
    opened = sql_client(pipeline, schema.name)
    if opened is None:
        return dict.fromkeys(tables)
    with opened as client:
        try:
            return _count(client, tables)
        except DestinationUndefinedEntity:
            counts: dict[str, int | None] = {}
            for table in tables:
                try:
                    counts |= _count(client, [table])
                except DestinationUndefinedEntity:
                    counts[table] = 0
            return counts


def key_values(
    pipeline: dlt.Pipeline, schema_name: str, table: str, columns: Sequence[str]
) -> Sequence[tuple[Any, ...]]:
    """The values of these columns in each row; none where there is no table yet.

    Args:
        schema_name: of a schema that the pipeline has.
        table: as a source calls it; so are the columns.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    opened = sql_client(pipeline, schema_name)
    if opened is None:
        return ()
    naming = pipeline.schemas[schema_name].naming
    with opened as client, suppress(DestinationUndefinedEntity):
        names = ", ".join(
            client.escape_column_name(naming.normalize_path(each)) for each in columns
        )
        full_name = client.make_qualified_table_name(naming.normalize_tables_path(table))
        found = client.execute_sql(f"SELECT {names} FROM {full_name}")  # noqa: S608
        return [tuple(row) for row in found or ()]
    return ()


def _count(client: SqlClientBase[object], tables: Sequence[str]) -> dict[str, int | None]:
    # a row per table, by position: identifiers come back as the destination folds them
    query = " UNION ALL ".join(
        f"SELECT {position} AS position, COUNT(*) AS total "  # noqa: S608 (escaped by dlt)
        f"FROM {client.make_qualified_table_name(table)}"
        for position, table in enumerate(tables)
    )
    rows = client.execute_sql(query) or ()
    found = {int(position): int(total) for position, total in rows}
    return {table: found[position] for position, table in enumerate(tables)}
