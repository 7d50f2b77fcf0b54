"""Columns that are added to tables with rows, without a constraint, and filled where values follow.

dlt adds a column that may not be null as just that, which no table with rows accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.job_client_impl import SqlJobClientBase


def may_not_be_null(column: Any) -> bool:
    return not column.get("nullable", True) or bool(column.get("x-valid-from"))


def add(client: SqlJobClientBase, schema: dlt.Schema, needed: dict[str, list[Any]]) -> None:
    fold = client.capabilities.casefold_identifier
    for name, storage in list(client.get_storage_tables(needed)):
        if not storage:  # dlt makes the table
            continue
        for column in needed[name]:
            if fold(column["name"]) in storage or column["name"] in storage:
                continue
            table: Any = schema.tables[name]
            kind = client.type_mapper.to_destination_type(column, table)
            client.sql_client.execute_sql(
                f"ALTER TABLE {client.sql_client.make_qualified_table_name(name)} "
                f"ADD COLUMN {client.sql_client.escape_column_name(column['name'])} {kind}"
            )


def fills(
    client: SqlJobClientBase, schema: dlt.Schema, needed: dict[str, list[Any]]
) -> Iterator[str]:
    """Values that follow from what is there; parents come before their children."""
    from sqlglot import exp

    sql = client.sql_client
    escape, qualify = sql.escape_column_name, sql.make_qualified_table_name
    name_of = schema.naming.normalize_identifier
    row, parent_row = escape(name_of("_dlt_id")), escape(name_of("_dlt_parent_id"))
    load = escape(name_of("_dlt_load_id"))
    random_id = exp.cast(exp.Uuid(), "text").sql(client.capabilities.sqlglot_dialect)
    for name in sorted(needed, key=lambda each: len(tables_above(schema, each))):
        root = _kept(schema, name, "root_key", needed[name])
        for column in needed[name]:
            target = escape(column["name"])
            ancestors = tables_above(schema, name)
            if column.get("root_key") and len(ancestors) == 1:
                yield (
                    f"UPDATE {qualify(name)} SET {target} = {parent_row} "  # noqa: S608 (escaped)
                    f"WHERE {target} IS NULL"
                )
            elif column.get("root_key"):
                yield (
                    f"UPDATE {qualify(name)} AS child SET {target} = parent.{target} "  # noqa: S608
                    f"FROM {qualify(ancestors[0])} AS parent "
                    f"WHERE child.{parent_row} = parent.{row} AND child.{target} IS NULL"
                )
            elif column.get("parent_key") and len(ancestors) == 1 and root:
                yield (
                    f"UPDATE {qualify(name)} SET {target} = {escape(root)} "  # noqa: S608 (escaped)
                    f"WHERE {target} IS NULL"
                )
            elif column.get("row_key"):  # rows of Arrow tables: a merge finds rows by their ids
                yield f"UPDATE {qualify(name)} SET {target} = {random_id} WHERE {target} IS NULL"  # noqa: S608
            elif column.get("x-valid-from"):
                loads = qualify(schema.loads_table_name)
                loaded, at = escape(name_of("load_id")), escape(name_of("inserted_at"))
                yield (
                    f"UPDATE {qualify(name)} AS kept SET {target} = loads.{at} "  # noqa: S608
                    f"FROM {loads} AS loads "
                    f"WHERE kept.{load} = loads.{loaded} AND kept.{target} IS NULL"
                )


def _kept(schema: dlt.Schema, table: str, hint: str, lost: list[Any]) -> str | None:
    """The column of a table with a hint, where it is not one that the table lacks."""
    names = {column["name"] for column in lost}
    columns = schema.get_table_columns(table)
    return next((key for key in columns if columns[key].get(hint) and key not in names), None)


def tables_above(schema: dlt.Schema, table: str) -> list[str]:
    """The tables above one, the nearest first."""
    found = []
    while parent := schema.tables[table].get("parent"):
        found.append(table := parent)
    return found
