"""The rows that tables hold now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
