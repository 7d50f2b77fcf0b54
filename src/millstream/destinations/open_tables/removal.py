"""Rows that are to go from Delta and Iceberg tables: by their ids, in one commit a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from dlt.common.configuration.container import Container
from dlt.common.data_writers.escape import escape_duckdb_literal
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.storages.load_package import (
    LoadPackageStateInjectableContext,
    ParsedLoadJobFileName,
)

from millstream.destinations.partition_rows import nested_tables
from millstream.destinations.table_formats import format_of

if TYPE_CHECKING:
    import dlt
    from dlt.destinations.impl.filesystem.filesystem import FilesystemClient


def take_out_stale_items(client: FilesystemClient, roots: Iterable[str], load_id: str) -> None:
    """Delete rows of lists, of root rows that a load has merged, which the load does not have.

    It can be repeated: a load that dies before it is complete is loaded again.
    """
    loaded = _loaded_files(load_id)
    row, root_row = (own_column(client, name) for name in ("_dlt_id", "_dlt_root_id"))
    for root in roots:
        if root not in loaded or row not in client.schema.tables[root]["columns"]:
            continue
        for child in nested_tables(client.schema, root):
            if root_row not in client.schema.tables[child]["columns"]:
                continue
            stale = f"{root_row} IN (SELECT {row} FROM {_rows_of(loaded[root])})"  # noqa: S608
            if child in loaded:
                stale += f" AND {row} NOT IN (SELECT {row} FROM {_rows_of(loaded[child])})"  # noqa: S608
            _delete(client, child, row, stale)


def undo(pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, load_id: str) -> None:
    """Delete the rows that one load appended to a root table, and those that hung on them.

    Child rows carry no load id, and are known by having no parent any more.
    """
    with _client(pipeline, schema) as client:
        load, row, parent_row = (
            own_column(client, name) for name in ("_dlt_load_id", "_dlt_id", "_dlt_parent_id")
        )
        _delete(client, root, row, f"{load} = {escape_duckdb_literal(load_id)}")
        below = [root]
        while below:
            parent = below.pop(0)
            lost = "TRUE"  # of a table that the load had not made yet
            if _is_there(client, parent):
                ids = client.sql_client.make_qualified_table_name(parent)
                lost = f"{parent_row} NOT IN (SELECT {row} FROM {ids})"  # noqa: S608 (escaped)
            for child, table in schema.tables.items():
                if table.get("parent") == parent:
                    below.append(child)
                    _delete(client, child, row, lost)


def sweep(pipeline: dlt.Pipeline, schema: dlt.Schema, root: str, load_ids: Sequence[str]) -> None:
    """Delete what other loads than these left in a root table, and what hangs on it."""
    with _client(pipeline, schema) as client:
        load, row, root_row = (
            own_column(client, name) for name in ("_dlt_load_id", "_dlt_id", "_dlt_root_id")
        )
        columns: Any = schema.tables[root]["columns"]
        if not all(columns.get(name, {}).get("data_type") for name in (load, row)):
            return  # rows of Arrow tables have none
        those = ", ".join(map(escape_duckdb_literal, load_ids))
        earlier = f"{load} NOT IN ({those}) OR {load} IS NULL"
        table = client.sql_client.make_qualified_table_name(root)
        gone = f"SELECT {row} FROM {table} WHERE {earlier}"  # noqa: S608 (escaped)
        for child in nested_tables(schema, root):
            if root_row in schema.tables[child]["columns"]:
                _delete(client, child, row, f"{root_row} IN ({gone})")
        _delete(client, root, row, earlier)


def _delete(client: FilesystemClient, name: str, row: str, where: str) -> None:
    """Delete the rows of a table that a condition holds for, by their ids and in one commit."""
    if not _is_there(client, name):
        return
    with client.sql_client as sql:
        table = sql.make_qualified_table_name(name)
        found = sql.execute_sql(f"SELECT {row} FROM {table} WHERE {where}")  # noqa: S608 (escaped)
    ids = [each[0] for each in found or ()]
    if not ids:
        return
    if format_of(client.schema, name) == "iceberg":
        client.load_open_table("iceberg", name).delete(one_of(row, pa.array(ids)))
        return
    # not a predicate with each id in it, of which there may be millions
    client.load_open_table("delta", name).merge(
        source=pa.table({row: pa.array(ids, pa.string())}),
        predicate=f"target.{row} = source.{row}",
        source_alias="source",
        target_alias="target",
    ).when_matched_delete().execute()


def _is_there(client: FilesystemClient, name: str) -> bool:
    table_format: Any = format_of(client.schema, name)
    try:
        client.load_open_table(table_format, name)
    except DestinationUndefinedEntity:
        return False
    return True


def _client(pipeline: dlt.Pipeline, schema: dlt.Schema) -> Any:
    return pipeline.destination_client(schema.name)


def _loaded_files(load_id: str) -> dict[str, list[str]]:
    """By table, the Parquet files of the load package that dlt is about to complete."""
    packages = Container()[LoadPackageStateInjectableContext].storage
    found: dict[str, list[str]] = {}
    folder = packages.get_job_state_folder_path(load_id, "completed_jobs")
    for path in packages.storage.list_folder_files(folder):
        job = ParsedLoadJobFileName.parse(path)
        if job.file_format == "parquet":
            found.setdefault(job.table_name, []).append(packages.storage.make_full_path(path))
    return found


def _rows_of(files: Sequence[str]) -> str:
    return f"read_parquet([{', '.join(map(escape_duckdb_literal, files))}])"


def own_column(client: FilesystemClient, name: str) -> str:
    """A column of dlt's as the schema calls it, which needs no quotes: snake_case, or as it is."""
    return client.schema.naming.normalize_identifier(name)


def one_of(column: str, values: Any) -> Any:
    from pyiceberg.expressions import In

    one_of: Any = In  # its types are pydantic's
    return one_of(column, {*values.to_pylist()})
