"""A partition's rows in the destination: replaced as one, and only they.

The root table tells by `_millstream_partition` which partition each row came with. A load of a
partition deletes, in the transaction that brings the new rows, those that came with it before, with
all their child rows; and, where the table has a primary key, those with the key of a new row,
which came with another partition and have moved here since.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.errors import ConfigError
from millstream.model import PARTITION_COLUMN

if TYPE_CHECKING:
    import dlt
    from dlt.sources import DltResource


_SCOPE = "x-merge-destination-scope"
"""dlt's name for a `destination_scope` in a table's hints."""


def stored_schema(pipeline: dlt.Pipeline, name: str) -> dlt.Schema | None:
    """The newest schema of this name in the destination; None where there is none yet."""
    import dlt
    from dlt.common.destination.client import WithStateSync
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync):
            return None
        try:
            found = client.get_stored_schema(name)
        except DestinationUndefinedEntity:
            return None
    return dlt.Schema.from_dict(json.loads(found.schema)) if found else None


def merge_schemas(newest: dlt.Schema, mine: dlt.Schema) -> dlt.Schema:
    """The newest schema, and what only this run's has: tables, columns, hints of tables.

    Of a column that both have, the newest schema's type holds: rows are in the destination already.
    """
    schema = newest.clone()
    for name, table in mine.tables.items():
        known = schema.tables.get(name)
        if known is None:
            schema.update_table(table, normalize_identifiers=False)
            continue
        columns: Any = {
            each: column
            for each, column in table["columns"].items()
            if not known["columns"].get(each, {}).get("data_type")
        }
        schema.update_table({**table, "columns": columns}, normalize_identifiers=False)
    return schema


def scope_to_partition(pipeline: dlt.Pipeline, naming: Any, resource: DltResource) -> None:
    """Let what a resource loads replace the partition that its rows name.

    Raises:
        ConfigError: the destination, or the way this resource is loaded, can't.
    """
    assert pipeline.destination is not None
    capabilities = pipeline.destination.capabilities()
    disposition: Any = resource.write_disposition
    if isinstance(disposition, dict) and disposition.get("strategy") in ("scd2", "cdc"):
        raise ConfigError(
            f"stream {resource.name!r} keeps its rows' history, which partitions would replace",
            hint="leave it out of `partitions.streams`",
        )
    if "delete-insert" not in (capabilities.supported_merge_strategies or ()):
        raise ConfigError(
            f"{pipeline.destination.destination_name} can't replace the rows of a partition",
            hint="load into a database, or without `partitions`",
        )
    client = pipeline.sql_client()

    def column(name: str) -> str:
        return client.escape_column_name(naming.normalize_path(name))

    keys = [column(name) for name in _primary_key(resource)]
    scope = _present(column(PARTITION_COLUMN))
    if len(keys) == 1:
        scope += f" OR {_present(keys[0])}"
    elif keys:
        same = " AND ".join(f"staged.{key} = {{table}}.{key}" for key in keys)
        scope += f" OR EXISTS (SELECT 1 FROM {{staging_table}} AS staged WHERE {same})"  # noqa: S608
    resource.apply_hints(
        write_disposition={
            "disposition": "merge",
            "strategy": "delete-insert",
            "destination_scope": f"({scope})",
        },
        columns={PARTITION_COLUMN: {"data_type": "text"}},
    )


def forget_scopes(schema: dlt.Schema) -> None:
    """Let tables that partitions were loaded into be merged by their keys alone.

    dlt keeps how a table was last written: a row that is loaded by itself would take the place of
    all rows of its partition.
    """
    column = schema.naming.normalize_identifier(PARTITION_COLUMN)
    for table in schema.data_tables():
        if column in str(table.get(_SCOPE, "")):
            del schema.tables[str(table["name"])][_SCOPE]  # type: ignore[misc]


def refuse_unpartitioned(schema: dlt.Schema, what: str) -> None:
    """Stop where a table holds rows that a partition could not tell from its own.

    Raises:
        ConfigError: saying which, and what to do.
    """
    for table in schema.data_tables(seen_data_only=True):
        if is_own(str(table["name"])):
            continue
        merges = table.get("write_disposition") == "merge" and any(
            column.get("primary_key") for column in table["columns"].values()
        )
        if not table.get("parent") and not merges and not _is_partitioned(schema, table):
            raise _mixed(what, table, "was loaded without partitions: its rows would be doubled")


def refuse_partitioned(schema: dlt.Schema, resource: DltResource, what: str) -> None:
    """Stop where rows would be appended to those that partitions have loaded.

    Raises:
        ConfigError: saying which table, and what to do.
    """
    if resource.write_disposition != "append":
        return
    for table in schema.data_tables(seen_data_only=True):
        if not table.get("parent") and _is_partitioned(schema, table):
            raise _mixed(what, table, "was loaded in partitions: its rows would be doubled")


def _mixed(what: str, table: Any, why: str) -> ConfigError:
    return ConfigError(
        f"{what}: the table {table['name']} {why}",
        hint="load into another `destination.dataset`, or give the stream a primary key",
    )


def _is_partitioned(schema: dlt.Schema, table: Any) -> bool:
    return schema.naming.normalize_identifier(PARTITION_COLUMN) in table["columns"]


def clear(pipeline: dlt.Pipeline, schema: dlt.Schema, tables: Sequence[str], key: str) -> int:
    """Delete a partition's rows from root tables, child rows first, in one transaction.

    For a partition that has no rows any more: dlt loads nothing then, and deletes nothing.

    Returns:
        Rows deleted from the root tables.
    """
    from dlt.common.destination.exceptions import DestinationUndefinedEntity

    deleted = 0
    with pipeline.sql_client(schema.name) as client:
        column, table = client.escape_column_name, client.make_qualified_table_name
        name = schema.naming.normalize_identifier
        mine = f"{column(name(PARTITION_COLUMN))} = %s"
        for root in tables:
            try:
                with client.begin_transaction():
                    for child in nested_tables(schema, root):
                        client.execute_sql(
                            f"DELETE FROM {table(child)} "  # noqa: S608 (escaped by dlt)
                            f"WHERE {column(name('_dlt_root_id'))} IN "
                            f"(SELECT {column(name('_dlt_id'))} FROM {table(root)} WHERE {mine})",
                            key,
                        )
                    found = client.execute_sql(
                        f"SELECT COUNT(*) FROM {table(root)} WHERE {mine}",  # noqa: S608
                        key,
                    )
                    client.execute_sql(f"DELETE FROM {table(root)} WHERE {mine}", key)  # noqa: S608
                    deleted += int(found[0][0]) if found else 0
            except DestinationUndefinedEntity:  # nothing was ever loaded
                continue
    return deleted


def _present(column: str) -> str:
    return f"{column} IN (SELECT {column} FROM {{staging_table}})"  # noqa: S608 (escaped)


def _primary_key(resource: DltResource) -> list[str]:
    columns = resource.compute_table_schema()["columns"]
    return [name for name, column in columns.items() if column.get("primary_key")]


def nested_tables(schema: dlt.Schema, root: str) -> list[str]:
    """The tables below a root that hold rows, the deepest last."""
    found, todo = [], [root]
    while todo:
        parent = todo.pop()
        for name, table in schema.tables.items():
            if table.get("parent") == parent:
                todo.append(name)
                if any(column.get("data_type") for column in table["columns"].values()):
                    found.append(name)
    return found
