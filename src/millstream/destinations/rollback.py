"""Take out what an interrupted load had appended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from millstream.common.sql_client import sql_client
from millstream.destinations.table_formats import format_of

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.sql_client import SqlClientBase


def undo(pipeline: dlt.Pipeline, schema: dlt.Schema, load_id: str) -> None:
    """Delete the rows that one load appended, children included.

    Only for a load that did not complete, and while no other load of the schema is under way: child
    rows carry no load id, and are known by having no parent any more. Plain files of the filesystem
    destination are named by load id, so that a second load overwrites them; there is nothing to do.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    if pipeline.destination.destination_name == "filesystem":
        for root in _appended(schema):
            if format_of(schema, root):
                from millstream.destinations.open_tables import removal

                removal.undo(pipeline, schema, root, load_id)
        return
    opened = sql_client(pipeline, schema.name)
    if opened is None:
        return
    with opened as client:
        for root in _appended(schema):
            for statement, arguments in _deletes(client, schema, root, load_id):
                try:
                    client.execute_sql(statement, *arguments)
                except DestinationUndefinedEntity:  # the load had not made the table yet
                    break


def _appended(schema: dlt.Schema) -> Iterator[str]:
    for name, table in schema.tables.items():
        appended = not table.get("parent") and table.get("write_disposition") == "append"
        if appended and _column(schema, "_dlt_load_id") in table["columns"]:
            yield name


def _deletes(
    client: SqlClientBase[object], schema: dlt.Schema, root: str, load_id: str
) -> Iterator[tuple[str, tuple[str, ...]]]:
    column = client.escape_column_name
    row, parent_row = column(_column(schema, "_dlt_id")), column(_column(schema, "_dlt_parent_id"))
    yield (
        f"DELETE FROM {client.make_qualified_table_name(root)} "  # noqa: S608 (escaped by dlt)
        f"WHERE {column(_column(schema, '_dlt_load_id'))} = %s",
        (load_id,),
    )
    below = [root]
    while below:
        parent = below.pop(0)
        for name, table in schema.tables.items():
            if table.get("parent") == parent:
                yield (
                    f"DELETE FROM {client.make_qualified_table_name(name)} "  # noqa: S608
                    f"WHERE {parent_row} NOT IN "
                    f"(SELECT {row} FROM {client.make_qualified_table_name(parent)})",
                    (),
                )
                below.append(name)


def _column(schema: dlt.Schema, name: str) -> str:
    return schema.naming.normalize_identifier(name)
